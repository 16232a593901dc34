package node

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"pingline"
	"pingline/ingest"
	"pingline/ingest/auth"
	"pingline/ingest/auth/access"
	"pingline/ingest/messages"
	"pingline/ingest/mqtt/mqtttest"
	"pingline/internal/kafkalink/kafkatest"
	"pingline/internal/ops"
	"pingline/sink/deadletter"
)

// A counter that no node of TestCountersMove moves is moved by a test of the package that
// counts it: that test reads the field.
var movedElsewhere = []struct {
	counter, why      string
	file, test, field string
}{
	{
		"stream_cut_total", "a viewer of a node has 30 s and more to take an event",
		"../../ingest/server/watch_test.go", "TestViewersThatDoNotRead", "Cut",
	},
	{
		"reloads_total", "the log has to fail in the middle of an append",
		"../../ingest/again_test.go", "TestBoundHoldsThroughFailedAppends", "Reloads",
	},
	{
		"set_given_up_total", "a set has to be dead until a quarter of the log is full",
		"../../sink/sets/room_test.go", "TestSetIsGivenUpWhenTheLogFillsUp", "GivenUp",
	},
	{
		"pings_without_attributes_total", "InfluxDB keeps attributes",
		"../../sink/attrs_test.go", "TestAttributesThatAreDropped", "Bare",
	},
	{
		"peer_sent_total", "another node has to have a part",
		"../../ingest/forward/forward_test.go", "TestVerdictsComeInOrder", "Sent",
	},
	{
		"peer_taken_total", "another node has to have a part",
		"../../ingest/forward/forward_test.go", "TestMessagesThatAreWrong", "Taken",
	},
	{
		"peer_unanswered_total", "another node has to have a part",
		"../../ingest/forward/forward_test.go", "TestPartWithoutANode", "Unanswered",
	},
	{
		"peer_unavailable_total", "another node has to have a part",
		"../../ingest/forward/forward_test.go", "TestPartial", "Unavailable",
	},
	{
		"peer_away_total", "another node has to have a part",
		"../../ingest/forward/forward_test.go", "TestPartWithoutANode", "Away",
	},
	{
		"peer_refused_total", "another node has to have a part",
		"../../ingest/forward/forward_test.go", "TestMessagesThatAreWrong", "Refused",
	},
	{
		"peer_messages_total", "another node has to have a part",
		"../../ingest/forward/forward_test.go", "TestVerdictsComeInOrder", "Messages",
	},
	{
		"peer_passed_total", "another node has to have a part",
		"../../ingest/forward/forward_test.go", "TestPass", "Passed",
	},
	{
		"rollup_merge_points_total", "another node has to have a part",
		"../../rollup/merge/counts_test.go", "TestRowsWithoutAPart", "Points",
	},
	{
		"rollup_merge_rewrites_total", "another node has to have a part",
		"../../rollup/merge/counts_test.go", "TestRowsWithoutAPart", "Rewrites",
	},
	{
		"rollup_merge_withheld_total", "another node has to have a part",
		"../../rollup/merge/counts_test.go", "TestRowsAreWithheld", "Withheld",
	},
	{
		"rollup_merge_late_total", "another node has to have a part",
		"../../rollup/merge/counts_test.go", "TestRowsWithoutAPart", "Late",
	},
	{
		"rollup_merge_early_total", "another node has to have a part",
		"../../rollup/merge/counts_test.go", "TestWindowsAreLetGo", "Early",
	},
	{
		"rollup_merge_left_out_total", "another node has to have a part",
		"../../rollup/merge/counts_test.go", "TestMemoryOfTotals", "LeftOut",
	},
	{
		"rollup_merge_lost_total", "another node has to have a part",
		"../../rollup/merge/counts_test.go", "TestWindowsAreLetGo", "Lost",
	},
	{
		"rollup_merge_gone_total", "another node has to have a part",
		"../../rollup/merge/counts_test.go", "TestGoneMessages", "Gone",
	},
	{
		"rollup_merge_unreadable_total", "another node has to have a part",
		"../../rollup/merge/counts_test.go", "TestGoneMessages", "Unreadable",
	},
}

