package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pingline"
	"pingline/internal/influxd"
	"pingline/partition"
	"pingline/sink/moving"
	"pingline/sink/store"
)

// patient is an InfluxDB behind a proxy that can fail requests, or delay them.
type patient struct {
	url  string
	sick atomic.Pointer[func(w http.ResponseWriter, r *http.Request) (answered bool)]
}

func newPatient(t *testing.T, server *influxd.Server) *patient {
	t.Helper()
	to, err := url.Parse(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	p, proxy := new(patient), httputil.NewSingleHostReverseProxy(to)
	proxy.ErrorLog = log.New(io.Discard, "", 0)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if sick := p.sick.Load(); sick == nil || !(*sick)(w, r) {
			proxy.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(front.Close)
	p.url = front.URL
	return p
}

// refuses has writes answered with a status.
func (p *patient) refuses(status int, text string) {
	sick := func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/write") {
			return false
		}
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, `{"error":%q}`, text)
		return true
	}
	p.sick.Store(&sick)
}

// slows has each request take so much longer.
func (p *patient) slows(by time.Duration) {
	sick := func(_ http.ResponseWriter, r *http.Request) bool {
		select {
		case <-time.After(by):
		case <-r.Context().Done():
		}
		return false
	}
	p.sick.Store(&sick)
}

func (p *patient) heals() { p.sick.Store(nil) }

// strange is an hour of an InfluxDB 1.8 in which latitudes are words.
type strange struct {
	*influxd.Server
	at time.Time
}

// ask sends a request, and returns its answer.
func (s *strange) ask(t *testing.T, path, query, body string) string {
	t.Helper()
	form := url.Values{"db": {"pingline"}}
	if query != "" {
		form.Set("q", query)
	}
	resp, err := http.Post(s.URL()+path+"?"+form.Encode(), "text/plain", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	said, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode/100 != 2 || strings.Contains(string(said), `"error"`) {
		t.Fatalf("%s %s%s: %d, %s, %v", path, query, body, resp.StatusCode, said, err)
	}
	return string(said)
}

func (s *strange) begin(t *testing.T) {
	t.Helper()
	s.ask(t, "/write", "", fmt.Sprintf("location,rider=stranger lat=\"north\" %d", s.at.UnixNano()))
}

// end drops the shard of InfluxDB's: without it the type outlasts the row.
func (s *strange) end(t *testing.T) {
	t.Helper()
	at := s.at.UTC().Truncate(time.Hour).Format(time.RFC3339)
	id := regexp.MustCompile(`\[(\d+),"pingline","autogen",\d+,"` + at).FindStringSubmatch(s.ask(t, "/query", "SHOW SHARDS", ""))
	if id == nil {
		t.Fatalf("InfluxDB has no shard that begins at %s", at)
	}
	s.ask(t, "/query", "DROP SHARD "+id[1], "")
}

// While history moves, the old shard is slow, the new one refuses the credentials, then is full, and
// has a field of another type in an hour of history: pings are taken as ever, the status has the
// reason, and the copy goes on by itself.
func TestReshardTroubles(t *testing.T) {
	long(t)
	beside(t)
	servers := map[string]*influxd.Server{"a": startInflux(t), "b": startInflux(t)}
	source, target := newPatient(t, servers["a"]), newPatient(t, servers["b"])
	p := serve(t, t.TempDir(), "", append(slices.Clone(reshardFlags), "--shard=name=a,url="+source.url)...)
	c := &travellers{t: t, readersAndSenders: readersAndSenders{from: time.Now().Add(-25 * time.Minute)}, url: p.url, riders: 30, pace: 100 * time.Millisecond}
	// A type is that of an hour, so a conflict is with rows of that hour alone.
	if err := servers["b"].SetRetention(t.Context(), "pingline", 0); err != nil {
		t.Fatal(err)
	}
	for batch := range slices.Chunk(c.history(50), 1000) {
		c.post(t.Context(), batch)
	}
	p.settled()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var busy sync.WaitGroup
	busy.Go(func() { c.drive(ctx) })
	sent := func() int {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.sent)
	}
	takesPings := func(what string) {
		t.Helper()
		goal := sent() + 10*31 // ten requests
		eventually(t, "pings are taken while "+what, func() bool { return sent() >= goal })
	}

	mustReshard(t, p, "start", "--replace=a=name=b,url="+target.url, "--history=move", "--rate=400")
	copied := func() (n int) { // rows of the days before
		t.Helper()
		err := reader(t, servers["b"], "pingline").Points(t.Context(), store.Query{From: c.from.Add(-50 * time.Hour).UnixMilli(), To: c.from.Add(-23 * time.Hour).UnixMilli()}, func(*pingline.Entry, int64) error {
			n++
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	eventually(t, "a part is copied", func() bool { return copied() > 0 })
	other := &strange{servers["b"], c.from.Add(-48 * time.Hour)} // of the day that is copied last
	other.begin(t)
	source.slows(200 * time.Millisecond)
	takesPings("a is slow")
	before := copied()
	eventually(t, "the copy goes on while a is slow", func() bool { return copied() > before || historyOf(t, p).Stands != "" })
	source.heals()
	for _, trouble := range []struct {
		status     int
		text, what string
	}{
		{http.StatusUnauthorized, "authorization failed", "b refuses the credentials"},
		{http.StatusInternalServerError, "engine: write /data/wal: no space left on device", "b is full"},
	} {
		target.refuses(trouble.status, trouble.text)
		stands := func() bool {
			why := historyOf(t, p).Stands
			return strings.Contains(why, trouble.text) || strings.Contains(why, "the circuit breaker of b is open") // of the mirror
		}
		eventually(t, "the copy stands, since "+trouble.what, stands)
		t.Log(mustReshard(t, p, "status"))
		takesPings(trouble.what)
		target.heals()
		eventually(t, "the copy goes on after "+trouble.what, func() bool { return !stands() })
	}

	var h *moving.MoveStatus // between two attempts it does not stand
	eventually(t, "the copy stands, since b has another type", func() bool {
		h = historyOf(t, p)
		return strings.Contains(h.Stands, "field type conflict")
	})
	if h.Stage != moving.Copying || h.RowsDone == 0 || !strings.HasPrefix(h.Stands, "b: ") ||
		!strings.Contains(h.Stands, `input field "lat" on measurement "location" is type float, already exists as type string`) {
		t.Errorf("the copy stands in %s, since %s", h.Stage, h.Stands)
	}
	t.Log(mustReshard(t, p, "status"))
	takesPings("b has another type")
	if st := standing(t, p); st.MirrorLetters > 0 {
		t.Errorf("the mirror has %d dead letters", st.MirrorLetters)
	}
	other.end(t)

	mustReshard(t, p, "cut")
	mustReshard(t, p, "finish")
	mustReshard(t, p, "delete")
	eventually(t, "a has let go", func() bool { return historyOf(t, p).Stage == moving.Deleted })
	if h := historyOf(t, p); h.Kept > 0 || h.Differ > 0 || h.Refused > 0 {
		t.Errorf("in the end: %+v", h)
	}
	stop()
	busy.Wait()
	p.settled()
	in := laidOut(t, servers, partition.Shard{Name: "b", Weight: 1})
	for i := range c.sent {
		if ping := fmt.Sprint(c.sent[i].Rider, " ", c.sent[i].At); in[ping] != 1 {
			t.Fatalf("%s is lost", ping)
		}
	}
	if len(in) != len(c.sent) {
		t.Errorf("%d pings are stored, and %d were sent", len(in), len(c.sent))
	}
}
