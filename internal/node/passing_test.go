package node

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	influxdb2 "github.com/influxdata/influxdb-client-go/v2"

	"pingline/ingest/auth/access"
	"pingline/internal/ops"
	"pingline/rollup"
	"pingline/sink/influx"
)

// newPassing is a node that passes lines on to a bucket of their own.
func newPassing(t *testing.T, set ...func(*Config)) *ofLines {
	l := newOfLines(t, append(set, func(c *Config) { c.Lines.Pass, c.LinesTo = true, "a/telegraf" })...)
	if err := l.store.CreateBucket(t.Context(), "telegraf", 0); err != nil {
		t.Fatal(err)
	}
	return l
}

// send posts a body, and returns status and text of the answer.
func (l *ofLines) send(t *testing.T, path, key string, body []byte, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, l.URL()+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Token "+key)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if (resp.StatusCode == 503) != (resp.Header.Get("Retry-After") != "") {
		t.Errorf("%d, Retry-After %q", resp.StatusCode, resp.Header.Get("Retry-After"))
	}
	return resp.StatusCode, string(text)
}

// others returns the points of the bucket of lines.
func (l *ofLines) others(t *testing.T) []string {
	t.Helper()
	list, err := l.store.Points(t.Context(), "telegraf")
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(list)
	return list
}

