package sink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pingline"
	"pingline/internal/influxd"
)

func TestNewInfluxRefuses(t *testing.T) {
	for name, cfg := range map[string]InfluxConfig{
		"a password in the URL":     {URL: "http://admin:hunter2@localhost:8086", Bucket: "b"},
		"a password in a bad URL":   {URL: "http://admin:hunter2@local host:%zz", Bucket: "b"},
		"another scheme":            {URL: "udp://localhost:8089", Bucket: "b"},
		"no scheme":                 {URL: "localhost:8086", Bucket: "b"},
		"a query":                   {URL: "http://localhost:8086/?x=1", Bucket: "b"},
		"no bucket":                 {URL: "http://localhost:8086"},
		"a policy without database": {URL: "http://localhost:8086", Bucket: "/week"},
		"a negative timeout":        {URL: "http://localhost:8086", Bucket: "b", Timeout: -1},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := NewInflux(cfg)
			if err == nil {
				t.Fatal("NewInflux took it")
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error tells the password: %v", err)
			}
		})
	}
}

// TestRefusals is the table of refusal.go, asked of the real 1.8.
func TestRefusals(t *testing.T) {
	server := influxd.RunTest(t,
		"INFLUXDB_DATA_MAX_VALUES_PER_TAG=3",
		"INFLUXDB_HTTP_MAX_BODY_SIZE=1000")
	influx := testInflux(t, InfluxConfig{URL: server.URL()})
	execute(t, influx, `CREATE RETENTION POLICY "short" ON "pingline" DURATION 2h REPLICATION 1`)
	write(t, influx, "m,r=1 v=1 1000\nm,r=2 v=1 1000\nm,r=3 v=1 1000\n")
	var long strings.Builder // too large even when compressed
	for i := range 2000 {
		fmt.Fprintf(&long, "m v=%v %d\n", math.Sin(float64(i)), i*i)
	}
	for _, tt := range []struct {
		name, bucket, lines string
		kind                Kind
		status              int
		message             string
		all                 bool // refused
	}{
		{"no database", "nothing", "m v=1 1", Configuration, 404, `database not found: "nothing"`, false},
		{"no policy", "pingline/nothing", "m v=1 1", Configuration, 500, "retention policy not found: nothing", false},
		{"too many tag values", "pingline", "m,r=4 v=1 1000\nm,r=1 v=2 1000", Configuration, 400, "max-values-per-tag limit exceeded", false},
		{"type conflict", "pingline", "m,r=1 v=\"x\" 1001\nm,r=1 v=2 1002", Row, 400, "partial write: field type conflict", false},
		{"type conflict in all rows", "pingline", "m,r=1 v=\"x\" 1001\nm,r=1 v=\"x\" 1002", Row, 400, "dropped=2", true},
		{"beyond retention", "pingline/short", "m v=1 1000", Row, 400, "points beyond retention policy dropped=1", true},
		{"unparsable", "pingline", "m v= 1", Row, 400, "unable to parse 'm v= 1'", false},
		{"unparsable among others", "pingline", "m v= 1\nm,r=1 v=1 2", Row, 400, "partial write: unable to parse", false},
		{"too large", "pingline", long.String(), Row, 413, "Request Entity Too Large", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			influx := testInflux(t, InfluxConfig{URL: server.URL(), Bucket: tt.bucket})
			err := influx.Write(t.Context(), []byte(tt.lines))
			e := new(WriteError)
			if !errors.As(err, &e) {
				t.Fatalf("Write = %v, want a *WriteError", err)
			}
			if e.Kind != tt.kind || e.Status != tt.status || !strings.Contains(e.Message, tt.message) {
				t.Errorf("Write = %v %+v, want %v %d %q", e.Kind, e, tt.kind, tt.status, tt.message)
			}
			if got := e.refusesAll(strings.Count(tt.lines, "\n") + 1); got != tt.all {
				t.Errorf("refusesAll = %v, want %v", got, tt.all)
			}
		})
	}
	t.Run("default policy by an empty name", func(t *testing.T) {
		write(t, testInflux(t, InfluxConfig{URL: server.URL(), Bucket: "pingline/"}), "m,r=1 v=1 1000")
	})
}

func write(t testing.TB, c *Influx, lines string) {
	t.Helper()
	if err := c.Write(context.Background(), []byte(lines)); err != nil {
		t.Fatal(err)
	}
}