// Every counter that docs/self.md has is moved by the action that it tells of: in
// /metrics, and in the points that a node writes about itself.
func TestCountersMove(t *testing.T) {
	reading, release := context.WithCancel(t.Context())
	defer release()
	m := moved{metrics: map[string]float64{}, fields: map[string]float64{}}
	scenes := []struct {
		name   string
		memory int64 // limit while the node opens, of which the roll-up takes an eighth; -1: as it is
		cfg    func(t *testing.T, c *Config)
		run    func(t *testing.T, n *driven)
	}{
		{"pings", -1, func(t *testing.T, c *Config) {
			c.Influx.Host = refusesOld(t)
			c.CorrectClocks, c.RiderRate, c.RiderBurst, c.Filter.MaxRiders = true, 1e-6, 20, 4
			c.DeadLettersMax, c.BatchWait = 1500, 50*time.Millisecond
			c.RollupWindows, c.RollupLateness = []time.Duration{time.Second}, 4*time.Second
		}, drivePings},
		{"store away", -1, func(_ *testing.T, c *Config) {
			c.QueueMax, c.RollupWindows, c.RollupLateness = 1<<20, []time.Duration{time.Second}, time.Second
		}, driveOverload},
		{"memory", 8 << 20, func(_ *testing.T, c *Config) { c.RollupWindows = []time.Duration{time.Second} }, driveFlood},
		{"connections", -1, func(t *testing.T, c *Config) {
			c.Influx.Host, c.MaxConnections = slowToRead(t, reading), 1
		}, func(t *testing.T, n *driven) {
			driveConnections(t, n)
			release()
		}},
		{"streams", -1, nil, driveStreams},
		{"mqtt", -1, func(_ *testing.T, c *Config) { c.MQTT.Listen, c.MaxConnections = "127.0.0.1:0", 1 }, func(t *testing.T, n *driven) {
			for range 2 {
				p := publisher(t, n, 4, mqtttest.Connect{})
				p.send(anas, fixOf(0))
				p.acknowledged()
			}
			n.until("mqtt_messages_total", "mqtt_connections_displaced_total")
		}},
		{"kafka", -1, func(t *testing.T, c *Config) {
			cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "in"))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(cluster.Close)
			seeds := cluster.ListenAddrs()
			cl := kafkatest.Client(t, kgo.SeedBrokers(seeds...), kgo.DefaultProduceTopic("in"))
			for _, text := range []string{pingOf("ana", 0, 41, 29, ""), "{", ""} {
				if err := cl.ProduceSync(t.Context(), &kgo.Record{Value: []byte(text)}).FirstErr(); err != nil {
					t.Fatal(err)
				}
			}
			c.KafkaIn.URL = "kafka://" + strings.Join(seeds, ",") + "/in"
		}, func(_ *testing.T, n *driven) {
			n.until(`kafka_in_messages_total{outcome="taken"}`, `kafka_in_messages_total{outcome="refused"}`, `kafka_in_messages_total{outcome="ignored"}`, "kafka_in_connected")
			for deadline := time.Now().Add(2 * time.Minute); n.inlets.Kafka.Stats().Lag != 0; time.Sleep(time.Millisecond) { // messages are counted before they are behind
				if time.Now().After(deadline) {
					n.t.Fatalf("lag %d", n.inlets.Kafka.Stats().Lag)
				}
			}
			if n.metricsNow()["kafka_in_lag_messages"] != 0 || len(n.inlets.Kafka.Notes()) > 0 {
				n.t.Errorf("lag %v, notes %q", n.metricsNow()["kafka_in_lag_messages"], n.inlets.Kafka.Notes())
			}
			if text, err := os.ReadFile(filepath.Join(n.cfg.DataDir, RefusedDir, "kafka", messages.FileName)); err != nil || !strings.Contains(string(text), "syntax error") {
				n.t.Errorf("%s, %v", text, err)
			}
		}},
		{"sqs", -1, func(t *testing.T, c *Config) { c.SQSIn.URL = queueOf(t, pingOf("ana", 0, 41, 29, ""), "{") }, func(_ *testing.T, n *driven) {
			n.until(`sqs_in_messages_total{outcome="taken"}`, `sqs_in_messages_total{outcome="refused"}`, "sqs_in_connected")
			if text, err := os.ReadFile(filepath.Join(n.cfg.DataDir, RefusedDir, "sqs", messages.FileName)); err != nil || !strings.Contains(string(text), "syntax error") {
				n.t.Errorf("%s, %v", text, err)
			}
		}},
		{"lines", -1, func(t *testing.T, c *Config) { c.Influx.Host, c.Lines.Pass = answersByName(t), true }, func(_ *testing.T, n *driven) {
			for name, want := range map[string]int{"fine": 204, "refused": 400, "away": 503} {
				resp, err := http.Post(n.URL()+"/write", "text/plain", strings.NewReader(name+" a=1"))
				if err != nil {
					n.t.Fatal(err)
				}
				if _ = resp.Body.Close(); resp.StatusCode != want {
					n.t.Errorf("%s: %s, want %d", name, resp.Status, want)
				}
			}
			n.until(`other_lines_total{outcome="passed"}`, `other_lines_total{outcome="refused"}`, `other_lines_total{outcome="again"}`)
		}},
		{"keys", -1, func(t *testing.T, c *Config) {
			c.Access = access.Settings{Ways: []string{"keys"}, Keys: keysFile(t, auth.KeyRow{Name: "ana", Scopes: []string{"write"}, Riders: []string{"ana"}}).path}
		}, func(_ *testing.T, n *driven) {
			if status := n.try(pingOf("ana", 0, 41, 29, "")); status != http.StatusUnauthorized {
				n.t.Errorf("a ping without a key is answered with %d", status)
			}
			n.until(`auth_failures_total{reason="missing"}`)
		}},
		{"a damaged log, of which too much is held back", -1, func(t *testing.T, c *Config) {
			before := *c
			before.Rollup = nil
			n := drive(t, before)
			for i := range 3 {
				n.post(crowd(fmt.Sprint("r-", i, "-"), 600, 0, 41, 29, 0)...)
				// The roll-up looks once a second of the log; there are commits behind the second
				// even where the machine is so busy that one takes as long.
				for began, behind := time.Now(), 0; behind < 3; {
					if n.post(crowd("r-", 1, 0, 41, 29, 0)...); time.Since(began) > 1100*time.Millisecond {
						behind++
					}
					time.Sleep(2 * time.Millisecond) // stays below the rate of a rider
				}
			}
			c.QueueMax = 2 * n.log.Bytes()
			n.stop()
			flipByte(t, filepath.Join(c.DataDir, "log"))
		}, func(_ *testing.T, n *driven) {
			n.until("queue_damage_total", "rollup_damaged_total", "rollup_lost_total", "rollup_closed_early_total")
		}},
	}
	ran := 0
	for _, tt := range scenes {
		t.Run(tt.name, func(t *testing.T) {
			cfg := DefaultConfig()
			cfg.Name, cfg.Listen, cfg.OpsListen, cfg.DataDir, cfg.Influx.Host = "n", "127.0.0.1:0", "", t.TempDir(), "http://127.0.0.1:1"
			cfg.NewRidersRate, cfg.Logger = 0, slog.New(slog.DiscardHandler)
			if tt.cfg != nil {
				tt.cfg(t, &cfg)
			}
			before := debug.SetMemoryLimit(tt.memory)
			n := drive(t, cfg)
			debug.SetMemoryLimit(before)
			tt.run(t, n)
			n.tellInto(&m)
			n.stop()
			ran++
		})
	}
	if ran == len(scenes) { // else scenes were left out by -run, or have failed
		m.checkDocs(t)
	}
}

