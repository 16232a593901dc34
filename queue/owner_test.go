package queue

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"pingline/queue/record"
)

// shortLease is for owners that are gone: one that lives must not be measured
// by it, on a machine that is slow.
const shortLease = 300 * time.Millisecond

// stale checks that err says that the log is another's by now, of that name.
func stale(t *testing.T, what string, err error, name string) {
	t.Helper()
	if !errors.Is(err, ErrOwned) || !strings.Contains(err.Error(), ": "+name+", since ") {
		t.Errorf("%s: %v, want that the log belongs to %s", what, err, name)
	}
}

// While a node has the log of a cluster another one is refused, told whose it
// is, and has changed nothing.
func TestSecondNodeIsRefused(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	a := open(t, Config{URL: c.url(), Node: "a"})
	fill(t, a, 5, 100)
	before, err := rawStream(t, a, a.cfg.Stream).Info(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	for name, note := range map[string]string{"b": "a, since ", "a": "a, which has our name and another directory, since "} {
		l, err := Open(testContext(t), Config{Dir: t.TempDir(), URL: c.url(), Node: name, MaxBytes: 1 << 20})
		if !errors.Is(err, ErrOwned) || !strings.Contains(err.Error(), note) {
			t.Errorf("Open as %s = %v, %v, want that it belongs to %s", name, l, err, note)
		}
	}
	after, err := rawStream(t, a, a.cfg.Stream).Info(testContext(t))
	if err != nil || after.Config.MaxBytes != before.Config.MaxBytes || after.State.LastSeq != before.State.LastSeq {
		t.Errorf("the one that was refused has changed the stream: %+v, %+v, %v", before, after, err)
	}
	fill(t, a, 5, 100)
	shut(t, a)
	// A released log need not be waited for.
	b := open(t, Config{URL: c.url(), Node: "b", Lease: patience})
	readTo(t, b, 1, 10)
	fill(t, b, 5, 100)
	checkTold(t, "Damage", b.Damage(), nil)
}

// A process that was killed leaves the log to the next one in its directory at
// once, to one in another when its lease is over.
func TestOwnerKilled(t *testing.T) {
	t.Parallel()
	url := startNATS(t, t.TempDir()).ClientURL()
	dir := t.TempDir()
	cmd := child(t, "own", dir, url, "100")
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for range 20 {
		lines.Scan()
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, out)
	_ = cmd.Wait()

	b := open(t, Config{URL: url, Node: "b", Lease: patience})
	if b.Last() < 20 {
		t.Errorf("Last = %d, %q was acknowledged", b.Last(), lines.Text())
	}
	readTo(t, b, 1, b.Last())
	// The process of b is gone, too, as far as others can tell.
	abandon(b)
	l := open(t, Config{Dir: b.cfg.Dir, URL: url, Node: "b", Lease: patience})
	fill(t, l, 5, 100)
}

// abandon ends l as kill -9 would.
func abandon(l *Log) {
	l.end(ErrClosed)
	l.work.Wait()
	l.session().Close()
	_ = l.lock.Close()
	l.closed = true
}

// cutOff opens a log that is cut off from its server until the returned proxy
// is released, with 30 records, of which the first 20 are passed, and another log,
// of b, that has taken it over since.
func cutOff(t *testing.T) (a, b *Log, p *proxy) {
	t.Helper()
	srv := startNATS(t, t.TempDir())
	p = startProxy(t, srv)
	a = open(t, Config{URL: p.url(), Node: "a", Lease: shortLease, CacheBytes: 1})
	fill(t, a, 30, 100)
	a.SetCursor("sink", Cursor{Next: 21, Totals: totals(20)})
	if err := a.KeepCursors(); err != nil {
		t.Fatal(err)
	}
	p.hold(true, true)
	return a, open(t, Config{URL: srv.ClientURL(), Node: "b", CacheBytes: 1}), p
}

// A node that was cut off for longer than its lease, and comes back, learns whose
// the log is, stores nothing, deletes nothing, and takes nothing from the other.
func TestOwnerReturns(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]func(t *testing.T, a *Log){
		"to wait": func(t *testing.T, a *Log) {},
		"to append": func(t *testing.T, a *Log) {
			if n, err := a.Append(testContext(t), []byte("late"), totals(31), false); !errors.Is(err, ErrUnclear) {
				t.Errorf("Append = %d, %v", n, err)
			}
			_, _, err := a.Settle(testContext(t), []byte("late"))
			stale(t, "Settle", err, "b")
		},
		"to settle": func(t *testing.T, a *Log) {
			_, _, err := a.Settle(testContext(t), []byte("late"))
			stale(t, "Settle", err, "b")
		},
		"to trim": func(t *testing.T, a *Log) {
			stale(t, "Trim", a.trimTo(testContext(t), 21), "b")
		},
		// It was stopped just before it would have looked.
		"to send an append": func(t *testing.T, a *Log) {
			b := record.Encode(&Record{Number: 31, Before: totals(30), Totals: totals(31), Payload: []byte("late")})
			if err := a.session().Put(testContext(t), patience, b, 0, 30); err == nil {
				t.Error("an append was stored")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b, p := cutOff(t)
			fill(t, b, 10, 100)
			p.hold(false, false)
			do(t, a)
			stale(t, "WaitLost", a.WaitLost(testContext(t)), "b")
			<-a.Troubled()
			stale(t, "Trouble", a.Trouble(), "b")
			fill(t, b, 10, 100)
			readTo(t, b, 1, 50)
			if len(history(t, b)) != 50 {
				t.Errorf("%d records, want 50", len(history(t, b)))
			}
			checkTold(t, "Damage", b.Damage(), nil)
			shut(t, a)
			if b.owner.expired() {
				t.Error("b has lost its hold")
			}
		})
	}
}