// withPasswords runs an InfluxDB 1.8 that wants credentials; its admin is
// admin:secret, and other:other may do nothing.
func withPasswords(t *testing.T) (url string) {
	t.Helper()
	binary, err := influxd.Find()
	if errors.Is(err, influxd.ErrNotFound) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	open, err := influxd.Start(t.Context(), influxd.Config{Binary: binary, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	url = open.URL()
	execute(t, testInflux(t, InfluxConfig{URL: url}),
		`CREATE USER admin WITH PASSWORD 'secret' WITH ALL PRIVILEGES; CREATE USER other WITH PASSWORD 'other'`)
	if err := open.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary)
	cmd.Env = append(os.Environ(),
		"HOME="+dir, "INFLUXDB_REPORTING_DISABLED=true", "INFLUXDB_BIND_ADDRESS=127.0.0.1:0",
		"INFLUXDB_HTTP_BIND_ADDRESS="+strings.TrimPrefix(url, "http://"), "INFLUXDB_HTTP_AUTH_ENABLED=true",
		"INFLUXDB_META_DIR="+filepath.Join(dir, "meta"), "INFLUXDB_DATA_DIR="+filepath.Join(dir, "data"),
		"INFLUXDB_DATA_WAL_DIR="+filepath.Join(dir, "wal"), "INFLUXDB_MONITOR_STORE_ENABLED=false")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // says that it was killed
	})
	admin := testInflux(t, InfluxConfig{URL: url, Token: "admin:secret"})
	eventually(t, "InfluxDB lets its admin in", func() bool {
		_, err := admin.Ping(t.Context())
		return err == nil
	})
	return url
}

