package influx_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pingline"
	"pingline/internal/influxd"
	"pingline/sink/influx"
	"pingline/sink/influx/influxtest"
	"pingline/sink/store"
	"pingline/sink/store/storetest"
)

func TestNewRefuses(t *testing.T) {
	for name, cfg := range map[string]influx.Config{
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
			_, err := influx.New(cfg)
			if err == nil {
				t.Fatal("New took it")
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error tells the password: %v", err)
			}
		})
	}
}

// TestRefusals is the table of refusal.go, asked of the real ones.
func TestRefusals(t *testing.T) {
	cfg := influxd.Config{Env: []string{"INFLUXDB_DATA_MAX_VALUES_PER_TAG=3", "INFLUXDB_HTTP_MAX_BODY_SIZE=1000"}}
	influxtest.EachVersion(t, cfg, func(t *testing.T, server *influxd.Server) {
		influxtest.CreateBucket(t, server, "pingline/short", 2*time.Hour)
		influxtest.Write(t, influxtest.Open(t, influxtest.Access(server, "pingline")), "m,r=1 v=1 1000000000\nm,r=2 v=1 1000000000\nm,r=3 v=1 1000000000\n")
		for _, tt := range refusals()[server.Version()] {
			t.Run(tt.name, func(t *testing.T) {
				cfg := influxtest.Access(server, tt.bucket)
				if tt.org != nil {
					cfg.Org = *tt.org
				}
				err := influxtest.Open(t, cfg).Write(t.Context(), influxtest.Rows(tt.lines))
				e := new(influx.AnswerError)
				if !errors.As(err, &e) {
					t.Fatalf("Write = %v, want a *influx.AnswerError", err)
				}
				if e.Kind != tt.kind || e.Status != tt.status || !strings.Contains(e.Message, tt.message) {
					t.Errorf("Write = %v %+v, want %v %d %q", e.Kind, e, tt.kind, tt.status, tt.message)
				}
				if r := new(store.Refusal); !errors.As(err, &r) || r.All != tt.all || r.Kind != tt.kind {
					t.Errorf("Write = %+v, want one that refuses all: %v", r, tt.all)
				}
			})
		}
	})
}

type refusalTest struct {
	name, bucket, lines string
	org                 *string // nil means the right one
	kind                store.Kind
	status              int
	message             string
	all                 bool // refused
}