// Lines that are no positions are in the InfluxDB when their client is answered, beside positions or
// not, in any unit and compressed; those that it refuses are told of, and take no others with them.
func TestLinesArePassedOn(t *testing.T) {
	l := newPassing(t)
	at := time.Now().Add(-time.Hour).Truncate(time.Second)
	s, ms, ns := at.Unix(), at.UnixMilli(), at.UnixNano()
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = fmt.Fprintf(z, "cpu,host=a usage=0.5 %d\ngps,rider=mix lat=1,lon=2 %d\nlog,path=a\\ b m=\"x\ny\" %d\n", s, s, s)
	_ = z.Close()
	for _, tt := range []struct {
		name, path, key string
		body            []byte
		header          []string
		status          int
		text            string
	}{
		{"a batch of Telegraf", "/api/v2/write?org=any&bucket=any&precision=s", l.key, packed.Bytes(), []string{"Content-Encoding", "gzip"}, 204, ""},
		{"once more", "/api/v2/write?org=any&bucket=any&precision=s", l.key, packed.Bytes(), []string{"Content-Encoding", "gzip"}, 204, ""},
		{"of a client for 1.x", "/write?db=any&rp=any&precision=ms", l.key, fmt.Appendf(nil, "mem,host=a used=3i %d", ms), nil, 204, ""},
		{"in nanoseconds", "/write?db=any", l.key, fmt.Appendf(nil, "mem,host=b used=4i %d", ns+7), nil, 204, ""},
		{"a field of another type", "/write", l.key, fmt.Appendf(nil, "mem,host=c used=5i %d\nmem,host=d used=\"6\" %d\ncpu,host=e usage=0.7 %d\ngps,rider=mix lat=1,lon=2 %d", ns, ns, ns, ns+1e9), nil, 400, `{"error":"partial write: field type conflict: input field \"used\" on measurement \"mem\" is type string, already exists as type integer dropped=1"}`},
		{"a field of another type that has the name of an attribute", "/write", l.key, fmt.Appendf(nil, "disk,host=c attr_used=5i,free=1 %d\ndisk,host=d attr_used=\"6\",free=2 %d", ns, ns), nil, 400, `{"error":"partial write: field type conflict: input field \"attr_used\" on measurement \"disk\" is type string, already exists as type integer dropped=1"}`},
		{"that field alone", "/api/v2/write", l.key, fmt.Appendf(nil, "mem,host=d used=\"6\" %d", ns), nil, 400, `{"code":"invalid","message":"field type conflict: input field \"used\" on measurement \"mem\" is type string, already exists as type integer dropped=1"}`},
		{"with a key for one rider", "/write", l.ana, fmt.Appendf(nil, "cpu,host=ana usage=1 %d\ngps lat=1,lon=2 %d", ns, ns), nil, 400, `{"error":"partial write: rider_id: line 1: no position: a key for some riders only writes no other lines dropped=1"}`},
		{"as a ping that nobody has judged", "/write", l.key, fmt.Appendf(nil, "location,rider=eve place=1 %d", ns), nil, 400, `{"error":"lat: line 1: no position: only Pingline writes this measurement dropped=1"}`},
		{"with a key for reading", "/write", l.read, fmt.Appendf(nil, "cpu,host=r usage=1 %d", ns), nil, 403, ""},
		{"without a key", "/write", "", fmt.Appendf(nil, "cpu,host=n usage=1 %d", ns), nil, 401, ""},
	} {
		status, text := l.send(t, tt.path, tt.key, tt.body, tt.header...)
		if status != tt.status || tt.text != "" && text != tt.text {
			t.Errorf("%s: %d %s, want %d %s", tt.name, status, text, tt.status, tt.text)
		}
	}
	want := []string{
		fmt.Sprintf("cpu,host=a usage=0.5 %d", ns), fmt.Sprintf("cpu,host=e usage=0.7 %d", ns), fmt.Sprintf("disk,host=c attr_used=5,free=1 %d", ns), fmt.Sprintf("log,path=a b m=\"x\\ny\" %d", ns),
		fmt.Sprintf("mem,host=a used=3 %d", ns), fmt.Sprintf("mem,host=b used=4 %d", ns+7), fmt.Sprintf("mem,host=c used=5 %d", ns),
	}
	if got := l.others(t); !slices.Equal(got, want) {
		t.Errorf("points\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	l.stored(t, "mix", 2)
	l.stored(t, "ana", 1)
	l.stored(t, "eve", 0)
	m := l.metricsNow()
	if got := []float64{m[`other_lines_total{outcome="passed"}`], m[`other_lines_total{outcome="refused"}`], m[`other_lines_total{outcome="again"}`]}; !slices.Equal(got, []float64{9, 3, 0}) {
		t.Errorf("%v lines passed on, refused, and to come again, want 9, 3, 0", got)
	}
}

// While the InfluxDB is dead or silent, the client is told to send again, the operator is told why, and
// positions are taken: nothing is lost, and nothing is there twice.
func TestLinesWhileInfluxDBIsAway(t *testing.T) {
	l := newPassing(t, func(c *Config) { c.Influx.Timeout = 2 * time.Second })
	at := time.Now().Add(-time.Hour)
	sent := 0
	mixed := func() []byte {
		sent++
		ns := at.Add(time.Duration(sent) * time.Second).UnixNano()
		return fmt.Appendf(nil, "cpu,host=a usage=%d %d\ngps,rider=away lat=%v,lon=2 %d\n", sent, ns, 1+float64(sent)/1000, ns)
	}
	until := func(body []byte, want int) string {
		t.Helper()
		for end := time.Now().Add(linesPatience); ; time.Sleep(50 * time.Millisecond) {
			status, text := l.send(t, "/api/v2/write", l.key, body)
			if status == want {
				return text
			}
			if status != 204 && status != 503 || time.Now().After(end) {
				t.Fatalf("%d %s, want %d", status, text, want)
			}
		}
	}
	until(mixed(), 204)
	for name, trouble := range map[string]func() (end func() error){
		"dead": func() func() error {
			l.store.Kill()
			return func() error { return l.store.Restart(t.Context()) }
		},
		"silent": func() func() error {
			if err := l.store.Pause(); err != nil {
				t.Fatal(err)
			}
			return l.store.Continue
		},
	} {
		end := trouble()
		body := mixed()
		if text := until(body, 503); !strings.Contains(text, "send the request again") {
			t.Errorf("%s: %s", name, text)
		}
		if notes := strings.Join(l.Notes(), "\n"); !strings.Contains(notes, "lines that are no positions are not passed on to a/telegraf: ") {
			t.Errorf("%s: notes %q", name, notes)
		}
		sent++
		if status, text := l.send(t, "/write", l.key, fmt.Appendf(nil, "gps,rider=away lat=3,lon=%d %d", sent, at.Add(time.Duration(sent)*time.Second).UnixNano())); status != 204 {
			t.Errorf("%s: a position alone: %d %s", name, status, text)
		}
		if err := end(); err != nil {
			t.Fatal(err)
		}
		until(body, 204)
		if notes := strings.Join(l.Notes(), "\n"); strings.Contains(notes, "not passed on") {
			t.Errorf("%s, and back: notes %q", name, notes)
		}
	}
	l.stored(t, "away", 5)
	if got := l.others(t); len(got) != 3 {
		t.Errorf("points %q, want 3", got)
	}
}

// A bucket that is not there is the operator's to make: clients keep their lines until then.
func TestBucketOfLinesIsMissing(t *testing.T) {
	l := newOfLines(t, func(c *Config) { c.Lines.Pass, c.LinesTo = true, "a/telegraf" })
	if status, text := l.send(t, "/write", l.key, []byte("cpu usage=1 17")); status != 503 || strings.Contains(text, "telegraf") {
		t.Errorf("%d %s", status, text)
	}
	if notes := strings.Join(l.Notes(), "\n"); !strings.Contains(notes, "database not found") || !strings.Contains(notes, "create the database") {
		t.Errorf("notes %q", notes)
	}
	if err := l.store.CreateBucket(t.Context(), "telegraf", 0); err != nil {
		t.Fatal(err)
	}
	if status, text := l.send(t, "/write", l.key, []byte("cpu usage=1 17")); status != 204 {
		t.Errorf("%d %s", status, text)
	}
}

// The measurements that only Pingline writes are the names of all its own points.
func TestMeasurementsOfPingline(t *testing.T) {
	l := newPassing(t)
	for _, name := range []string{influx.Measurement, rollup.Measurement, ops.NodePoint, ops.ShardPoint, ops.LanePoint, ops.ReasonPoint, ops.MemoryPoint, ops.SetPoint} {
		if status, text := l.send(t, "/write", l.key, []byte(name+" a=1")); status != 400 || !strings.Contains(text, "only Pingline") {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
}

func TestWhereLinesGo(t *testing.T) {
	shard := func(text string) (s ShardConfig) {
		if err := s.UnmarshalText([]byte(text)); err != nil {
			t.Fatal(err)
		}
		return s
	}
	pg, a, b := shard("name=p,url=postgres://u@h/db,set=x"), shard("name=a,url=http://a:8086"), shard("name=b,url=http://b:8086,bucket=own")
	for _, tt := range []struct {
		pass   bool
		to     string
		shards []ShardConfig
		want   string // of the store, or the start of an error
	}{
		{false, "", nil, ""},
		{true, "", nil, "a"},
		{true, "", []ShardConfig{a, b}, "a"},
		{true, "b", []ShardConfig{a, b}, "b"},
		{true, "b/telegraf", []ShardConfig{a, b}, "b/telegraf"},
		{true, "b/telegraf/week", []ShardConfig{a, b}, "b/telegraf/week"},
		{true, "c", []ShardConfig{a, b}, "--line-other: pass takes a shard that is an InfluxDB, and there is none for --line-to=c"},
		{true, "p", []ShardConfig{a, pg}, "--line-other: pass takes"},
		{true, "", []ShardConfig{pg}, "--line-other: pass takes"},
		{true, "b//week", []ShardConfig{a, b}, "--line-to: bucket: "},
		{false, "b", []ShardConfig{a, b}, "--line-to: takes --line-other=pass"},
	} {
		cfg := authConfig(t, "127.0.0.1:0", "", access.Settings{Ways: []string{"none"}})
		cfg.Lines.Pass, cfg.LinesTo, cfg.Shards = tt.pass, tt.to, tt.shards
		_, got, err := cfg.lineStore()
		if err != nil {
			got = err.Error()
		}
		if got != tt.want && (err == nil || tt.want == "" || !strings.HasPrefix(got, tt.want)) {
			t.Errorf("%v %q: %s, want %s", tt.pass, tt.to, got, tt.want)
		}
	}
	cfg := authConfig(t, "127.0.0.1:0", "", access.Settings{Ways: []string{"none"}})
	cfg.LinesTo = "a"
	if err := cfg.Check(); err == nil || !strings.Contains(err.Error(), "--line-to") {
		t.Errorf("Check: %v", err)
	}
}

// The library for Go writes positions and others in the same batches.
func TestInfluxClientOfGoWritesBoth(t *testing.T) {
	l := newPassing(t)
	const points = 500
	c := influxdb2.NewClientWithOptions(l.URL(), l.key, influxdb2.DefaultOptions().SetBatchSize(100).SetUseGZip(true))
	writer := c.WriteAPI("ops", "fleet")
	failed, said := make(chan error, points), writer.Errors()
	go func() {
		for err := range said {
			failed <- err
		}
		close(failed)
	}()
	began := time.Now().Add(-time.Hour).Truncate(time.Second)
	for i := range points {
		at := began.Add(time.Duration(i) * time.Second)
		writer.WritePoint(influxdb2.NewPoint("gps", map[string]string{"rider": "both"}, map[string]any{"lat": 41 + float64(i)/1000, "lon": -8.6}, at))
		writer.WritePoint(influxdb2.NewPoint("cpu", map[string]string{"host": "gw 1"}, map[string]any{"usage": float64(i), "state": `a "b"`}, at.Add(time.Duration(i))))
	}
	writer.Flush()
	c.Close() // once all batches are answered
	for err := range failed {
		t.Error(err)
	}
	if got := l.others(t); len(got) != points || !strings.HasPrefix(got[0], `cpu,host=gw 1 state="a \"b\"",usage=`) {
		t.Errorf("%d points, %q", len(got), got[:min(len(got), 1)])
	}
	l.stored(t, "both", points)
}
