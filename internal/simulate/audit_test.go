package simulate

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pingline"
	"pingline/internal/command"
	"pingline/internal/influxd"
	"pingline/internal/node"
	"pingline/sim"
	"pingline/sim/audit"
	"pingline/sink/influx"
	"pingline/sink/sets"
	"pingline/sink/store"
	"pingline/track"
)

// site is an ingester, its stores, and the ack log of what it answered.
type site struct {
	t      *testing.T
	flags  []string // that name the stores
	stored *node.StoredRows
	places []*influx.Bucket // of --shard
	acks   string
	began  int64 // ts of the first ping
}

const siteLateness = 10 * time.Minute

// newSite sends some minutes of a city to an ingester with two shards and a bucket for
// roll-ups, and stops it once all is stored. The pings are of the last minutes.
func newSite(t *testing.T) *site {
	t.Helper()
	db := influxd.Run(t, influxd.Config{Version: 1})
	s := &site{t: t, acks: filepath.Join(t.TempDir(), "acks")}
	cfg := node.DefaultConfig()
	for i, bucket := range []string{"one", "two", "totals"} {
		b, err := influx.New(influx.Config{URL: db.URL(), Bucket: bucket})
		if err == nil {
			err = b.CreateDatabase(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		if s.places = append(s.places, b); i == 2 {
			break
		}
		var shard node.ShardConfig
		text := fmt.Sprintf("name=%s,url=%s,bucket=%s", bucket, db.URL(), bucket)
		if err := shard.UnmarshalText([]byte(text)); err != nil {
			t.Fatal(err)
		}
		cfg.Shards = append(cfg.Shards, shard)
		s.flags = append(s.flags, "--shard="+text)
	}
	cfg.Routes = []sets.Route{{Kind: "activity", To: []sets.RouteTarget{{Name: "one", Bucket: "totals"}}}}
	s.flags = append(s.flags, "--route=activity=one/totals", "--rollup-lateness="+siteLateness.String(), "--settle=0s", "--ack-log="+s.acks)
	cfg.Listen, cfg.OpsListen, cfg.DataDir, cfg.Drain, cfg.RollupLateness = "127.0.0.1:0", "", t.TempDir(), time.Minute, siteLateness
	cfg.Logger = slog.New(slog.DiscardHandler)
	n, err := node.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	s.drive(n.URL())
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if s.stored, err = node.OpenStored(&cfg); err != nil {
		t.Fatal(err)
	}
	return s
}

// drive sends pings of a city, some of them twice, and records the answers.
func (s *site) drive(url string) {
	s.t.Helper()
	log, err := audit.CreateAckLog(s.acks, audit.AckNotes{Began: time.Now(), Target: url})
	if err != nil {
		s.t.Fatal(err)
	}
	city, err := sim.NewCity(sim.CityConfig{Riders: 40})
	if err != nil {
		s.t.Fatal(err)
	}
	const rounds = 60
	first := time.Now().UnixMilli() - rounds*3000
	s.began = first
	var again []pingline.Ping
	for n := range int64(rounds) {
		pings := again
		for i := range city.Riders() {
			at := first + n*3000 + int64(i)*50
			pings = append(pings, city.Ping(i, at-3000, at))
		}
		again = append([]pingline.Ping(nil), pings[:3]...)
		s.send(url, pings, log)
	}
	if err := log.Close(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) send(url string, pings []pingline.Ping, to audit.Recorder) {
	s.t.Helper()
	var body []byte
	for i := range pings {
		body = append(track.AppendPing(body, &pings[i]), '\n')
	}
	resp, err := http.Post(url+"/v1/pings?verdicts=1", "application/x-ndjson", bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	var said struct {
		Verdicts    []string
		MaxError    float32 `json:"max_error"`
		AccuracyCap float32 `json:"accuracy_cap"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&said); err != nil || len(said.Verdicts) != len(pings) {
		s.t.Fatalf("%s, %d verdicts for %d pings: %v", resp.Status, len(said.Verdicts), len(pings), err)
	}
	verdicts := make([]pingline.Verdict, len(pings))
	for i, name := range said.Verdicts {
		for v := pingline.Accepted; int(v) < pingline.Verdicts; v++ {
			if v.String() == name {
				verdicts[i] = v
			}
		}
	}
	to.Record(pings, verdicts, said.MaxError, said.AccuracyCap)
}

// audit runs the command.
func (s *site) audit(args ...string) (string, error) {
	return run(s.t.Context(), append(append([]string{"audit"}, s.flags...), args...)...)
}

// result runs the command with --json.
func (s *site) result() (r auditResult, err error) {
	s.t.Helper()
	out, err := s.audit("--json")
	dec := json.NewDecoder(strings.NewReader(out))
	if wrong := dec.Decode(&r); wrong != nil || dec.More() {
		s.t.Fatalf("printed %q: %v, %v", out, wrong, err)
	}
	return r, err
}

// found is a stored ping and where it is.
type found struct {
	place *influx.Bucket
	pingline.Entry
}

// entries returns the stored pings, which are not late and in between.
func (s *site) entries() (list []found) {
	s.t.Helper()
	for _, b := range s.places[:2] {
		err := b.Points(s.t.Context(), store.All(), func(e *pingline.Entry, _ int64) error {
			c := *e
			c.Rider, c.Device, c.Event, c.Trip = strings.Clone(e.Rider), strings.Clone(e.Device), strings.Clone(e.Event), strings.Clone(e.Trip)
			list = append(list, found{b, c})
			return nil
		})
		if err != nil {
			s.t.Fatal(err)
		}
	}
	return list
}

// accepted returns which pings were answered accepted, by name and time.
func (s *site) accepted() map[string]bool {
	s.t.Helper()
	pings := make(map[string]bool)
	_, err := audit.ReadAckFile(s.acks, func(a *audit.Acked) error {
		if a.Verdict == pingline.Accepted {
			pings[fmt.Sprint(name(&found{Entry: pingline.Entry{Ping: a.Ping}}), a.At)] = true
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return pings
}

func (s *site) write(place *influx.Bucket, e *pingline.Entry) {
	s.t.Helper()
	if err := place.Write(s.t.Context(), store.Rows{Bytes: place.AppendRow(nil, e), N: 1}); err != nil {
		s.t.Fatal(err)
	}
}

// delete removes the points of a rider and ms from a place.
func (s *site) delete(of *found, bucket string) {
	s.t.Helper()
	iql := fmt.Sprintf(`DELETE FROM location WHERE rider = '%s' AND time >= %dms AND time < %dms`, of.Rider, of.At, of.At+1)
	resp, err := http.Post(of.place.URL()+"/query?"+fmt.Sprintf("db=%s", bucket), "application/x-www-form-urlencoded", strings.NewReader("q="+strings.ReplaceAll(iql, " ", "+")))
	if err != nil {
		s.t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || resp.StatusCode != http.StatusOK || bytes.Contains(text, []byte("error")) {
		s.t.Fatalf("delete: %s %s %v", resp.Status, text, err)
	}
}

// An audit of what a real ingester stored in a real InfluxDB finds nothing, and then
// each thing that is broken there, and names it.
func TestAuditFindsWhatIsBroken(t *testing.T) {
	s := newSite(t)
	r, err := s.result()
	if err != nil || r.Sent < 2400 || r.Checked != r.Sent || r.Stored == 0 || r.Held == 0 || r.Duplicate == 0 || r.Others != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	if c := r.Rollups; c == nil || c.Checked < 500 || c.Wrong+c.Open+c.Withheld != 0 || c.Unchecked != "" {
		t.Fatalf("roll-ups %+v", c)
	}
	out, err := s.audit()
	if err != nil || !strings.Contains(out, " answered, ") || !strings.Contains(out, " 0 lost, none beyond its bound\n") || !strings.Contains(out, "each the sum of its pings") {
		t.Errorf("printed %q, %v", out, err)
	}
	list, accepted := s.entries(), s.accepted()
	seen := map[*influx.Bucket]bool{}
	var e *found
	for i := range list {
		seen[list[i].place] = true
		// Without a held ping that was stored, the others may still be within their bounds.
		if l := &list[i]; e == nil && !l.Late && l.Event == "" && accepted[fmt.Sprint(name(l), l.At)] {
			e = l
		}
	}
	if len(seen) != 2 || e == nil {
		t.Fatalf("points are in %d places", len(seen))
	}
	bucket := map[*influx.Bucket]string{s.places[0]: "one", s.places[1]: "two"}[e.place]
	at := fmt.Sprintf("%s at %d: ", name(e), e.At)

	s.delete(e, bucket)
	if r, err := s.result(); err == nil || r.Lost != 1 || r.Wrong+r.Foreign != 0 || !named(r.Examples, "lost: "+at) {
		t.Errorf("a point is deleted: %+v, %v", r.Report, err)
	}
	s.write(e.place, &e.Entry)

	moved := e.Entry
	moved.LatE7 += 2698 // 30 m
	s.write(e.place, &moved)
	if r, err := s.result(); err == nil || r.Wrong != 1 || !named(r.Examples, "wrong: "+at) {
		t.Errorf("a point is moved: %+v, %v", r.Report, err)
	}
	if out, err := s.audit(); err == nil || !strings.Contains(out, "1 stored otherwise than sent") || !strings.Contains(err.Error(), "1 wrong") {
		t.Errorf("a point is moved: printed %q, %v", out, err)
	}
	s.write(e.place, &e.Entry)

	foreign := e.Entry
	foreign.At++
	s.write(e.place, &foreign)
	if r, err := s.result(); err == nil || r.Foreign != 1 || r.Lost+r.Wrong != 0 || !named(r.Examples, fmt.Sprintf("foreign: %s at %d: ", name(e), e.At+1)) {
		t.Errorf("a point is added: %+v, %v", r.Report, err)
	}
	s.delete(&found{e.place, foreign}, bucket)

	s.breakTotals()
	if r, err := s.result(); err != nil {
		t.Errorf("all is put right: %+v, %v", r, err)
	}
}

// breakTotals has one ping more in a total, and one that is of no ping.
func (s *site) breakTotals() {
	t := s.t
	t.Helper()
	var total *pingline.Point
	n := 0
	err := s.places[2].PointsNamed(t.Context(), "cell_activity", 0, time.Now().UnixMilli(), func(p *pingline.Point) error {
		n++
		if p.Tags[len(p.Tags)-1].Value == "10s" && p.At > s.began+60_000 && total == nil {
			total = &pingline.Point{Name: p.Name, At: p.At, Tags: append([]pingline.Tag(nil), p.Tags...), Fields: append([]pingline.PointField(nil), p.Fields...)}
		}
		return nil
	})
	if err != nil || total == nil {
		t.Fatalf("%d totals, %v", n, err)
	}
	for i := range total.Fields {
		if f := total.Fields[i]; f.Key == "pings" {
			total.Fields[i] = pingline.Int("pings", f.Int()+1)
			s.write(s.places[2], &pingline.Entry{Kind: pingline.Activity, Point: total})
			if r, err := s.result(); err == nil || r.Rollups.Wrong != 1 || !named(r.Examples, fmt.Sprintf("roll-up: cell %s, ", total.Tags[0].Value)) {
				t.Errorf("a total has a ping more: %+v, %+v, %v", r.Report, r.Rollups, err)
			}
			total.Fields[i] = f
			s.write(s.places[2], &pingline.Entry{Kind: pingline.Activity, Point: total})
		}
	}
}

func name(e *found) string {
	if e.Device != "" {
		return e.Rider + " device " + e.Device
	}
	return e.Rider
}

func named(examples []string, text string) bool {
	for _, s := range examples {
		if strings.Contains(s, text) {
			return true
		}
	}
	return false
}

// ackLog returns an ack log of one ping, which was answered long ago.
func ackLog(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "acks")
	log, err := audit.CreateAckLog(path, audit.AckNotes{})
	if err != nil {
		t.Fatal(err)
	}
	log.Record([]pingline.Ping{{Rider: "r 1", Fix: pingline.Fix{At: time.Now().UnixMilli(), LatE7: 1}}}, []pingline.Verdict{pingline.Held}, 10, 50)
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	long := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, long, long); err != nil {
		t.Fatal(err)
	}
	return path
}

// The target is asked until it has stored all; one that does not get there is told of.
func TestAuditWaitsForTheTarget(t *testing.T) {
	path := ackLog(t)
	complete, asked := "0", 0
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked++; r.URL.Path != "/v1/riders/r 1/track" {
			t.Errorf("asked for %s", r.URL.Path)
		}
		fmt.Fprintf(w, `{"points":[],"complete_to":%s}`, complete)
	}))
	t.Cleanup(target.Close)
	a := auditing{Program: program(t), flags: &AuditFlags{}, target: target.URL, files: audit.AckFiles{path}, say: io.Discard}
	for _, tt := range []struct{ complete, want string }{
		{"0", "does not know whether all of r 1 is stored"},
		{"1", "has not stored all: of r 1 it lacks the last"},
		{"9999999999999", ""},
		{`"x"`, "does not say whether all is stored"},
	} {
		complete = tt.complete
		notes, err := a.settle(time.Now())
		if err != nil || len(notes) > 1 || tt.want == "" && len(notes) > 0 || tt.want != "" && !named(notes, tt.want) {
			t.Errorf("complete_to %s: %q, %v", tt.complete, notes, err)
		}
	}
	if asked != 4 {
		t.Errorf("it was asked %d times", asked)
	}
}

func TestAuditRefuses(t *testing.T) {
	path := ackLog(t)
	other := filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(other, []byte("rider,ts\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args string
		want string
	}{
		{"", "missing flags: --ack-log"},
		{"--ack-log=/nowhere", "--ack-log: stat /nowhere"},
		{"--ack-log=" + filepath.Dir(path), "is no file"},
		{"--ack-log=" + other, "not a file of pingline sim run --ack-log"},
		{"--settle=-1s", "--settle: -1s is not in [0s, 24h]"},
		{"--settle=25h", "--settle: 25h0m0s is not in"},
		{"--rollup-res=-1", "--rollup-res: -1 is not in [0, 15]"},
		{"--rollup-res=16", "--rollup-res: 16 is not in"},
		{"--rollup-lateness=0s", "--rollup-lateness: 0s is not in [1s, 1h]"},
		{"--rollups=maybe", "--rollups"},
		{"--target=here", "--target: \"here\" is not a URL"},
		{"--influx-host=here", "--influx-host: "},
		{"--pseudonyms=/nowhere", "--pseudonyms: stat /nowhere"},
		{"--temp-dir=/nowhere", "/nowhere"},
		{"--influx-host=http://127.0.0.1:1", "connection refused"},
	} {
		args := []string{"audit"}
		if tt.args != "" {
			if args = append(args, tt.args); !strings.HasPrefix(tt.args, "--ack-log") {
				args = append(args, "--ack-log="+path)
			}
		}
		if _, err := run(t.Context(), args...); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.args, err, tt.want)
		}
	}
}

func TestFold(t *testing.T) {
	for _, line := range strings.Split(fold(strings.Repeat("some words of a long sentence ", 20)), "\n") {
		if len(line) > 80 {
			t.Errorf("a line of %d: %s", len(line), line)
		}
	}
}

func program(t *testing.T) *command.Program {
	return &command.Program{Context: t.Context(), Stdout: io.Discard, Stderr: io.Discard}
}