// The next owner never reads records that an owner was about to delete when it
// was stopped: the request may arrive at any time.
func TestLateTrim(t *testing.T) {
	t.Parallel()
	srv := startNATS(t, t.TempDir())
	a := open(t, Config{URL: srv.ClientURL(), Node: "a", Lease: shortLease, CacheBytes: 1})
	fill(t, a, 30, 100)
	if err := a.mayTrim(testContext(t), Cursor{Next: 21, Totals: totals(20)}); err != nil {
		t.Fatal(err)
	}
	st := a.session()
	a.end(ErrClosed) // it renews its hold no more
	a.work.Wait()

	b := open(t, Config{URL: srv.ClientURL(), Node: "b", CacheBytes: 1})
	if b.First() != 21 {
		t.Errorf("First = %d, want 21", b.First())
	}
	if err := st.Purge(testContext(t), 21); err != nil {
		t.Fatal(err)
	}
	readTo(t, b, b.First(), 30)
	fill(t, b, 10, 100)
	if _, _, err := b.Settle(testContext(t), nil); err != nil {
		t.Fatal(err)
	}
	readTo(t, b, b.First(), 40)
	checkTold(t, "Damage", b.Damage(), nil)
	shut(t, b)
	b = open(t, Config{Dir: b.cfg.Dir, URL: srv.ClientURL(), Node: "b"})
	checkTold(t, "Damage after a restart", b.Damage(), nil)
}

// A node that gets the log back reads from what the other one left, not from
// where it had been itself; notes stay.
func TestLogComesBack(t *testing.T) {
	t.Parallel()
	srv := startNATS(t, t.TempDir())
	dirs := map[string]string{"a": t.TempDir(), "b": t.TempDir()}
	for i, name := range []string{"a", "b", "a", "b"} {
		l := open(t, Config{Dir: dirs[name], URL: srv.ClientURL(), Node: name, CacheBytes: 1})
		if at, ok := l.Cursor("sink"); ok {
			t.Errorf("%s goes on at %d, though another had the log", name, at.Next)
		}
		if i >= 2 && l.Note("kept") != name {
			t.Errorf("the note of %s is %q", name, l.Note("kept"))
		}
		fill(t, l, 20, 100)
		readTo(t, l, l.First(), l.Last())
		checkTold(t, "Damage", l.Damage(), nil)
		l.Change(Change{Set: map[string]Cursor{"sink": {Next: l.Last() - 5, Totals: totals(l.Last() - 6)}}, Notes: map[string]string{"kept": name}})
		if err := l.KeepCursors(); err != nil {
			t.Fatal(err)
		}
		if err := l.trimTo(testContext(t), l.Last()-5); err != nil {
			t.Fatal(err)
		}
		shut(t, l)
		// The same directory again: it goes on where it was.
		l = open(t, Config{Dir: dirs[name], URL: srv.ClientURL(), Node: name})
		if at, ok := l.Cursor("sink"); !ok || at.Next != l.Last()-5 {
			t.Errorf("%s goes on at %d, %v, want %d", name, at.Next, ok, l.Last()-5)
		}
		shut(t, l)
	}
}

