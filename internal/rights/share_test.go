package rights

import (
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"pingline/queue"
)

// A removal that a node has begun is gone on with by the next that has the log, from the same
// step; when the first has the log again, it does not begin a removal that is done.
func TestRemovalsGoWithTheLog(t *testing.T) {
	srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true, JetStream: true, StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	if !srv.ReadyForConnections(time.Minute) {
		t.Fatal("nats-server did not start")
	}
	log, err := queue.Open(t.Context(), queue.Config{Dir: t.TempDir(), URL: srv.ClientURL(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	dirs := map[string]string{"a": t.TempDir(), "b": t.TempDir()}
	node := func(name string, before ...string) *Removals {
		t.Helper()
		for _, rider := range before {
			if _, err := Leave(dirs[name], rider); err != nil {
				t.Fatal(err)
			}
		}
		r, err := OpenRemovals(dirs[name])
		if err == nil {
			err = r.Share(log)
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(r.news) != len(r.pending) {
			t.Errorf("%d removals are new to %s, which has %d", len(r.news), name, len(r.pending))
		}
		return r
	}
	of := func(r *Removals, rider string) *Removal {
		for _, m := range r.pending {
			if m.Rider == rider {
				return m
			}
		}
		return nil
	}
	a := node("a", "early")
	for _, rider := range []string{"ann", "bob"} {
		if _, err := a.Ask(rider, ""); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.change(of(a, "ann"), func(m *Removal) { m.Step, m.Upto = Cleared, 7 }); err != nil {
		t.Fatal(err)
	}
	ann, bob := of(a, "ann").ID, of(a, "bob").ID

	b := node("b")
	if m := of(b, "ann"); len(b.pending) != 3 || m == nil || m.Step != Cleared || m.Upto != 7 || of(b, "early") == nil {
		t.Fatalf("b has %+v", b.pending)
	}
	if list := b.Erasures(); len(list) != 1 || list[0].Rider != "ann" {
		t.Errorf("b erases %+v", list)
	}
	if err := b.change(of(b, "bob"), func(m *Removal) { m.Step = Forgotten }); err != nil {
		t.Fatal(err)
	}
	if err := b.finish(of(b, "ann"), func(*Removal) {}); err != nil {
		t.Fatal(err)
	}

	a = node("a", "late")
	if m := of(a, "bob"); len(a.pending) != 3 || m == nil || m.Step != Forgotten || m.ID != bob || of(a, "late") == nil {
		t.Errorf("a has %+v", a.pending)
	}
	if m, err := a.Get(ann); err != nil || m.Step != Finished || m.Rider != "" {
		t.Errorf("of ann a says %+v, %v", m, err)
	}
	for _, rider := range []string{"bob", "early", "late"} {
		if err := a.finish(of(a, rider), func(*Removal) {}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.Ask("zoe", ""); err != nil {
		t.Fatal(err)
	}
	log.Change(queue.Change{Notes: map[string]string{sharedNote: ""}}) // the servers have lost it
	if a = node("a"); of(a, "zoe") == nil {
		t.Errorf("a has %+v: it has lost a removal that nobody has done", a.pending)
	}
	if err := a.finish(of(a, "zoe"), func(*Removal) {}); err != nil {
		t.Fatal(err)
	}
	if b = node("b"); len(b.pending) != 0 || b.busy.Load() {
		t.Errorf("b has %+v, though all is done", b.pending)
	}
}
