package queue

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

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

// A node that gets the log goes on where its predecessor was, not where it had been itself, with
// the cursors, the notes and the files that are left there.
func TestLogComesBack(t *testing.T) {
	t.Parallel()
	srv := startNATS(t, t.TempDir())
	dirs := map[string]string{"a": t.TempDir(), "b": t.TempDir()}
	for i, name := range []string{"a", "b", "a", "b"} {
		l := open(t, Config{Dir: dirs[name], URL: srv.ClientURL(), Node: name, CacheBytes: 1})
		if at, ok := l.Cursor("sink"); ok != (i > 0) || ok && at != (Cursor{Next: l.Last() - 5, Totals: totals(l.Last() - 6)}) {
			t.Errorf("%s goes on at %d, %v, the log ends at %d", name, at.Next, ok, l.Last())
		}
		if want := []string{"", "a", "b", "a"}[i]; l.Note("kept") != want {
			t.Errorf("the note that %s finds is %q, want %q", name, l.Note("kept"), want)
		}
		checkFetched(t, l, i)
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
		mirror(t, l, i)
		shut(t, l)
		// The same directory again: it goes on where it was.
		l = open(t, Config{Dir: dirs[name], URL: srv.ClientURL(), Node: name})
		if at, ok := l.Cursor("sink"); !ok || at.Next != l.Last()-5 {
			t.Errorf("%s goes on at %d, %v, want %d", name, at.Next, ok, l.Last()-5)
		}
		shut(t, l)
	}
}