// A node whose lease may have run out appends nothing before it has renewed it.
func TestLeaseRunsOut(t *testing.T) {
	t.Parallel()
	p := startProxy(t, startNATS(t, t.TempDir()))
	l := open(t, Config{URL: p.url(), Node: "a", Lease: patience})
	fill(t, l, 3, 100)
	l.owner.until.Store(0)
	fill(t, l, 1, 100) // nobody has taken it
	if l.owner.expired() {
		t.Fatal("an append did not renew the lease")
	}
	limit := l.cfg.AppendTimeout
	l.cfg.AppendTimeout = 50 * time.Millisecond
	l.owner.until.Store(0)
	p.hold(false, true) // what it asks for is done, but it does not hear of it
	if n, err := l.Append(testContext(t), payload(5, 100), totals(5), false); !errors.Is(err, ErrUnclear) {
		t.Fatalf("Append = %d, %v", n, err)
	}
	if cause := l.Trouble(); cause == nil || !strings.Contains(cause.Error(), "hold on the log") {
		t.Errorf("Trouble = %v", cause)
	}
	l.cfg.AppendTimeout = limit
	p.hold(false, false)
	if n, _, err := l.Settle(testContext(t), payload(5, 100)); err != nil || n != 5 {
		t.Fatalf("Settle = %d, %v, want 5: the append was sent", n, err)
	}
	if err := l.Trouble(); err != nil {
		t.Error(err)
	}
}

// The record changes under its owner, in ways that do not make it another's.
func TestOwnerGoesOn(t *testing.T) {
	t.Parallel()
	for name, harm := range map[string]func(t *testing.T, l *Log) error{
		"a renewal landed without an answer": func(t *testing.T, l *Log) error {
			_, err := writeOwnership(testContext(t), l.owner.shelf, &l.owner.rec, l.owner.rev)
			return err
		},
		"it was deleted":               func(t *testing.T, l *Log) error { return rawStream(t, l, ownerStream).Purge(testContext(t)) },
		"it lost its newest revisions": func(_ *testing.T, l *Log) error { l.owner.rev += 5; return nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := open(t, Config{URL: startNATS(t, t.TempDir()).ClientURL(), Node: "a"})
			l.owner.mu.Lock()
			err := harm(t, l)
			l.owner.mu.Unlock()
			if err != nil {
				t.Fatal(err)
			}
			if err := l.owner.renew(testContext(t), nil); err != nil {
				t.Fatal(err)
			}
			fill(t, l, 3, 100)
		})
	}
}

// A server that lags behind is not believed when it names an owner of before.
func TestOwnerIsToldOldNews(t *testing.T) {
	l := open(t, Config{URL: startNATS(t, t.TempDir()).ClientURL(), Node: "b", Lease: patience})
	o := l.owner
	o.mu.Lock()
	old := o.rec
	old.Node, old.Incarnation = "a", "other"
	rev, err := writeOwnership(testContext(t), o.shelf, &old, o.rev)
	if err != nil {
		t.Fatal(err)
	}
	o.rev = rev + 1 // ours followed it
	if err := o.refused(testContext(t)); err != nil || o.lost != nil {
		t.Errorf("refused = %v, %v: that is news of before", err, o.lost)
	}
	o.until.Store(0) // nobody can say that it is not true by now
	stale(t, "refused", o.refused(testContext(t)), "a")
	o.mu.Unlock()
}

// A record of a later version is neither overwritten nor waited for.
func TestOwnerOfANewerVersion(t *testing.T) {
	srv := startNATS(t, t.TempDir())
	l := open(t, Config{URL: srv.ClientURL(), Node: "a"})
	if err := l.owner.renew(testContext(t), func(r *ownership) { r.Form++ }); err != nil {
		t.Fatal(err)
	}
	if l, err := Open(testContext(t), Config{Dir: t.TempDir(), URL: srv.ClientURL()}); !errors.Is(err, ErrNewer) {
		t.Errorf("Open = %v, %v, want ErrNewer", l, err)
	}
}

