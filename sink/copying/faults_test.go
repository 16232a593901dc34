package copying_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pingline/internal/influxd"
	"pingline/sink/copying"
	"pingline/sink/influx"
	"pingline/sink/influx/influxtest"
	"pingline/sink/store/storetest"
)

const secret = "the-secret-of-the-test"

// troubled is a copy between two real servers, through a proxy to each, and its faults.
type troubled struct {
	servers [2]*influxd.Server
	tokens  [2]string // files
	sick    [2]atomic.Pointer[func(w http.ResponseWriter, r *http.Request) bool]
	stores  [2]*influx.Bucket
	said    lockedBuffer
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func newTroubled(t *testing.T) *troubled {
	x := new(troubled)
	for i := range x.servers {
		x.servers[i] = influxd.Run(t, influxd.Config{Version: 1, Token: "admin:" + secret})
		at, err := url.Parse(x.servers[i].URL())
		if err != nil {
			t.Fatal(err)
		}
		proxy := httputil.NewSingleHostReverseProxy(at)
		proxy.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
		between := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if sick := x.sick[i].Load(); sick == nil || !(*sick)(w, r) {
				proxy.ServeHTTP(w, r)
			}
		}))
		t.Cleanup(between.Close)
		x.tokens[i] = filepath.Join(t.TempDir(), "token")
		x.token(t, i, secret)
		x.stores[i] = influxtest.Open(t, influx.Config{URL: between.URL, Bucket: "pingline", TokenFile: x.tokens[i], Timeout: patience})
	}
	return x
}

func (x *troubled) token(t *testing.T, i int, password string) {
	t.Helper()
	if err := os.WriteFile(x.tokens[i], []byte("admin:"+password), 0o600); err != nil {
		t.Fatal(err)
	}
}

// is makes a server sick, nil heals it.
func (x *troubled) is(i int, sick func(w http.ResponseWriter, r *http.Request) bool) {
	if sick == nil {
		x.sick[i].Store(nil)
		return
	}
	x.sick[i].Store(&sick)
}

// With each trouble of source or target the copy stands and says why, without a secret; once the
// trouble has ended the copy goes on by itself, and afterwards both are the same.
func TestTroubles(t *testing.T) {
	x := newTroubled(t)
	list := history(1200)
	write(t, x.stores[0], list...)
	restart := func(i int) func() error { return func() error { return x.servers[i].Restart(context.Background()) } }
	withdraw := func(i int) func() error { return func() error { x.token(t, i, secret+"-no-more"); return nil } }
	giveBack := func(i int) func() error { return func() error { x.token(t, i, secret); return nil } }
	heal := func() error { x.is(1, nil); return nil }
	for _, tt := range []struct {
		name        string
		begin, end  func() error
		want        string
		moreToWrite bool
	}{
		{name: "the target is killed", begin: func() error { x.servers[1].Kill(); return nil }, end: restart(1), want: "shard b: write to bucket"},
		{name: "the source is killed", begin: func() error { x.servers[0].Kill(); return nil }, end: restart(0), want: "read pings"},
		{name: "the target's credentials are withdrawn", begin: withdraw(1), end: giveBack(1), want: "status 401"},
		{name: "the source's credentials are withdrawn", begin: withdraw(0), end: giveBack(0), want: "read pings"},
		{name: "the target is full", begin: func() error {
			x.is(1, func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodPost {
					return false
				}
				w.WriteHeader(http.StatusInternalServerError)
				_, _ = io.WriteString(w, `{"error":"engine: write /data/wal: no space left on device"}`)
				return true
			})
			return nil
		}, end: heal, want: "no space left on device"},
		{name: "the target has fields of another type", begin: func() error {
			rows := influxtest.Rows(fmt.Sprintf("location,rider=stranger event=1.5 %d000000\n", storetest.Recently))
			return errors.Join(x.servers[1].DeleteBefore(t.Context(), "pingline", time.Now().Add(time.Hour)), x.stores[1].Write(t.Context(), rows))
		}, end: func() error {
			return x.servers[1].DeleteBefore(t.Context(), "pingline", time.Now().Add(time.Hour))
		}, want: "field type conflict", moreToWrite: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var hold atomic.Bool
			hold.Store(true)
			c, plan := newCopier(t, copying.Config{
				From: x.stores[0], To: []copying.Target{{Name: "shard b", Store: x.stores[1]}}, Whole: true, Wait: true, BatchRows: 100,
				Logger: slog.New(slog.NewTextHandler(&x.said, nil)),
				Gauges: copying.Gauges{Breaker: func() string {
					if hold.Load() {
						return "b"
					}
					return ""
				}},
			})
			done := make(chan error, 1)
			go func() { done <- c.Copy(t.Context(), plan) }()
			until(t, "held", func() bool { return c.Status().Stands == "the circuit breaker of b is open" })
			if err := tt.begin(); err != nil {
				t.Fatal(err)
			}
			hold.Store(false)
			until(t, tt.want, func() bool { return strings.Contains(c.Status().Stands, tt.want) })
			if s := c.Status().Briefly; s != map[bool]string{true: "rows cannot be read", false: "shard b takes no rows"}[strings.HasPrefix(tt.name, "the source")] {
				t.Errorf("it stands, since %q", s)
			}
			if err := tt.end(); err != nil {
				t.Fatal(err)
			}
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if s := c.Status(); s.Stands != "" || s.Done != s.Units {
				t.Errorf("at the end: %+v", s)
			}
			if d := differences(t, c, plan, tt.moreToWrite); len(d) > 0 {
				t.Errorf("%d differences: %v", len(d), &d[0])
			}
		})
	}
	if said := x.said.String(); strings.Contains(said, secret) || !strings.Contains(said, "the copy stands") || !strings.Contains(said, "the copy goes on") {
		t.Errorf("said: %s", said)
	}
}