// answersByName is an InfluxDB whose answer to a write is in it.
func answersByName(t *testing.T) (url string) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		switch {
		case strings.Contains(string(text), "refused "):
			http.Error(w, `{"error":"partial write: it is wrong dropped=1"}`, http.StatusBadRequest)
		case strings.Contains(string(text), "away "):
			w.WriteHeader(http.StatusBadGateway)
		default:
			w.WriteHeader(http.StatusNoContent)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// queueOf returns the URL of a queue of SQS that gives some messages, once each.
func queueOf(t *testing.T, bodies ...string) string {
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		answer := map[string]any{"QueueUrl": "http://x/0/in"}
		if strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".ReceiveMessage") {
			var list []map[string]string
			if i := int(asked.Add(1)) - 1; i < len(bodies) {
				list = append(list, map[string]string{"MessageId": fmt.Sprint(i), "ReceiptHandle": fmt.Sprint(i), "Body": bodies[i]})
			} else {
				time.Sleep(10 * time.Millisecond) // so long is a long poll here
			}
			answer["Messages"] = list
		}
		if err := json.NewEncoder(w).Encode(answer); err != nil && r.Context().Err() == nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	return "sqs+" + server.URL + "/in"
}

// moved has the highest value of each series of /metrics, and of each field of a point.
type moved struct{ metrics, fields map[string]float64 }