// mirror has file i and file i-1 lie beside the log.
func mirror(t *testing.T, l *Log, i int) {
	t.Helper()
	dir := t.TempDir()
	var paths []string
	for _, n := range []int{i, i - 1} {
		path := filepath.Join(dir, fmt.Sprintf("%03d.file", n+1))
		if err := os.WriteFile(path, bytes.Repeat([]byte{byte(n)}, 300_000), 0o600); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	if err := l.Mirror(testContext(t), paths); err != nil {
		t.Fatal(err)
	}
}

// checkFetched checks the files that mirror has left when it was called for 0 to i-1.
func checkFetched(t *testing.T, l *Log, i int) {
	t.Helper()
	dir := t.TempDir()
	if err := l.Fetch(testContext(t), dir); err != nil {
		t.Fatal(err)
	}
	names := namesIn(t, dir)
	var want []string
	if i > 0 {
		want = []string{fmt.Sprintf("%03d.file", i-1), fmt.Sprintf("%03d.file", i)}
	}
	if !slices.Equal(names, want) {
		t.Errorf("beside the log are %q, want %q", names, want)
	}
	for _, name := range names {
		var n int
		if _, err := fmt.Sscanf(name, "%d", &n); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !bytes.Equal(b, bytes.Repeat([]byte{byte(n - 1)}, 300_000)) {
			t.Errorf("%s has %d bytes, or others: %v", name, len(b), err)
		}
	}
}

func namesIn(t *testing.T, dir string) (names []string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}

// A node on standby has the log once its owner is gone, and at once when it stops in order; what
// an owner before wrote only in part is cleared away.
func TestStandby(t *testing.T) {
	t.Parallel()
	srv := startNATS(t, t.TempDir())
	p := startProxy(t, srv)
	a := open(t, Config{URL: p.url(), Node: "a", Lease: 2 * time.Second, Logger: quiet}) // it lives: a busy machine must not end it
	fill(t, a, 10, 100)
	waits := make(chan string, 100)
	opened := make(chan *Log, 1)
	standby := func(name string) {
		l, err := Open(testContext(t), Config{
			Dir: t.TempDir(), URL: srv.ClientURL(), Node: name, Lease: shortLease, Standby: true, Logger: quiet,
			Waiting: func(node string, _ time.Time) { waits <- name + " for " + node },
		})
		if err != nil {
			t.Error(err)
		}
		opened <- l
	}
	go standby("b")
	if got := <-waits; got != "b for a" {
		t.Errorf("waits %s", got)
	}
	began := revision(a)
	eventually(t, "a renews its hold for longer than a lease", func() bool { return revision(a) >= began+renewals+2 })
	fill(t, a, 10, 100)
	if part := rawPart(t, a); part == 0 {
		t.Fatal("no part of a file was left")
	}
	p.hold(true, true) // a is cut off
	b := <-opened
	if b == nil {
		t.FailNow()
	}
	t.Cleanup(func() { _ = b.Close() })
	fill(t, b, 10, 100)
	readTo(t, b, 1, 30)
	mirror(t, b, 1)
	if n := parts(t, b); n != 2*(3+1) {
		t.Errorf("of two files in three parts, with a description each, are %d messages", n)
	}
	go standby("c")
	if got := <-waits; got != "c for b" {
		t.Errorf("waits %s", got)
	}
	shut(t, b)
	c := <-opened
	if c == nil {
		t.FailNow()
	}
	t.Cleanup(func() { _ = c.Close() })
	fill(t, c, 10, 100)
	readTo(t, c, 1, 40)
	p.hold(false, false)
	stale(t, "WaitLost", a.WaitLost(testContext(t)), "c")
}

func revision(l *Log) uint64 {
	l.owner.mu.Lock()
	defer l.owner.mu.Unlock()
	return l.owner.rev
}

// rawPart leaves a part of a file, as an owner does that dies while it writes one. It returns how
// many parts there are.
func rawPart(t *testing.T, l *Log) uint64 {
	t.Helper()
	nc, err := nats.Connect(l.cfg.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := nc.Request("$O."+l.cfg.Stream+"-filter.C.unfinished", []byte("a part"), patience); err != nil {
		t.Fatal(err)
	}
	return parts(t, l)
}

// parts counts the messages of the object store.
func parts(t *testing.T, l *Log) uint64 {
	t.Helper()
	info, err := rawStream(t, l, "OBJ_"+l.cfg.Stream+"-filter").Info(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	return info.State.Msgs
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
			shelf, err := sessionOf(l).OpenShelf(testContext(t))
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
	a.cursors.SetTrimmed(Cursor{Next: 21, Totals: totals(20)})
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

// A file that the servers do not take is an error, a file that they have in part is left out, with a
// warning, and nothing of it stays in the directory.
func TestMirrorFails(t *testing.T) {
	t.Parallel()
	var said warnings
	l := open(t, Config{URL: startNATS(t, t.TempDir()).ClientURL(), Node: "a", Logger: slog.New(slog.NewTextHandler(&said, nil))})
	mirror(t, l, 1)
	store := rawStream(t, l, "OBJ_"+l.cfg.Stream+"-filter")
	if err := store.DeleteMsg(testContext(t), 2); err != nil { // a part of the first file that was put there
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := l.Fetch(testContext(t), dir); err != nil {
		t.Fatal(err)
	}
	if names := namesIn(t, dir); !slices.Equal(names, []string{"001.file"}) || !said.has("cannot be used") {
		t.Errorf("fetched %q, said %s", names, said.String())
	}
	if err := l.Mirror(testContext(t), []string{filepath.Join(dir, "001.file"), filepath.Join(dir, "003.file")}); err != nil {
		t.Errorf("a file that is not there: %v", err)
	}
	js, err := jetstream.New(rawConn(t, l))
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(testContext(t), "OBJ_"+l.cfg.Stream+"-filter"); err != nil {
		t.Fatal(err)
	}
	if err := l.Mirror(testContext(t), []string{filepath.Join(dir, "001.file")}); err == nil || !strings.Contains(err.Error(), "copy to the servers of the log") {
		t.Errorf("Mirror: %v", err)
	}
	if err := l.Fetch(testContext(t), dir); err == nil || !strings.Contains(err.Error(), "fetch from the servers") {
		t.Errorf("Fetch: %v", err)
	}
	fill(t, l, 3, 100) // the log does not need it
}

// A node on standby that has taken the log while the servers went away waits for them.
func TestFetchWaitsForServers(t *testing.T) {
	if testing.Short() {
		t.Skip("starts three servers")
	}
	t.Parallel()
	c := startCluster(t)
	l := open(t, Config{URL: c.url(), Node: "a", Standby: true})
	mirror(t, l, 1)
	for i := range c.servers {
		c.stop(i)
	}
	dir, fetched := t.TempDir(), make(chan error, 1)
	go func() { fetched <- l.Fetch(testContext(t), dir) }()
	select {
	case err := <-fetched:
		t.Fatalf("without servers Fetch returned %v", err)
	case <-time.After(time.Second):
	}
	for i := range c.servers {
		c.start(i)
	}
	if err := <-fetched; err != nil {
		t.Fatal(err)
	}
	if names := namesIn(t, dir); !slices.Equal(names, []string{"001.file", "002.file"}) {
		t.Errorf("fetched %q", names)
	}
}

// A log that is handed over is the next owner's at once, while the process of before reads it to its
// end: it appends, trims and deletes nothing any more, and is not told that it has lost the log.
func TestHandOver(t *testing.T) {
	t.Parallel()
	url := startNATS(t, t.TempDir()).ClientURL()
	a := open(t, Config{URL: url, Node: "a", Lease: patience})
	fill(t, a, 5, 100)
	a.SetCursor("reader", Cursor{Next: 4})
	waiting, opened := make(chan struct{}), make(chan *Log, 1)
	go func() {
		b, err := Open(testContext(t), Config{Dir: t.TempDir(), URL: url, Node: "b", Lease: patience, Standby: true, Logger: quiet, Waiting: func(string, time.Time) { close(waiting) }})
		if err != nil {
			t.Error(err)
		}
		opened <- b
	}()
	<-waiting
	if err := a.HandOver(testContext(t)); err != nil {
		t.Fatal(err)
	}
	b := <-opened
	if b == nil {
		t.FailNow()
	}
	t.Cleanup(func() { shut(t, b) })
	if at, ok := b.Cursor("reader"); !ok || at.Next != 4 {
		t.Errorf("the next owner's reader goes on at %+v, %v, want 4", at, ok)
	}
	fill(t, b, 5, 100)
	readTo(t, a, 1, 5)
	if _, err := a.Append(testContext(t), []byte("late"), Totals{}, false); !errors.Is(err, ErrOwned) {
		t.Errorf("Append of a log that was handed over: %v, want %v", err, ErrOwned)
	}
	if err := a.Trim(5); err != nil && !errors.Is(err, ErrOwned) {
		t.Errorf("Trim of a log that was handed over: %v", err)
	}
	if a.Trouble() == nil {
		t.Error("a log that was handed over has no trouble")
	}
	over, cancel := context.WithCancel(testContext(t))
	cancel()
	if err := a.WaitLost(over); err != nil {
		t.Errorf("it is lost, and not handed over: %v", err)
	}
	shut(t, a)
	readTo(t, b, 1, 10)
	checkTold(t, "Damage", b.Damage(), nil)
}