// Where nobody wants it to wait, a copy without credentials ends and says why.
func TestWithoutWaiting(t *testing.T) {
	x := newTroubled(t)
	write(t, x.stores[0], storetest.Days(50)...)
	for i := range 2 {
		c, plan := newCopier(t, copying.Config{From: x.stores[0], To: []copying.Target{{Store: x.stores[1]}}, Refused: none(t)})
		x.token(t, i, "wrong")
		err := c.Copy(t.Context(), plan)
		if err == nil || !strings.Contains(err.Error(), "401") || strings.Contains(err.Error(), secret) {
			t.Errorf("%d: %v", i, err)
		}
		x.token(t, i, secret)
	}
}

// A source that is slow, and breaks off now and then, is copied as a whole; a target that becomes
// slow halves the rate.
func TestSlowStores(t *testing.T) {
	x := newTroubled(t)
	write(t, x.stores[0], history(1500)...)
	asked, slow := 0, make(chan struct{})
	var mu sync.Mutex
	x.is(0, func(w http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		asked++
		time.Sleep(20 * time.Millisecond) // some times what such an answer takes
		if asked%5 == 4 {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"results":[{"statement_id":0,"series":[{"name":"location","columns":["time"`)
			return true
		}
		return false
	})
	writes := 0
	x.is(1, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost {
			mu.Lock()
			writes++
			late := writes > 10
			mu.Unlock()
			if late {
				select {
				case <-slow:
				case <-time.After(300 * time.Millisecond):
				}
			}
		}
		return false
	})
	c, plan := newCopier(t, copying.Config{
		From: x.stores[0], To: []copying.Target{{Store: x.stores[1]}}, Whole: true, Wait: true, Rate: 1e6, BatchRows: 20, Writers: 1, Readers: 1,
		Logger: slog.New(slog.NewTextHandler(&x.said, nil)),
	})
	done := make(chan error, 1)
	go func() { done <- c.Copy(t.Context(), plan) }()
	until(t, "slowed", func() bool { return strings.Contains(c.Status().Slowed, "the target answers more slowly") })
	close(slow)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if d := differences(t, c, plan, false); len(d) > 0 {
		t.Errorf("%d differences: %v", len(d), &d[0])
	}
}

// While a gauge says so, nothing is written, and the reason is told.
func TestGauges(t *testing.T) {
	from, to := twoBuckets(t, 1)
	write(t, from, storetest.Days(300)...)
	var breaker atomic.Value
	var level atomic.Int64
	var log atomic.Int64 // %
	breaker.Store("b")
	level.Store(1)
	log.Store(41)
	c, plan := newCopier(t, copying.Config{From: from, To: []copying.Target{{Store: to}}, Whole: true, Refused: none(t), Gauges: copying.Gauges{
		Breaker: func() string { return breaker.Load().(string) },
		Level:   func() int { return int(level.Load()) },
		Log:     func() float64 { return float64(log.Load()) / 100 },
	}})
	done := make(chan error, 1)
	go func() { done <- c.Copy(t.Context(), plan) }()
	for _, step := range []struct {
		want string
		next func()
	}{
		{"the circuit breaker of b is open", func() { breaker.Store("") }},
		{"the node sheds, level 1", func() { level.Store(0) }},
		{"the log is 41 % full, more than 40 %", func() { log.Store(40) }},
	} {
		until(t, step.want, func() bool { s := c.Status(); return s.Stands == step.want && s.Briefly == step.want })
		step.next()
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got, want := len(stored(t, to)), len(stored(t, from)); got != want || want == 0 {
		t.Errorf("%d rows of %d", got, want)
	}
	level.Store(2)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { done <- c.Copy(ctx, plan) }()
	until(t, "level 2", func() bool { return strings.Contains(c.Status().Stands, "level 2") })
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("called off: %v", err)
	}
}