// checkDocs compares what has moved with the table of docs/self.md.
func (m *moved) checkDocs(t *testing.T) {
	t.Helper()
	text, err := os.ReadFile("../../docs/self.md")
	if err != nil {
		t.Fatal(err)
	}
	// A row is | `pingline_METRIC{labels}` | `POINT`: `FIELD`, kind `COUNT` | counter | …: the
	// metric or the point may be missing.
	rows := regexp.MustCompile("(?m)^\\| (?:`pingline_(\\w+)[^`]*`)? \\| (?:`(\\w+)`: `([^`]+)`(?:, kind `(\\w+)`)?)? \\| counter \\|").FindAllStringSubmatch(string(text), -1)
	if len(rows) < 40 {
		t.Fatalf("docs/self.md has %d counters", len(rows))
	}
	elsewhere := map[string]bool{}
	for _, e := range movedElsewhere {
		elsewhere[e.counter] = true
		if !hasTest(t, e.file, e.test, e.field) {
			t.Errorf("%s: %s has no %s that reads %s", e.counter, e.file, e.test, e.field)
		}
	}
	for _, row := range rows {
		metric, point, field, count := row[1], row[2], row[3], row[4]
		if elsewhere[metric] {
			if m.metrics[metric] > 0 {
				t.Errorf("%s moves: it need not be in movedElsewhere", metric)
			}
			delete(elsewhere, metric)
			continue
		}
		if metric != "" && m.metrics[metric] == 0 {
			t.Errorf("pingline_%s is not moved by anything", metric)
		}
		switch {
		case strings.HasPrefix(field, "{"): // each value of the label is a field
			for series, v := range m.metrics {
				if strings.HasPrefix(series, metric+"{") && v == 0 {
					t.Errorf("pingline_%s is not moved by anything", series)
				}
				_, value, _ := strings.Cut(series, `="`)
				if value = strings.TrimSuffix(value, `"}`); strings.HasPrefix(series, metric+"{") && m.fields[point+" "+value] == 0 {
					t.Errorf("field %s of %s is not moved by anything", value, point)
				}
			}
		case field != "" && m.fields[strings.TrimSpace(point+" "+field+" "+count)] == 0:
			t.Errorf("field %s %s of %s is not moved by anything", field, count, point)
		}
	}
	for counter := range elsewhere {
		t.Errorf("%s is no counter of docs/self.md", counter)
	}
}

// hasTest reports whether a file has a test function that reads a field of that name.
func hasTest(t *testing.T, file, test, field string) (has bool) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, decl := range parsed.Decls {
		if f, ok := decl.(*ast.FuncDecl); ok && f.Name.Name == test {
			ast.Inspect(f, func(n ast.Node) bool {
				s, ok := n.(*ast.SelectorExpr)
				has = has || ok && s.Sel.Name == field
				return true
			})
		}
	}
	return has
}

// driven is a node that runs.
type driven struct {
	*Node
	t    testing.TB
	stop func()
}

func drive(t testing.TB, cfg Config) *driven {
	t.Helper()
	n, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	d := &driven{Node: n, t: t}
	d.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		ended <- nil
	}
	t.Cleanup(d.stop)
	return d
}