// refusals are what a 1.8 and a 2.7 answer.
func refusals() [3][]refusalTest {
	var long strings.Builder // too large even when compressed
	for i := range 2000 {
		fmt.Fprintf(&long, "m v=%v %d\n", math.Sin(float64(i)), i*i)
	}
	none, other := "", "nobody"
	const conflict = `partial write: field type conflict: input field "v" on measurement "m" is type string, already exists as type float dropped=`
	const over = "failure writing points to database: "
	return [3][]refusalTest{1: {
		{"no database", "nothing", "m v=1 1", nil, store.Configure, 404, `database not found: "nothing"`, false},
		{"no policy", "pingline/nothing", "m v=1 1", nil, store.Configure, 500, "retention policy not found: nothing", false},
		{"too many tag values", "pingline", "m,r=4 v=1 1000000000\nm,r=1 v=2 1000000000", nil, store.Configure, 400, "max-values-per-tag limit exceeded", false},
		{"type conflict", "pingline", "m,r=1 v=\"x\" 1001\nm,r=1 v=2 1002", nil, store.BadRows, 400, conflict + "1", false},
		{"type conflict in all rows", "pingline", "m,r=1 v=\"x\" 1001\nm,r=1 v=\"x\" 1002", nil, store.BadRows, 400, conflict + "2", true},
		{"beyond retention", "pingline/short", "m v=1 1000000000", nil, store.BadRows, 400, "partial write: points beyond retention policy dropped=1", true},
		{"unparsable", "pingline", "m v= 1", nil, store.BadRows, 400, "unable to parse 'm v= 1': missing field value", false},
		{"unparsable among others", "pingline", "m v= 1\nm,r=1 v=1 2", nil, store.BadRows, 400, "partial write: unable to parse 'm v= 1': missing field value dropped=0", false},
		{"too large", "pingline", long.String(), nil, store.BadRows, 413, "Request Entity Too Large", false},
	}, 2: {
		{"no bucket", "nothing", "m v=1 1", nil, store.Configure, 404, `bucket "nothing" not found`, false},
		{"no organization", "pingline", "m v=1 1", &other, store.Configure, 404, `organization name "nobody" not found`, false},
		{"no organization named", "pingline", "m v=1 1", &none, store.Configure, 400, "Please provide either orgID or org", false},
		{"type conflict", "pingline", "m,r=1 v=\"x\" 1001\nm,r=1 v=2 1002", nil, store.BadRows, 422, over + conflict + "1", false},
		{"type conflict in all rows", "pingline", "m,r=1 v=\"x\" 1001\nm,r=1 v=\"x\" 1002", nil, store.BadRows, 422, over + conflict + "2", true},
		{"beyond retention", "pingline/short", "m v=1 1000000000", nil, store.BadRows, 422, over + "partial write: dropped 1 points outside retention policy of duration 2h0m0s - " +
			"oldest point m at 1970-01-01T00:00:01Z dropped because it violates a Retention Policy Lower Bound at ", true},
		{"beyond retention, not all", "pingline/short", fmt.Sprintf("m v=1 1000000000\nm v=1 %d000000", storetest.Recently), nil, store.BadRows, 422, "dropped=1 for database: ", false},
		{"unparsable", "pingline", "m v= 1", nil, store.BadRows, 400, "unable to parse 'm v= 1': missing field value", false},
		{"unparsable among others", "pingline", "m v= 1\nm,r=1 v=1 2", nil, store.BadRows, 400, "unable to parse 'm v= 1': missing field value", false},
	}}
}

func TestDefaultPolicyByAnEmptyName(t *testing.T) {
	influxtest.Write(t, influxtest.Open(t, influx.Config{URL: influxd.RunTest(t).URL(), Bucket: "pingline/"}), "m,r=1 v=1 1000")
}

// A cache that is full is overload: the same write is taken a moment later.
func TestFullCacheIsRetry(t *testing.T) {
	cfg := influxd.Config{Env: []string{"INFLUXDB_DATA_CACHE_MAX_MEMORY_SIZE=1000", "INFLUXD_STORAGE_CACHE_MAX_MEMORY_SIZE=1000"}}
	influxtest.EachVersion(t, cfg, func(t *testing.T, server *influxd.Server) {
		var lines strings.Builder
		for i := range 1000 {
			fmt.Fprintf(&lines, "m v=1 %d000000\n", storetest.Recently+int64(i))
		}
		e := new(influx.AnswerError)
		err := influxtest.Open(t, influxtest.Access(server, "pingline")).Write(t.Context(), influxtest.Rows(lines.String()))
		if !errors.As(err, &e) || e.Kind != store.Retry || e.Status != 500 || !strings.Contains(e.Message, "engine: cache-max-memory-size exceeded: (") {
			t.Errorf("Write = %v, want Retry 500 cache-max-memory-size exceeded", err)
		}
	})
}

func TestPlainHTTPWhereTLSIsSpoken(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	bucket := influxtest.Open(t, influx.Config{URL: strings.Replace(server.URL, "https:", "http:", 1)})
	e := new(influx.AnswerError)
	if err := bucket.Write(t.Context(), influxtest.Rows("m v=1 1")); !errors.As(err, &e) || e.Kind != store.Configure || e.Status != 400 {
		t.Errorf("Write = %v, want Configuration 400", err)
	}
}

// withPasswords is a server that wants credentials.
var withPasswords = influxd.Config{Token: "admin:secret"}

