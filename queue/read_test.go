package queue

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"pingline/queue/cache"
	"pingline/queue/driver"
)

// A batch ends with what is durable, though the stream may have more.
func TestBatchEndsAtLast(t *testing.T) {
	l := open(t, Config{})
	fill(t, l, 10, 100)
	list, err := records(testContext(t), l.session(), 3, 7)
	if err != nil || len(list) != 5 || list[0].Number != 3 || list[4].Number != 7 {
		t.Errorf("records from 3 to 7: %d of them, %v", len(list), err)
	}
}

// Readers from any place get every record from there on, each once, from disk as
// from memory.
func TestRead(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, cfg Config) {
		for _, cache := range []int64{1, 100_000, 64 << 20} {
			cfg.Dir, cfg.CacheBytes, cfg.Stream = t.TempDir(), cache, fmt.Sprint("CACHE", cache)
			l := open(t, cfg)
			const last = 200
			fill(t, l, 150, 2000)
			fill(t, l, last-150, 100_000)
			for _, from := range []uint64{0, 1, 2, 77, 150, 151, 199, 200} {
				checkTold(t, "a reader was told", readTo(t, l, max(from, 1), last), nil)
			}
			r := l.Read(last + 1)
			fill(t, l, 1, 100)
			rec, err := r.Next(testContext(t))
			if err != nil {
				t.Fatal(err)
			}
			checkRecord(t, rec, last+1)
			r.Close()
		}
	})
}

// At the head a reader asks the store for nothing.
func TestReadAtTheHead(t *testing.T) {
	p := startProxy(t, startNATS(t, t.TempDir()))
	l := open(t, Config{URL: p.url()})
	r := l.Read(1)
	defer r.Close()
	for n := uint64(1); n <= 50; n++ {
		fill(t, l, 1, 1000)
		p.hold(true, true)
		rec, err := r.Next(testContext(t))
		p.hold(false, false)
		if err != nil {
			t.Fatal(err)
		}
		checkRecord(t, rec, n)
	}
	p.hold(true, true)
	checkTold(t, "a reader of all was told", readTo(t, l, 1, 50), nil)
	p.hold(false, false)
}