func TestCredentials(t *testing.T) {
	url := withPasswords(t)
	for _, tt := range []struct {
		name, token string
		status      int
		message     string
	}{
		{"none", "", 401, "unable to parse authentication credentials"},
		{"an API token, which 1.8 has not", "hunter2", 401, "unable to parse authentication credentials"},
		{"a wrong password", "admin:hunter2", 401, "authorization failed"},
		{"no rights", "other:other", 403, `"other" user is not authorized to write to database "pingline"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			influx := testInflux(t, InfluxConfig{URL: url, Token: tt.token})
			_, pingErr := influx.Ping(t.Context())
			queryErr := influx.Points(t.Context(), Query{To: 1}, nil)
			for _, err := range []error{influx.Write(t.Context(), []byte("m v=1 1")), pingErr} {
				e := new(WriteError)
				if !errors.As(err, &e) || e.Kind != Configuration || e.Status != tt.status || e.Message != tt.message {
					t.Errorf("got %v, want Configuration %d %s", err, tt.status, tt.message)
				}
			}
			if queryErr == nil {
				t.Error("Points let us in")
			}
			for _, err := range []error{pingErr, queryErr} {
				if strings.Contains(fmt.Sprintf("%v %+v", err, err), "hunter2") {
					t.Errorf("the error tells the password: %v", err)
				}
			}
		})
	}
	t.Run("a token file that changes", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "token")
		influx := testInflux(t, InfluxConfig{URL: url, Token: "ignored", TokenFile: file})
		for _, step := range []struct{ content, want string }{
			{"admin:wrong\n", "authorization failed"},
			{"admin:secret\n", ""},
			{"admin:wrong", "authorization failed"},
			{"two\nlines", "holds more than one line"},
		} {
			if err := os.WriteFile(file, []byte(step.content), 0o600); err != nil {
				t.Fatal(err)
			}
			switch err := influx.Write(t.Context(), []byte("m v=1 1")); {
			case step.want == "" && err != nil, step.want != "" && !strings.Contains(fmt.Sprint(err), step.want):
				t.Errorf("with %q: %v, want %q", step.content, err, step.want)
			}
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		e := new(WriteError)
		if err := influx.Write(t.Context(), []byte("m v=1 1")); !errors.As(err, &e) || e.Kind != Configuration {
			t.Errorf("without the file: %v, want Configuration", err)
		}
	})
}

func TestOneWriteIsOneRequest(t *testing.T) {
	var requests atomic.Int32
	var status atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		body, err := gunzip(r.Body)
		if err != nil || string(body) != "m v=1 1\n" {
			t.Errorf("the body is %q, %v", body, err)
		}
		if q := r.URL.Query(); q.Get("org") != "o" || q.Get("bucket") != "b/c" || q.Get("precision") != "ms" {
			t.Errorf("the query is %v", q)
		}
		if got := r.Header.Get("Authorization"); got != "Token t" {
			t.Errorf("Authorization is %q", got)
		}
		if r.ContentLength <= 0 {
			t.Error("the length of the body is not told")
		}
		w.Header().Set("Retry-After", "3")
		w.Header().Set("Location", "http://127.0.0.1:1/")
		w.WriteHeader(int(status.Load()))
	}))
	defer server.Close()
	influx := testInflux(t, InfluxConfig{URL: server.URL + "/", Token: "t", Org: "o", Bucket: "b/c"})
	for i, want := range []struct {
		status int
		kind   Kind // 0: success
	}{{204, 0}, {429, Retry}, {503, Retry}, {500, Retry}, {400, Row}, {401, Configuration}, {307, Configuration}, {200, Configuration}, {202, Configuration}} {
		status.Store(int32(want.status))
		err := influx.Write(t.Context(), []byte("m v=1 1\n"))
		e := new(WriteError)
		if want.kind == 0 && err != nil || want.kind != 0 && (!errors.As(err, &e) || e.Kind != want.kind || e.RetryAfter != 3*time.Second) {
			t.Errorf("status %d: %v, want kind %d and Retry-After", want.status, err, want.kind)
		}
		if n := requests.Load(); int(n) != i+1 {
			t.Fatalf("status %d: %d requests, want 1", want.status, int(n)-i)
		}
	}
}

func TestNoAnswerIsRetry(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer server.Close()
	defer close(release)
	slow := testInflux(t, InfluxConfig{URL: server.URL, Timeout: 50 * time.Millisecond})
	gone := testInflux(t, InfluxConfig{URL: "http://127.0.0.1:1"})
	for _, c := range []*Influx{slow, gone} {
		e := new(WriteError)
		if err := c.Write(t.Context(), []byte("m v=1 1")); !errors.As(err, &e) || e.Kind != Retry || e.Status != 0 {
			t.Errorf("Write = %v, want Retry", err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := slow.Write(ctx, []byte("m v=1 1")); !errors.Is(err, context.Canceled) || errors.As(err, new(*WriteError)) {
		t.Errorf("Write = %v, want the context's error", err)
	}
}

func TestPing(t *testing.T) {
	server := influxd.RunTest(t)
	version, err := testInflux(t, InfluxConfig{URL: server.URL()}).Ping(t.Context())
	if err != nil || version == "" {
		t.Errorf("Ping = %q, %v", version, err)
	}
	e := new(WriteError)
	if _, err := testInflux(t, InfluxConfig{URL: server.URL(), Bucket: "nothing"}).Ping(t.Context()); !errors.As(err, &e) || e.Status != 404 {
		t.Errorf("Ping of a missing bucket = %v, want 404", err)
	}
	// 2.x refuses an empty write only when everything else is well.
	if _, err := script(t, func(w http.ResponseWriter, _ []string) { w.WriteHeader(400) }).Ping(t.Context()); err == nil {
		t.Error("Ping took a server that refuses everything")
	}
}

func TestCreateDatabase(t *testing.T) {
	server := influxd.RunTest(t)
	influx := testInflux(t, InfluxConfig{URL: server.URL(), Bucket: `odd "name"/two 'weeks'`})
	for range 2 { // the second time it is there
		if err := influx.CreateDatabase(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	want := fleet(1, 10)
	for i := range want {
		write(t, influx, string(pingline.AppendLine(nil, &want[i])))
	}
	sameLines(t, stored(t, influx), lines(want...))
}

func TestPointsAsWritten(t *testing.T) {
	server := influxd.RunTest(t)
	influx := testInflux(t, InfluxConfig{URL: server.URL()})
	all := fleet(1, 25_000) // series of more than one chunk of 10,000
	for i := range all[:15_000] {
		all[i].Rider, all[i].Device, all[i].Late, all[i].Cell = "one", "", false, 0
	}
	extremes := pingline.Entry{Verdict: pingline.Accepted, Skipped: math.MaxUint32}
	extremes.Rider, extremes.At = "extreme", recently
	if err := extremes.SetPosition(-90, 180); err != nil {
		t.Fatal(err)
	}
	extremes.SetOptional(pingline.HasSpeed, math.SmallestNonzeroFloat32)
	extremes.SetOptional(pingline.HasAccuracy, 1e6)
	extremes.SetOptional(pingline.HasAltitude, -1e5)
	extremes.SetOptional(pingline.HasBattery, 0)
	all = append(all, extremes)
	var body []byte
	for i := range all {
		body = pingline.AppendLine(body, &all[i])
	}
	write(t, influx, string(body))
	write(t, influx, "location,rider=stranger note=\"no position\" 1000\n")
	sameLines(t, stored(t, influx), lines(all...))

	for _, tt := range []struct {
		name string
		q    Query
		want func(*pingline.Entry) bool
	}{
		{"a rider", Query{Rider: "rider-1-3", To: math.MaxInt64 / 1_000_000}, func(e *pingline.Entry) bool { return e.Rider == "rider-1-3" }},
		{"a device", Query{Rider: "rider-1-3", Device: "phone:2", To: math.MaxInt64 / 1_000_000},
			func(e *pingline.Entry) bool { return e.Rider == "rider-1-3" && e.Device != "" }},
		{"from, not to", Query{From: recently + 5, To: recently + 9},
			func(e *pingline.Entry) bool { return e.At >= recently+5 && e.At < recently+9 }},
		{"a rider who tries to break out", Query{Rider: `x' OR rider =~ /.*/ OR 'a'='a`, To: math.MaxInt64 / 1_000_000},
			func(*pingline.Entry) bool { return false }},
		{"a rider with a backslash", Query{Rider: `x\' OR 1=1`, To: math.MaxInt64 / 1_000_000}, func(*pingline.Entry) bool { return false }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got, want []pingline.Entry
			err := influx.Points(t.Context(), tt.q, func(e *pingline.Entry) error { got = append(got, *e); return nil })
			if err != nil {
				t.Fatal(err)
			}
			for i := range all {
				if tt.want(&all[i]) {
					want = append(want, all[i])
				}
			}
			sameLines(t, lines(got...), lines(want...))
		})
	}
	t.Run("the caller stops it", func(t *testing.T) {
		stop, calls := errors.New("enough"), 0
		err := influx.Points(t.Context(), Query{To: math.MaxInt64 / 1_000_000}, func(*pingline.Entry) error { calls++; return stop })
		if !errors.Is(err, stop) || calls != 1 {
			t.Errorf("Points = %v after %d calls", err, calls)
		}
	})
	t.Run("no database", func(t *testing.T) {
		err := testInflux(t, InfluxConfig{URL: server.URL(), Bucket: "nothing"}).Points(t.Context(), Query{To: 1}, nil)
		if err == nil || !strings.Contains(err.Error(), "database not found") {
			t.Errorf("Points = %v", err)
		}
	})
}