func TestCredentials(t *testing.T) {
	influxtest.EachVersion(t, withPasswords, func(t *testing.T, server *influxd.Server) {
		type test struct {
			name, token string
			status      int
			message     string
			reads       bool
		}
		powerless, reader := influxtest.CreateToken(t, server, false, false), influxtest.CreateToken(t, server, true, false)
		for _, tt := range [...][]test{1: {
			{"none", "", 401, "unable to parse authentication credentials", false},
			{"an API token, which 1.8 has not", "hunter2", 401, "unable to parse authentication credentials", false},
			{"a wrong password", "admin:hunter2", 401, "authorization failed", false},
			{"no rights", powerless, 403, ` user is not authorized to write to database "pingline"`, false},
			{"the right to read", reader, 403, ` user is not authorized to write to database "pingline"`, true},
		}, 2: {
			{"none", "", 401, "unauthorized access", false},
			{"a wrong token", "hunter2", 401, "unauthorized access", false},
			{"a user and a password, which 1.8 has", "admin:hunter2", 401, "unauthorized access", false},
			{"no rights", powerless, 403, "insufficient permissions for write", false},
			{"the right to read", reader, 403, "insufficient permissions for write", true},
		}}[server.Version()] {
			t.Run(tt.name, func(t *testing.T) {
				cfg := influxtest.Access(server, "pingline")
				cfg.Token = tt.token
				bucket := influxtest.Open(t, cfg)
				_, pingErr := bucket.Ping(t.Context())
				queryErr := bucket.Points(t.Context(), store.Query{To: 1}, nil)
				for _, err := range []error{bucket.Write(t.Context(), influxtest.Rows("m v=1 1")), pingErr} {
					e := new(influx.AnswerError)
					if !errors.As(err, &e) || e.Kind != store.Configure || e.Status != tt.status || !strings.HasSuffix(e.Message, strings.TrimSpace(tt.message)) {
						t.Errorf("got %v, want store.Configure %d %s", err, tt.status, tt.message)
					}
				}
				if (queryErr == nil) != tt.reads {
					t.Errorf("Points = %v", queryErr)
				}
				for _, err := range []error{pingErr, queryErr} {
					if strings.Contains(fmt.Sprintf("%v %+v", err, err), "hunter2") {
						t.Errorf("the error tells the password: %v", err)
					}
				}
			})
		}
		t.Run("the right to write", func(t *testing.T) {
			cfg := influxtest.Access(server, "pingline")
			cfg.Token = influxtest.CreateToken(t, server, false, true)
			bucket := influxtest.Open(t, cfg)
			if _, err := bucket.Ping(t.Context()); err != nil {
				t.Errorf("Ping = %v", err)
			}
			influxtest.Write(t, bucket, "m v=1 1")
			if err := bucket.Points(t.Context(), store.Query{To: 1}, nil); err == nil {
				t.Error("Points let us in")
			}
		})
		t.Run("a token file that changes", func(t *testing.T) { testTokenFile(t, server) })
	})
}

func testTokenFile(t *testing.T, server *influxd.Server) {
	cfg := influxtest.Access(server, "pingline")
	cfg.TokenFile = filepath.Join(t.TempDir(), "token")
	bucket := influxtest.Open(t, cfg)
	refused := [...]string{1: "authorization failed", 2: "unauthorized access"}[server.Version()]
	for _, step := range []struct{ content, want string }{
		{"admin:wrong\n", refused},
		{server.Token() + "\n", ""},
		{"admin:wrong", refused},
		{"two\nlines", "holds more than one line"},
	} {
		if err := os.WriteFile(cfg.TokenFile, []byte(step.content), 0o600); err != nil {
			t.Fatal(err)
		}
		switch err := bucket.Write(t.Context(), influxtest.Rows("m v=1 1")); {
		case step.want == "" && err != nil, step.want != "" && !strings.Contains(fmt.Sprint(err), step.want):
			t.Errorf("with %q: %v, want %q", step.content, err, step.want)
		}
	}
	if err := os.Remove(cfg.TokenFile); err != nil {
		t.Fatal(err)
	}
	e := new(influx.AnswerError)
	if err := bucket.Write(t.Context(), influxtest.Rows("m v=1 1")); !errors.As(err, &e) || e.Kind != store.Configure {
		t.Errorf("without the file: %v, want store.Configure", err)
	}
}