// metricsNow are the series of /metrics without pingline_, and the sum of each metric.
func (n *driven) metricsNow() map[string]float64 {
	answer := httptest.NewRecorder()
	n.metrics.Handler(&n.parts).ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	all := map[string]float64{}
	for _, s := range regexp.MustCompile(`(?m)^pingline_((\w+)(?:{.*})?) (\S+)$`).FindAllStringSubmatch(answer.Body.String(), -1) {
		v, err := strconv.ParseFloat(s[3], 64)
		if err != nil {
			n.t.Fatal(err)
		}
		all[s[1]] += v
		if s[1] != s[2] {
			all[s[2]] += v
		}
	}
	return all
}

// until waits until all metrics are above 0.
func (n *driven) until(metrics ...string) {
	n.t.Helper()
	n.untilDone(func() {}, metrics...)
}

// untilDone does something again and again until all metrics are above 0.
func (n *driven) untilDone(do func(), metrics ...string) {
	n.t.Helper()
	n.doBeyond(0, do, metrics...)
}

// beyond waits until all metrics are above a value.
func (n *driven) beyond(than float64, metrics ...string) {
	n.t.Helper()
	n.doBeyond(than, func() {}, metrics...)
}

func (n *driven) doBeyond(than float64, do func(), metrics ...string) {
	n.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(5 * time.Millisecond) {
		do()
		now := n.metricsNow()
		left := slices.DeleteFunc(slices.Clone(metrics), func(m string) bool { return now[m] > than })
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			n.t.Fatalf("%v have not moved", left)
		}
	}
}

// tellInto notes what the node tells, in /metrics and in points.
func (n *driven) tellInto(m *moved) {
	for series, v := range n.metricsNow() {
		m.metrics[series] = max(m.metrics[series], v)
	}
	n.tellOnce(func(_ context.Context, points []pingline.Entry) error {
		for _, e := range points {
			of := e.Point.Name + " "
			kind := ""
			for _, tag := range e.Point.Tags {
				if tag.Key == "kind" {
					kind = " " + tag.Value
				}
			}
			for _, f := range e.Point.Fields {
				if f.Type != pingline.FloatField {
					m.fields[of+f.Key+kind] = max(m.fields[of+f.Key+kind], float64(f.Int()))
				}
			}
		}
		return nil
	})
}

// tellOnce has the node tell of itself once.
func (n *driven) tellOnce(submit func(context.Context, []pingline.Entry) error) {
	n.t.Helper()
	self := ops.Self{Node: "n", Parts: &n.parts, Metrics: n.metrics, Submit: submit}
	ended, stop := context.WithCancel(n.t.Context())
	stop()
	if err := self.Run(&endsInside{Context: ended}); err != nil {
		n.t.Error(err)
	}
}

// endsInside is a context that has ended, but for the first who asks for its error: a loop
// that runs until then is entered once.
type endsInside struct {
	context.Context
	asked bool
}

func (c *endsInside) Err() error {
	if !c.asked {
		c.asked = true
		return nil
	}
	return c.Context.Err()
}

// post sends pings, which the node has to take.
func (n *driven) post(pings ...string) {
	n.t.Helper()
	if status := n.try(pings...); status != http.StatusOK {
		n.t.Fatalf("pings are answered with %d", status)
	}
}