// The leader of the servers is stopped: its owner keeps the log, if it takes
// longer than the lease, too.
func TestOwnerOutlivesAnElection(t *testing.T) {
	if testing.Short() {
		t.Skip("elections take seconds")
	}
	t.Parallel()
	c := startCluster(t)
	a := open(t, Config{URL: c.url(), Node: "a", Lease: shortLease})
	fill(t, a, 5, 100)
	var leader *server.Server
	for i, srv := range c.servers {
		if srv.JetStreamIsStreamLeader("$G", ownerStream) {
			leader = srv
			c.stop(i)
			defer c.start(i)
			break
		}
	}
	if leader == nil {
		t.Fatal("nobody leads the stream of the owner")
	}
	for i := range 10 {
		next := a.Last() + 1
		_, err := a.Append(testContext(t), fmt.Append(nil, i), totals(next), false)
		if err != nil {
			if _, _, err = a.Settle(testContext(t), nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(history(t, a)) != int(a.Last()) {
		t.Error("not all is there")
	}
}

// Once a node has claimed the log, an append that its predecessor sends, or has sent, is
// refused, though nothing else was appended meanwhile.
func TestClaim(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]func(t *testing.T, a *Log){
		"an append": func(t *testing.T, a *Log) {
			if n, err := a.Append(testContext(t), []byte("late"), totals(31), false); !errors.Is(err, ErrUnclear) {
				t.Errorf("Append = %d, %v", n, err)
			}
		},
		// It was stopped just before it would have looked.
		"an append on its way": func(t *testing.T, a *Log) {
			b := record.Encode(&Record{Number: 31, Before: totals(30), Totals: totals(31), Payload: []byte("late")})
			if err := a.session().Put(testContext(t), patience, b, 0, 30); err == nil {
				t.Error("an append was stored")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b, p := cutOff(t)
			a.owner.until.Store(int64(patience)) // it believes
			if err := b.Claim(testContext(t), []byte("claim")); err != nil || b.Last() != 31 || b.LastTotals() != totals(30) {
				t.Fatalf("Claim = %v, at record %d", err, b.Last())
			}
			p.hold(false, false)
			do(t, a)
			_, _, err := a.Settle(testContext(t), []byte("late"))
			if !errors.Is(err, ErrOwned) {
				t.Errorf("Settle = %v", err)
			}
			if list := history(t, b); len(list) != 31 || list[29].Epoch != 1 || list[30].Epoch != 2 || string(list[30].Payload) != "claim" {
				t.Errorf("%d records, the last are %+v", len(list), list[29:])
			}
		})
	}
	l := open(t, Config{})
	if err := l.Claim(testContext(t), []byte("claim")); err != nil || l.Last() != 0 {
		t.Errorf("of an embedded log: Claim = %v, at record %d", err, l.Last())
	}
}

// A log on servers that an earlier version has left goes on, with records that say whose
// they are. Those of an embedded log do not, so that the earlier version can read it.
func TestRecordsWithoutEpoch(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, cfg Config) {
		cfg.Dir, cfg.CacheBytes = t.TempDir(), 1
		cfg.unowned = true
		l := open(t, cfg)
		fill(t, l, 5, 100)
		if !l.cfg.embedded() {
			shelf, err := l.session().OpenShelf(testContext(t))
			if err == nil {
				_, err = shelf.Save(testContext(t), []byte(`{"form":1,"node":"a","incarnation":"x","lease_ms":1,"trimmed":{"next":2},"released":true}`), 0)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		shut(t, l)
		cfg.unowned = false
		l = open(t, cfg)
		fill(t, l, 5, 100)
		want := uint64(1)
		if l.cfg.embedded() {
			want = 0
		}
		for _, rec := range history(t, l) {
			if rec.Number <= 5 && rec.Epoch != 0 || rec.Number > 5 && rec.Epoch != want {
				t.Errorf("record %d is of epoch %d", rec.Number, rec.Epoch)
			}
		}
	})
}

// The record of the hold is lost: the next owner's epoch is above all in the log, and it
// reads nothing that the owner before lets go.
func TestHoldIsLost(t *testing.T) {
	t.Parallel()
	url := startNATS(t, t.TempDir()).ClientURL()
	a := open(t, Config{URL: url, Node: "a", Lease: patience, CacheBytes: 1})
	fill(t, a, 30, 100)
	a.cursors.setTrimmed(Cursor{Next: 21, Totals: totals(20)})
	fill(t, a, 1, 100)
	if err := rawStream(t, a, ownerStream).Purge(testContext(t)); err != nil {
		t.Fatal(err)
	}
	b := open(t, Config{URL: url, Node: "b", CacheBytes: 1})
	if b.First() != 21 {
		t.Errorf("First = %d, want 21", b.First())
	}
	if err := a.session().Purge(testContext(t), 21); err != nil {
		t.Fatal(err)
	}
	fill(t, b, 1, 100)
	if list := history(t, b); list[10].Epoch != 1 || list[11].Epoch != 2 {
		t.Errorf("epochs %d and %d, want 1 and 2", list[10].Epoch, list[11].Epoch)
	}
	checkTold(t, "Damage", b.Damage(), nil)
	stale(t, "renew", a.owner.renew(testContext(t), nil), "b")
}