// An answer that ends early must not pass for one that says all.
func TestPointsOfABrokenAnswer(t *testing.T) {
	const row = `[1000,1.5,2.5,null,null,null,null,null,null,null,null]`
	chunk := func(partial bool) string {
		return fmt.Sprintf(`{"results":[{"statement_id":0,"series":[{"name":"location","tags":{"rider":"r"},"values":[%s]}],"partial":%v}]}`+"\n", row, partial)
	}
	for _, tt := range []struct{ name, body, want string }{
		{"it says there is more", chunk(true), "breaks off"},
		{"it ends in a chunk", chunk(true) + chunk(false)[:60], "breaks off"},
		{"an error behind good rows", chunk(true) + `{"results":[{"statement_id":0,"error":"query timeout reached"}]}`, "query timeout reached"},
		{"an error of the request", `{"error":"engine is closed"}`, "engine is closed"},
		{"a cell that is none", `{"results":[{"series":[{"tags":{"rider":"r","cell":"zz"},"values":[` + row + `]}]}]}`, "cell"},
		{"not JSON", "<html>", "breaks off"},
		{"whole", chunk(true) + chunk(false), ""},
		{"empty", `{"results":[{"statement_id":0}]}`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if _, err := io.WriteString(w, tt.body); err != nil {
					t.Error(err)
				}
			}))
			defer server.Close()
			err := testInflux(t, InfluxConfig{URL: server.URL}).Points(t.Context(), Query{}, func(*pingline.Entry) error { return nil })
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("Points = %v, want %q", err, tt.want)
			}
		})
	}
	t.Run("it falls silent", func(t *testing.T) {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, err := io.WriteString(w, chunk(true)); err != nil {
				t.Error(err)
			}
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}))
		defer server.Close()
		influx := testInflux(t, InfluxConfig{URL: server.URL, Timeout: 100 * time.Millisecond})
		err := influx.Points(t.Context(), Query{}, func(*pingline.Entry) error { return nil })
		if err == nil || !strings.Contains(err.Error(), "no answer within 100ms") {
			t.Errorf("Points = %v", err)
		}
	})
}

func TestRowOfOtherTypesIsUnknown(t *testing.T) {
	var r row
	if err := r.UnmarshalJSON([]byte(`[1000,1.5,2.5,"fast",true,5,1e400,null,7,"a,]\"b",-3]`)); err != nil {
		t.Fatal(err)
	}
	want := row{placed: true, trip: `a,]"b`}
	want.fix.At, want.fix.LatE7, want.fix.LonE7 = 1000, 15_000_000, 25_000_000
	want.fix.SetOptional(pingline.HasAccuracy, 5)
	if r != want {
		t.Errorf("got %+v, want %+v", r, want)
	}
}

// Whatever answers for InfluxDB, reading it ends in entries or an error.
func FuzzAnswer(f *testing.F) {
	f.Add(`{"results":[{"series":[{"tags":{"rider":"r"},"values":[[1,2,3,"a",null]]}]}]}`)
	f.Add(`{"results":[{"series":[{"values":[["a\\",",",null,-1e9],[],[[]],[{"a":"]"}],null,7,""]}]}]}`)
	f.Fuzz(func(t *testing.T, s string) {
		var a answer
		if json.Unmarshal([]byte(s), &a) != nil {
			return
		}
		_, err := a.each(func(s *series) error { return s.Tags.set(new(pingline.Entry)) })
		_ = err // any will do
	})
}