func TestOneWriteIsOneRequest(t *testing.T) {
	var requests atomic.Int32
	var status atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		body, err := influxtest.Gunzip(r.Body)
		if err != nil || string(body) != "m v=1 1\n" {
			t.Errorf("the body is %q, %v", body, err)
		}
		if q := r.URL.Query(); q.Get("org") != "o" || q.Get("bucket") != "b/c" || q.Get("precision") != "ns" {
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
	bucket := influxtest.Open(t, influx.Config{URL: server.URL + "/", Token: "t", Org: "o", Bucket: "b/c", Compress: true})
	for i, want := range []struct {
		status int
		kind   store.Kind // 0: success
	}{{204, 0}, {429, store.Retry}, {503, store.Retry}, {500, store.Retry}, {400, store.BadRows}, {401, store.Configure}, {307, store.Configure}, {200, store.Configure}, {202, store.Configure}} {
		status.Store(int32(want.status))
		err := bucket.Write(t.Context(), influxtest.Rows("m v=1 1\n"))
		e := new(influx.AnswerError)
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
	gone := influxtest.Open(t, influx.Config{URL: "http://127.0.0.1:1"})
	e := new(influx.AnswerError)
	if err := gone.Write(t.Context(), influxtest.Rows("m v=1 1")); !errors.As(err, &e) || e.Kind != store.Retry || e.Status != 0 {
		t.Errorf("Write = %v, want Retry", err)
	}
	silent := influxtest.Open(t, influx.Config{URL: server.URL})
	for _, end := range []error{context.Canceled, context.DeadlineExceeded} {
		ctx, cancel := context.WithCancel(t.Context())
		if cancel(); end == context.DeadlineExceeded {
			ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
		}
		if err := silent.Write(ctx, influxtest.Rows("m v=1 1")); !errors.Is(err, end) || errors.As(err, new(*store.Refusal)) {
			t.Errorf("Write = %v, want %v", err, end)
		}
	}
}

func TestPing(t *testing.T) {
	influxtest.EachVersion(t, influxd.Config{}, func(t *testing.T, server *influxd.Server) {
		version, err := influxtest.Open(t, influxtest.Access(server, "pingline")).Ping(t.Context())
		if err != nil || !strings.HasPrefix(version, [...]string{1: "1.8.", 2: "v2."}[server.Version()]) {
			t.Errorf("Ping = %q, %v", version, err)
		}
		e := new(influx.AnswerError)
		if _, err := influxtest.Open(t, influxtest.Access(server, "nothing")).Ping(t.Context()); !errors.As(err, &e) || e.Status != 404 {
			t.Errorf("Ping of a missing bucket = %v, want 404", err)
		}
	})
	// Some refuse an empty write, but only when everything else is well.
	if _, err := influxtest.Script(t, func(w http.ResponseWriter, _ []string) { w.WriteHeader(400) }).Ping(t.Context()); err == nil {
		t.Error("Ping took a server that refuses everything")
	}
}

func TestCreateDatabase(t *testing.T) {
	server := influxd.RunTest(t)
	bucket := influxtest.Open(t, influx.Config{URL: server.URL(), Bucket: `odd "name"/two 'weeks'`})
	for range 2 { // the second time it is there
		if err := bucket.CreateDatabase(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	want := storetest.Fleet(1, 10)
	for i := range want {
		influxtest.Write(t, bucket, string(influx.AppendLine(nil, &want[i])))
	}
	influxtest.SameLines(t, influxtest.Stored(t, bucket), influxtest.Lines(want...))
}

func TestPointsAsWritten(t *testing.T) {
	influxtest.EachVersion(t, influxd.Config{}, testPointsAsWritten)
}

func testPointsAsWritten(t *testing.T, server *influxd.Server) {
	bucket := influxtest.Open(t, influxtest.Access(server, "pingline"))
	all := storetest.Fleet(1, 25_000) // series of more than one chunk of 10,000
	for i := range all[:15_000] {
		all[i].Rider, all[i].Device, all[i].Late, all[i].Cell = "one", "", false, 0
	}
	extremes := pingline.Entry{Verdict: pingline.Accepted, Skipped: math.MaxUint32}
	extremes.Rider, extremes.At = "extreme", storetest.Recently
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
		body = influx.AppendLine(body, &all[i])
	}
	influxtest.Write(t, bucket, string(body))
	influxtest.Write(t, bucket, "location,rider=stranger note=\"no position\" 1000000000\n")
	influxtest.SameLines(t, influxtest.Stored(t, bucket), influxtest.Lines(all...))

	for _, tt := range []struct {
		name string
		q    store.Query
		want func(*pingline.Entry) bool
	}{
		{"a rider", store.Query{Rider: "rider-1-3", To: math.MaxInt64 / 1_000_000}, func(e *pingline.Entry) bool { return e.Rider == "rider-1-3" }},
		{"a device", store.Query{Rider: "rider-1-3", Device: "phone:2", To: math.MaxInt64 / 1_000_000},
			func(e *pingline.Entry) bool { return e.Rider == "rider-1-3" && e.Device != "" }},
		{"from, not to", store.Query{From: storetest.Recently + 5, To: storetest.Recently + 9},
			func(e *pingline.Entry) bool { return e.At >= storetest.Recently+5 && e.At < storetest.Recently+9 }},
		{"a rider who tries to break out", store.Query{Rider: `x' OR rider =~ /.*/ OR 'a'='a`, To: math.MaxInt64 / 1_000_000},
			func(*pingline.Entry) bool { return false }},
		{"a rider with a backslash", store.Query{Rider: `x\' OR 1=1`, To: math.MaxInt64 / 1_000_000}, func(*pingline.Entry) bool { return false }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got, want []pingline.Entry
			err := bucket.Points(t.Context(), tt.q, func(e *pingline.Entry, _ int64) error { got = append(got, *e); return nil })
			if err != nil {
				t.Fatal(err)
			}
			for i := range all {
				if tt.want(&all[i]) {
					want = append(want, all[i])
				}
			}
			influxtest.SameLines(t, influxtest.Lines(got...), influxtest.Lines(want...))
		})
	}
	t.Run("the caller stops it", func(t *testing.T) {
		stop, calls := errors.New("enough"), 0
		err := bucket.Points(t.Context(), store.Query{To: math.MaxInt64 / 1_000_000}, func(*pingline.Entry, int64) error { calls++; return stop })
		if !errors.Is(err, stop) || calls != 1 {
			t.Errorf("Points = %v after %d calls", err, calls)
		}
	})
	t.Run("no bucket", func(t *testing.T) {
		err := influxtest.Open(t, influxtest.Access(server, "nothing")).Points(t.Context(), store.Query{To: 1}, nil)
		if err == nil || !strings.Contains(err.Error(), [...]string{1: "database not found", 2: `bucket "nothing" not found`}[server.Version()]) {
			t.Errorf("Points = %v", err)
		}
	})
}

// An answer that ends early must not pass for one that says all.
func TestPointsOfABrokenAnswer(t *testing.T) {
	const row = `[1000000000,1.5,2.5,null,null,null,null,null,null,null,null]`
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
			err := influxtest.Open(t, influx.Config{URL: server.URL}).Points(t.Context(), store.Query{}, func(*pingline.Entry, int64) error { return nil })
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
		bucket := influxtest.Open(t, influx.Config{URL: server.URL, Timeout: 100 * time.Millisecond})
		err := bucket.Points(t.Context(), store.Query{}, func(*pingline.Entry, int64) error { return nil })
		if err == nil || !strings.Contains(err.Error(), "no answer within 100ms") {
			t.Errorf("Points = %v", err)
		}
	})
}