func (n *driven) try(pings ...string) (status int) {
	n.t.Helper()
	resp, err := http.Post(n.URL()+"/v1/pings", "application/json", strings.NewReader("["+strings.Join(pings, ",")+"]"))
	if err != nil {
		n.t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

func (n *driven) dial() net.Conn {
	n.t.Helper()
	conn, err := net.Dial("tcp", n.server.Addr().String())
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// pingOf is a ping of some seconds ago.
func pingOf(rider string, ago, lat, lon float64, more string) string {
	return fmt.Sprintf(`{"rider_id":%q,"ts":%d,"lat":%.5f,"lon":%.5f%s}`, rider, time.Now().UnixMilli()-int64(1000*ago), lat, lon, more)
}

// crowd is a ping of each of n riders of some seconds ago, within some degrees of a place.
func crowd(prefix string, n int, ago, lat, lon, degrees float64) (list []string) {
	for i := range n {
		list = append(list, pingOf(fmt.Sprint(prefix, i), ago, lat+degrees*(rand.Float64()-0.5), lon+2*degrees*(rand.Float64()-0.5), `,"event":"sos"`))
	}
	return list
}

// drivePings has pings of every fate, and windows that are written again.
func drivePings(t *testing.T, n *driven) {
	now := time.Now().UnixMilli()
	at := func(rider string, seconds int64, lat float64, more string) string {
		return fmt.Sprintf(`{"rider_id":%q,"ts":%d,"lat":%v,"lon":29%s}`, rider, now-60_000+1000*seconds, lat, more)
	}
	var many []string // more than a rider's burst
	for i := range int64(30) {
		many = append(many, at("d", i, 41, ""))
	}
	for _, action := range []struct {
		counter string
		pings   []string
	}{
		{`pings_total{verdict="accepted"}`, []string{at("a", 0, 41, "")}},
		{`pings_total{verdict="duplicate"}`, []string{at("a", 0, 41, "")}},
		{"conflicts_total", []string{at("a", 0, 42, "")}},
		{`pings_total{verdict="held"}`, []string{at("a", 10, 41, "")}},
		{`held_total{fate="covered"}`, []string{at("a", 20, 41, "")}},
		{`pings_total{verdict="redundant"}`, []string{at("a", 5, 41, "")}},
		{`held_total{fate="promoted"}`, []string{at("a", 21, 41.1, "")}},
		{"late_total", []string{at("a", 15, 41.3, "")}},
		{`pings_total{verdict="rejected"}`, []string{`{"rider_id":"b"}`, at("b", 0, 41, "")}},
		{`rejected_total`, []string{at("b", 0, 95, ""), at("b", 1, 41, "")}},
		{`out_of_range_total{field="speed"}`, []string{at("c", 0, 41, `,"speed":5000`)}},
		{"corrected_total", []string{pingOf("c", -3600, 41, 29, "")}},
		{"new_tracks_total", many},
		{`pings_total{verdict="shed"}`, []string{at("d", 31, 41, ""), at("e", 0, 41, "")}},
		{"filter_evicted_total", []string{at("f", 0, 41, ""), at("g", 0, 41, ""), at("h", 0, 41, ""), at("i", 0, 41, "")}},
		{"rollup_late_total", []string{pingOf("late", 3600, 41, 29, "")}},
	} {
		before := n.metricsNow()[action.counter]
		n.post(action.pings...)
		n.beyond(before, action.counter)
	}
	// Each window is written 2 s after its end, and again when it closes 2 s later.
	again := 0
	n.untilDone(func() {
		again++
		n.post(pingOf(fmt.Sprint("new-", again), 0, 41, 29, ""), pingOf(fmt.Sprint("again-", again), 3, 41, 29, ""))
	}, "rollup_pings_total", "rollup_points_total", "rollup_rewrites_total", "lines_written_total", "written_total")

	// The store keeps a day. Pings that are older get there only from a log.
	var job ingest.Job
	for i := range 20 {
		p := pingline.Ping{Rider: "old", Fix: pingline.Fix{At: now - 48*3600_000 + int64(i)*60_000}}
		if err := p.SetPosition(41+float64(i), 29); err != nil {
			t.Fatal(err)
		}
		job.Pings, job.Cells = append(job.Pings, p), append(job.Cells, 0)
	}
	if err := n.writer.Submit(&job); err != nil {
		t.Fatal(err)
	}
	n.until("dead_letters_total", "dead_letters_unkept_total")
	if _, err := n.sink.DeadLetters().Replay(t.Context(), func(*deadletter.Letter) bool { return true }); err != nil {
		t.Fatal(err)
	}
	n.until("replayed_total")
	n.tellOnce(func(context.Context, []pingline.Entry) error { return errors.New("the log is full") })
	n.until("self_skipped_total")
}

// refusesOld is a store that refuses pings of a rider called old, which are more than a day
// old, with the words of InfluxDB 2.7.
func refusesOld(t *testing.T) (url string) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body io.Reader = r.Body
		if r.Header.Get("Content-Encoding") == "gzip" {
			var err error
			if body, err = gzip.NewReader(r.Body); err != nil {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
		}
		text, err := io.ReadAll(body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if old := strings.Count(string(text), "rider=old"); old > 0 {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusUnprocessableEntity)
			edge := time.Now().Add(-24 * time.Hour).UTC().Format(time.RFC3339Nano)
			_, _ = fmt.Fprintf(w, `{"code":"unprocessable entity","message":"failure writing points to database: partial write: dropped %d points outside retention policy of duration 24h0m0s - oldest point m at 1970-01-01T00:00:01Z dropped because it violates a Retention Policy Lower Bound at %s, newest point m at 1970-01-01T00:00:01Z dropped because it violates a Retention Policy Lower Bound at %s dropped=%d for database: 2213279bd25d8564 for retention policy: autogen"}`, old, edge, edge, old)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// driveOverload fills a small log whose store is away: windows close early, and from level 1
// the roll-up withholds totals.
func driveOverload(_ *testing.T, n *driven) {
	part := 0
	for n.log.Bytes() < n.log.Limit()*6/10 {
		part++
		n.post(crowd(fmt.Sprint("r-", part, "-"), 200, 0, 41, 29, 1)...)
	}
	n.until("shed_level") // before the log has all that it will get
	n.untilDone(func() {
		part++
		if n.log.Bytes() < n.log.Limit()*8/10 {
			n.try(crowd(fmt.Sprint("r-", part, "-"), 1, 0, 41, 29, 1)...)
		}
	}, "rollup_withheld_total", "rollup_closed_early_total")
}

// driveFlood has more cells than there is memory for: first than the live view has, in
// windows that have ended, then than open windows have.
func driveFlood(_ *testing.T, n *driven) {
	part := 0
	for range 30 {
		part++
		n.post(crowd(fmt.Sprint("r-", part, "-"), 100, 10+float64(part), 0, 0, 120)...)
	}
	n.until("rollup_view_left_out_total")
	n.untilDone(func() {
		part++
		n.post(crowd(fmt.Sprint("r-", part, "-"), 1500, 0, 0, 0, 120)...)
	}, "rollup_coarsened_total", "rollup_left_out_total")
}

// driveConnections has a place for a single connection.
func driveConnections(t *testing.T, n *driven) {
	n.dial()
	n.until("connections")
	busy := n.dial()
	n.until("connections_displaced_total")
	if _, err := io.WriteString(busy, "GET /v1/riders/r/track HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	n.until("reading_bytes")
	n.dial()
	n.until("connections_refused_total")
}

// slowToRead is a store that answers no query before a context ends.
func slowToRead(t *testing.T, ctx context.Context) (url string) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/query") || strings.HasPrefix(r.URL.Path, "/api/v2/query") {
			<-ctx.Done()
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// driveStreams has two viewers: one takes each event, the other takes none until some were
// made.
func driveStreams(t *testing.T, n *driven) {
	for part := range 5 {
		n.post(crowd(fmt.Sprint("r-", part, "-"), 2000, 0, 41, 29, 1)...)
	}
	watch := func() net.Conn {
		conn := n.dial()
		if _, err := io.WriteString(conn, "GET /v1/stream?bbox=-180,-90,180,90&riders=1 HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	slow := watch()
	n.until("stream_events_total")
	quick := bufio.NewReader(watch())
	for events := 0; events < 4; {
		line, err := quick.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(line, "id: ") {
			events++
		}
	}
	go func() { _, _ = io.Copy(io.Discard, slow) }()
	n.until("stream_skipped_total")
}

// flipByte breaks a record in the middle of the log in dir.
func flipByte(t *testing.T, dir string) {
	t.Helper()
	broken := false
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Base(path) != "1.blk" || !strings.Contains(path, "PINGLINE"+string(filepath.Separator)+"msgs") {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		b[len(b)/2] ^= 0xff
		broken = true
		return os.WriteFile(path, b, 0o600)
	})
	if err != nil || !broken {
		t.Fatalf("no record is broken: %v", err)
	}
}
