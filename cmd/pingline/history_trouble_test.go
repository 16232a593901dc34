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
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pingline/internal/influxd"
	"pingline/partition"
	"pingline/sink/moving"
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

// While history moves, the new shard refuses the credentials, and then is full, and the old one
// is slow: pings are taken as ever, the status has the reason, and the copy goes on by itself.
func TestReshardTroubles(t *testing.T) {
	servers := map[string]*influxd.Server{"a": startInflux(t), "b": startInflux(t)}
	source, target := newPatient(t, servers["a"]), newPatient(t, servers["b"])
	p := serve(t, t.TempDir(), "", append(slices.Clone(reshardFlags), "--shard=name=a,url="+source.url)...)
	c := &travellers{t: t, readersAndSenders: readersAndSenders{from: time.Now().Add(-25 * time.Minute)}, url: p.url, riders: 30}
	for batch := range slices.Chunk(c.history(120), 1000) {
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
	done := uint64(0)
	moves := func(what string) {
		t.Helper()
		eventually(t, what, func() bool {
			h := historyOf(t, p)
			return h != nil && h.Stands == "" && (h.RowsDone > done || h.Stage != moving.Copying)
		})
		done = historyOf(t, p).RowsDone
	}
	moves("a part is copied")
	for _, trouble := range []struct {
		status     int
		text, what string
	}{
		{http.StatusUnauthorized, "authorization failed", "b refuses the credentials"},
		{http.StatusInternalServerError, "engine: write /data/wal: no space left on device", "b is full"},
	} {
		target.refuses(trouble.status, trouble.text)
		eventually(t, "the copy stands, since "+trouble.what, func() bool { return historyOf(t, p).Stands != "" })
		t.Log(mustReshard(t, p, "status"))
		takesPings(trouble.what)
		target.heals()
		moves("the copy goes on after " + trouble.what)
	}
	source.slows(200 * time.Millisecond)
	takesPings("a is slow")
	moves("the copy goes on while a is slow")
	source.heals()

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