// However far behind, a reader holds two batches.
func TestReaderIsBounded(t *testing.T) {
	const size, records = 100_000, 400
	l := open(t, Config{CacheBytes: 1})
	fill(t, l, records, size)
	r := l.Read(1)
	defer r.Close()
	for n := uint64(1); n <= records; n++ {
		rec, err := r.Next(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		checkRecord(t, rec, n)
		held := len(rec.Payload)
		for _, rec := range r.batch {
			held += len(rec.Payload)
		}
		if r.ahead != nil && n%10 == 0 { // what is on its way
			got := <-r.ahead
			if got.err != nil {
				t.Fatal(got.err)
			}
			for _, rec := range got.list {
				held += len(rec.Payload)
			}
			r.ahead <- got
		}
		if held > 2*(batchBytes+2*size) {
			t.Fatalf("at record %d the reader holds %d bytes", n, held)
		}
	}
}

// Next ends with its ctx, wherever it waits, and the reader is as good as before.
func TestNextHonoursContext(t *testing.T) {
	p := startProxy(t, startNATS(t, t.TempDir()))
	l := open(t, Config{URL: p.url(), CacheBytes: 1})
	fill(t, l, 30, 100_000)
	r := l.Read(1)
	defer r.Close()
	next := uint64(1)
	read := func(to uint64) {
		t.Helper()
		for ; next <= to; next++ {
			rec, err := r.Next(testContext(t))
			if err != nil {
				t.Fatal(err)
			}
			checkRecord(t, rec, next)
		}
	}
	cancelled := func() {
		t.Helper()
		ctx, cancel := context.WithCancel(testContext(t))
		time.AfterFunc(time.Millisecond, cancel)
		if rec, err := r.Next(ctx); !errors.Is(err, context.Canceled) {
			t.Fatalf("Next = record %d, %v, want Canceled", rec.Number, err)
		}
	}
	p.hold(false, true)
	cancelled() // waiting for the store
	p.hold(false, false)
	read(30)
	cancelled() // waiting for an append
	fill(t, l, 10, 100_000)
	read(40)
	p.hold(true, true)
	fillHeld := make(chan struct{})
	go func() { // the append is held as well: there is nothing to read
		defer close(fillHeld)
		fill(t, l, 1, 100)
	}()
	cancelled()
	p.hold(false, false)
	<-fillHeld
	read(41)
}

func TestReaderCloses(t *testing.T) {
	l := open(t, Config{CacheBytes: 1})
	fill(t, l, 50, 100_000)
	r := l.Read(1)
	rec, err := r.Next(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	r.Close()
	if _, err := r.Next(testContext(t)); !errors.Is(err, ErrClosed) {
		t.Errorf("Next of a closed reader: %v, want ErrClosed", err)
	}
	checkRecord(t, rec, 1)

	waiting := make(chan error, 2)
	for _, from := range []uint64{1, 51} {
		r := l.Read(from)
		go func() {
			for {
				if _, err := r.Next(testContext(t)); err != nil {
					waiting <- err
					return
				}
			}
		}()
	}
	shut(t, l)
	for range 2 {
		if err := <-waiting; !errors.Is(err, ErrClosed) {
			t.Errorf("Next while the log is closed: %v, want ErrClosed", err)
		}
	}
	if _, err := l.Read(1).Next(testContext(t)); !errors.Is(err, ErrClosed) {
		t.Errorf("Next of a closed log: %v, want ErrClosed", err)
	}
}

// A reader that is behind where the log was trimmed to goes on there.
func TestReadWhatWasTrimmed(t *testing.T) {
	both(t, func(t *testing.T, cfg Config) {
		cfg.MaxBytes, cfg.CacheBytes = 4<<20, 1
		l := open(t, cfg)
		fill(t, l, 100, 30_000)
		slow := l.Read(1) // has read ahead some of what is trimmed
		defer slow.Close()
		if rec, err := slow.Next(testContext(t)); err != nil || rec.Number != 1 {
			t.Fatalf("Next = record %d, %v, want 1", rec.Number, err)
		}
		late := l.Read(2)
		defer late.Close()
		if err := l.Trim(91); err != nil || l.First() != 91 {
			t.Fatalf("First = %d after Trim(91): %v", l.First(), err)
		}
		for _, r := range []*Reader{slow, late, l.Read(1), l.Read(90)} {
			before := uint64(0)
			for before < 100 {
				rec, err := r.Next(testContext(t))
				if err != nil {
					t.Fatal(err)
				}
				checkRecord(t, rec, rec.Number)
				if rec.Number <= before || rec.Number > max(before+1, 91) {
					t.Fatalf("record %d behind %d", rec.Number, before)
				}
				before = rec.Number
			}
		}
		if lost := l.Damage(); len(lost) > 0 {
			t.Errorf("what was trimmed counts as lost: %v", lost)
		}
	})
}

// Appends, trims and readers of all sorts at once.
func TestReadersAndTrims(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, cfg Config) {
		cfg.MaxBytes, cfg.CacheBytes = 6<<20, 300_000
		const last, size = 600, 20_000
		l := open(t, cfg)
		l.SetCursor("slowest", Cursor{Next: 1})
		var wg sync.WaitGroup
		for i := range 4 {
			name := []string{"slowest", "a", "b", "tail"}[i]
			rng := rand.New(rand.NewPCG(uint64(i), 0))
			wg.Go(func() {
				r := l.Read(1)
				defer func() { r.Close() }()
				for next := uint64(1); next <= last; next++ {
					rec, err := r.Next(testContext(t))
					if err != nil {
						t.Errorf("%s at %d: %v", name, next, err)
						return
					}
					// Only what has a cursor is sure to find all.
					if rec.Number != next && (name == "slowest" || rec.Number < next) {
						t.Errorf("%s read record %d, want %d", name, rec.Number, next)
						return
					}
					next = rec.Number
					checkRecord(t, rec, next)
					switch {
					case name == "slowest":
						l.SetCursor(name, Cursor{Next: next + 1, Totals: rec.Totals})
					case rng.IntN(40) == 0: // begins again somewhere
						r.Close()
						next -= min(next-1, rng.Uint64N(100))
						r = l.Read(next)
						next--
					}
				}
			})
		}
		wg.Go(func() {
			for l.Last() < last {
				next := l.Last() + 1
				_, err := l.Append(testContext(t), payload(next, size), totals(next), false)
				if errors.Is(err, ErrFull) {
					if err = l.KeepCursors(); err == nil {
						err = l.TrimKept()
					}
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
		stop, stopped := context.WithCancel(testContext(t))
		trimmer := make(chan error, 1)
		go func() {
			for stop.Err() == nil {
				if err := errors.Join(l.KeepCursors(), l.TrimKept()); err != nil {
					trimmer <- err
					return
				}
			}
			trimmer <- nil
		}()
		wg.Wait()
		stopped()
		if err := <-trimmer; err != nil {
			t.Error(err)
		}
		accounted(t, l)
		if l.First() < last/2 {
			t.Errorf("First = %d: nothing was trimmed meanwhile", l.First())
		}
		if lost := l.Damage(); len(lost) > 0 {
			t.Errorf("lost: %v", lost)
		}
	})
}

// A server that knows less than was made durable is not believed: nothing is
// called lost, and readers go on when one answers that knows all.
func TestServerThatLags(t *testing.T) {
	url := startNATS(t, t.TempDir()).ClientURL()
	l := open(t, Config{URL: url, CacheBytes: 1})
	lagging := open(t, Config{URL: url, Stream: "LAGGING"})
	fill(t, lagging, 60, 1000)
	fill(t, l, 100, 1000)

	all := l.session()
	swap := func(st driver.Stream) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.stream = st
	}
	swap(lagging.session())
	seen := follow(t, l)
	for n := uint64(1); n <= 60; n++ {
		checkRecord(t, <-seen, n)
	}
	r := l.Read(80)
	defer r.Close()
	ctx, cancel := context.WithTimeout(testContext(t), 100*time.Millisecond)
	defer cancel()
	if rec, err := r.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Next of what a server does not know = record %d, %v, want DeadlineExceeded", rec.Number, err)
	}
	swap(all)
	for n := uint64(61); n <= 100; n++ {
		checkRecord(t, <-seen, n)
	}
	if lost := l.Damage(); len(lost) > 0 {
		t.Errorf("%v count as lost", lost)
	}
	shut(t, l)
}

// A record that the store has lost may still be in memory.
func TestLostOnDiskAndHeldInMemory(t *testing.T) {
	both(t, func(t *testing.T, cfg Config) {
		cfg.CacheBytes = 10 * (1000 + cache.Overhead)
		l := open(t, cfg)
		fill(t, l, 100, 1000)
		stream := rawStream(t, l, l.cfg.Stream)
		for seq := uint64(71); seq <= 100; seq++ {
			if err := stream.DeleteMsg(testContext(t), seq); err != nil {
				t.Fatal(err)
			}
		}
		want := []DamageError{{71, 90, totals(90).Sub(totals(70))}}
		checkTold(t, "a reader was told", readTo(t, l, 60, 100), want)
		checkTold(t, "Damage", l.Damage(), want)
	})
}

// A server in this process that drops a connection, for it was slow, say, is as
// good as before when it is connected again, appends or not.
func TestEmbeddedConnectionBreaks(t *testing.T) {
	t.Parallel()
	l := open(t, Config{CacheBytes: 1})
	fill(t, l, 100, 50_000)
	srv := sessionOf(l).Server().NATS()
	ids := func() (ids []uint64) { // of the connections that are whole
		list, err := srv.Connz(&server.ConnzOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range list.Conns {
			if c.Name != "" {
				ids = append(ids, c.Cid)
			}
		}
		slices.Sort(ids)
		return ids
	}
	first := ids()
	if len(first) != 2 {
		t.Fatalf("the log has connections %v, want one for appends and one to read", first)
	}
	appends, reads := first[0], first[1]
	drop := func(id uint64) (next uint64) { // the one that comes in its place
		t.Helper()
		if err := srv.DisconnectClientByID(id); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it is connected again", func() bool {
			list := ids()
			if len(list) < 2 || slices.Contains(list, id) {
				return false
			}
			next = list[1]
			return true
		})
		return next
	}
	r := l.Read(1)
	defer r.Close()
	for n := uint64(1); n <= 100; n++ {
		if n%30 == 10 {
			reads = drop(reads)
		}
		rec, err := r.Next(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		checkRecord(t, rec, n)
	}
	drop(appends)
	if _, err := l.Append(testContext(t), payload(101, 8), totals(101), false); err != nil {
		if _, _, err := l.Settle(testContext(t), payload(101, 8)); err != nil {
			t.Fatal(err)
		}
	}
	for _, rec := range history(t, l)[:100] {
		checkRecord(t, rec, rec.Number)
	}
}
