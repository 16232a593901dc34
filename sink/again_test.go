package sink

import (
	"context"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"pingline/queue"
	"pingline/sink/influx"
	"pingline/sink/limit"
	"pingline/sink/route"
)

// answers is a store that reads a write and has answer answer it.
func answers(t *testing.T, answer http.HandlerFunc) *influx.Bucket {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil || r.Method != http.MethodPost {
			http.Error(w, "only writes are answered", http.StatusInternalServerError)
			return
		}
		answer(w, r)
	}))
	t.Cleanup(srv.Close)
	return testInflux(t, influx.Config{URL: srv.URL})
}

// No two writes of points of our own are under way at once.
func TestOwnPointsAreWrittenInOrder(t *testing.T) {
	var now, most, all atomic.Int64
	w := testLog(t)
	s := testSink(t, w, answers(t, func(w http.ResponseWriter, _ *http.Request) {
		if n := now.Add(1); n > most.Load() {
			most.Store(n)
		}
		time.Sleep(5 * time.Millisecond)
		all.Add(1)
		now.Add(-1)
		w.WriteHeader(http.StatusNoContent)
	}), func(c *Config) { c.BatchLines = 5 })
	for range 30 {
		w.commit(activity(5)...)
	}
	start(t, s)
	drained(t, s)
	if most.Load() != 1 || all.Load() < 30 {
		t.Errorf("%d of %d writes at once, want 1 of 30", most.Load(), all.Load())
	}
}

// natsd runs a server on a port, or, if that is server.RANDOM_PORT, on any.
func natsd(t *testing.T, dir string, port int) (url string, at int, stop func()) {
	t.Helper()
	srv, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: port, NoLog: true, NoSigs: true, JetStream: true, StoreDir: dir, SyncAlways: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	if !srv.ReadyForConnections(10 * time.Minute) {
		t.Fatal("nats-server did not start")
	}
	stop = func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	}
	t.Cleanup(stop)
	return srv.ClientURL(), srv.Addr().(*net.TCPAddr).Port, stop
}

// A write of points of our own ends when the hold on the log runs out, none begins without it, the store
// is not to blame, and they are written once the log is held again.
func TestOwnPointsWaitForTheHold(t *testing.T) {
	dir := t.TempDir()
	url, port, stop := natsd(t, dir, server.RANDOM_PORT)
	log, err := queue.Open(t.Context(), queue.Config{URL: url, Dir: t.TempDir(), Lease: 2 * time.Second, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	w := &writer{t: t, log: log}
	var begun, ended atomic.Int64
	var takes, unheld atomic.Bool
	s := testSink(t, w, answers(t, func(w http.ResponseWriter, r *http.Request) {
		begun.Add(1)
		if log.HeldFor() < -time.Second { // it may have begun a moment before
			unheld.Store(true)
		}
		if !takes.Load() {
			<-r.Context().Done()
			ended.Add(1)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}), func(c *Config) { c.Timeout = time.Hour })
	w.commit(activity(3)...)
	start(t, s)
	eventually(t, "a write begins", func() bool { return begun.Load() > 0 })
	stop()
	eventually(t, "the write ends", func() bool { return ended.Load() > 0 })
	if left := log.HeldFor(); left > 0 {
		t.Errorf("the write ends %v before another process can have the log", left)
	}
	eventually(t, "the hold is out for long", func() bool { return log.HeldFor() < -4*time.Second })
	if unheld.Load() {
		t.Error("a write begins though another process may have the log")
	}
	if home := s.shards[0]; home.breaker.State() != limit.Closed || home.health.Down() > 0 {
		t.Errorf("the store is said to be down: %v", s.Notes())
	}
	takes.Store(true)
	natsd(t, dir, port)
	drained(t, s)
	if st := s.Stats()[0]; s.Account().Lines.Written != 3 {
		t.Errorf("lines %+v, want 3 written; %+v", s.Account().Lines, st)
	}
}

// Pings, and an embedded log, have nothing to do with a hold.
func TestWritesWithoutAHold(t *testing.T) {
	log := testLog(t).log
	if left := log.HeldFor(); left != math.MaxInt64 {
		t.Errorf("an embedded log is held for %v", left)
	}
	for kind := range route.LaneKinds {
		ctx, end := whileFirst(t.Context(), log, kind)
		end()
		if ctx.Err() != nil {
			t.Errorf("lane %v: %v", kind, context.Cause(ctx))
		}
	}
	url, _, _ := natsd(t, t.TempDir(), server.RANDOM_PORT)
	held, err := queue.Open(t.Context(), queue.Config{URL: url, Dir: t.TempDir(), Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	for kind := range route.LaneKinds {
		ctx, end := whileFirst(t.Context(), held, kind)
		end()
		if own := kind == route.Own; (ctx.Err() != nil) != own {
			t.Errorf("lane %v: %v", kind, context.Cause(ctx))
		}
	}
}

// A write of points of our own ends before the log is handed over: the next node may write newer ones at once.
func TestOwnPointsEndBeforeTheHandover(t *testing.T) {
	url, _, _ := natsd(t, t.TempDir(), server.RANDOM_PORT)
	log, err := queue.Open(t.Context(), queue.Config{URL: url, Dir: t.TempDir(), Lease: time.Hour, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	w := &writer{t: t, log: log}
	var begun, ended atomic.Int64
	s := testSink(t, w, answers(t, func(_ http.ResponseWriter, r *http.Request) {
		begun.Add(1)
		<-r.Context().Done()
		ended.Add(1)
	}), func(c *Config) { c.Timeout = time.Hour })
	w.commit(activity(3)...)
	start(t, s)
	eventually(t, "a write begins", func() bool { return begun.Load() > 0 })
	if err := log.HandOver(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the write ends", func() bool { return ended.Load() > 0 })
	if log.HeldFor() > 0 || begun.Load() > 1 {
		t.Errorf("held for %v, %d writes", log.HeldFor(), begun.Load())
	}
}
