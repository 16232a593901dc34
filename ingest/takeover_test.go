package ingest_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"pingline"
	"pingline/dedupe"
	"pingline/ingest"
	"pingline/internal/follow"
	"pingline/queue"
)

const (
	usedWarm = "the state of the filter was read along"
	notUsed  = "the state of the filter that was read along is not used"
	readsNow = "the log is read along\n"
)

// heard keeps messages, each with its attributes.
type heard struct {
	mu    sync.Mutex
	lines []string
}

func (h *heard) logger() *slog.Logger { return slog.New(hearing{slog.DiscardHandler, h}) }

// count returns how many lines have text in them.
func (h *heard) count(text string) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, line := range h.lines {
		if strings.Contains(line+"\n", text) {
			n++
		}
	}
	return n
}

type hearing struct {
	slog.Handler
	to *heard
}

func (h hearing) Enabled(context.Context, slog.Level) bool { return true }
func (h hearing) Handle(_ context.Context, r slog.Record) error {
	line := r.Message + "\n"
	r.Attrs(func(a slog.Attr) bool { line += fmt.Sprintln(a); return true })
	h.to.mu.Lock()
	defer h.to.mu.Unlock()
	h.to.lines = append(h.to.lines, line)
	return nil
}

// takeover is a log whose owner writes, while a node that waits reads it along.
type takeover struct {
	*along
	log      *queue.Log
	w        *ingest.Writer
	dir      string // of the owner's checkpoints
	kill     func() // ends the owner: nothing is flushed or saved
	spare    *follow.Spare
	reader   heard
	erasures []ingest.Erasure
	js       jetstream.JetStream // to look at the log, and to do harm by
}

func newTakeover(t *testing.T) *takeover {
	x := &takeover{along: &along{t: t, url: "nats://" + ingest.NATSServer(t), rng: rand.New(rand.NewPCG(7, 1)), pings: ingest.MadeUp(alongRiders, 60)}}
	nc, err := nats.Connect(x.url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	if x.js, err = jetstream.New(nc); err != nil {
		t.Fatal(err)
	}
	x.own("a", x.url, 0)
	return x
}

// opened opens the log and a writer as another node.
func (x *takeover) opened(node, url string, lease time.Duration, past *ingest.Past) (log *queue.Log, w *ingest.Writer, said *heard, dir string) {
	x.t.Helper()
	said, dir = new(heard), x.t.TempDir()
	log = ingest.TestLog(x.t, queue.Config{URL: url, Node: node, Lease: lease, Standby: true, MaxBytes: 8 << 20, Logger: slog.New(slog.DiscardHandler)})
	if _, ok := log.Cursor("reader"); !ok {
		log.SetCursor("reader", queue.Cursor{Next: 1})
	}
	cfg := x.cfg(log, dir)
	cfg.Past, cfg.Logger = past, said.logger()
	cfg.Erasures = func() []ingest.Erasure { return x.erasures }
	w, err := ingest.OpenWriter(context.Background(), cfg)
	if err != nil {
		x.t.Fatal(err)
	}
	return log, w, said, dir
}

// own has a node be the owner, who writes.
func (x *takeover) own(node, url string, lease time.Duration) {
	x.t.Helper()
	x.log, x.w, _, x.dir = x.opened(node, url, lease, nil)
	x.kill = running(x.t, x.log, x.w)
}

func running(t *testing.T, log *queue.Log, w *ingest.Writer) (kill func()) {
	run, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(run) }()
	return sync.OnceFunc(func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
		stop()
		<-ended
	})
}

// follow has a node read the log along, by way of url.
func (x *takeover) follow(url string) {
	x.spare = follow.NewSpare(follow.Config{URL: url, Dir: filepath.Join(x.t.TempDir(), "follow"), Filter: dedupe.DefaultConfig(), Logger: x.reader.logger()}, 1)
	x.spare.Follow(follow.WithoutParts)
	x.t.Cleanup(func() { x.spare.Take("") })
}

// save has the owner save the state, so that it is beside the log.
func (x *takeover) save() {
	x.t.Helper()
	if err := x.w.Save(context.Background()); err != nil {
		x.t.Fatal(err)
	}
}

// trim lets go of all records that no checkpoint needs.
func (x *takeover) trim() {
	x.t.Helper()
	x.log.SetCursor("reader", queue.Cursor{Next: x.log.Last() + 1})
	first, err := x.log.Drop()
	if err != nil {
		x.t.Fatal(err)
	}
	x.eventually("the log is not trimmed", func() bool {
		s, err := x.js.Stream(context.Background(), follow.WithoutParts)
		return err == nil && s.CachedInfo().State.FirstSeq >= first // no number is ahead of its sequence
	})
}

func (x *takeover) eventually(why string, ok func() bool) {
	x.t.Helper()
	for began := time.Now(); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Since(began) > patience {
			x.t.Fatalf("%s; the reader: %q, %q", why, x.spare.Notes(), x.reader.lines)
		}
	}
}

// take has a node take over with past, compares its filter with that of a cold open, and returns the
// message on the state that was read along, "" if there is none.
func (x *takeover) take(past *ingest.Past) (message string, warm *ingest.Writer) {
	x.t.Helper()
	x.kill()
	log, warm, said, _ := x.opened("warm", x.url, 0, past)
	if err := log.Close(); err != nil {
		x.t.Fatal(err)
	}
	coldLog, cold, saidCold, _ := x.opened("cold", x.url, 0, nil)
	if err := coldLog.Close(); err != nil {
		x.t.Fatal(err)
	}
	if n := saidCold.count(usedWarm); n > 0 {
		x.t.Fatalf("the cold open is warm: %q", saidCold.lines)
	}
	if ws, cs := warm.Stats(), cold.Stats(); ws.StartTotals != cs.StartTotals || ws.StartHolding != cs.StartHolding {
		x.t.Errorf("the counts begin at %v and %d, want %v and %d", ws.StartTotals, ws.StartHolding, cs.StartTotals, cs.StartHolding)
	}
	alike(x.t, warm.Filter(), cold.Filter(), x.pings)
	for _, line := range said.lines {
		if strings.HasPrefix(line, usedWarm+"\n") || strings.HasPrefix(line, notUsed+"\n") {
			message += line
		}
	}
	return message, warm
}

// warm takes over, and requires that what was read along is used.
func (x *takeover) warm() {
	x.t.Helper()
	past := x.spare.Take(follow.WithoutParts)
	if message, _ := x.take(past); !strings.HasPrefix(message, usedWarm+"\n") {
		x.t.Errorf("the takeover was not warm: %q", message)
	}
}

// lose has the servers lose a message of the log.
func (x *takeover) lose(pick func(jetstream.StreamState) uint64) {
	x.t.Helper()
	s, err := x.js.Stream(context.Background(), follow.WithoutParts)
	if err == nil {
		err = s.SecureDeleteMsg(context.Background(), pick(s.CachedInfo().State))
	}
	if err != nil {
		x.t.Fatal(err)
	}
}

// A reader that trimming has overtaken begins anew with a newer checkpoint, and lets go of its connections.
func TestReadAlongOvertaken(t *testing.T) {
	x := newTakeover(t)
	x.send(x.w, 200, false)
	x.save()
	p := ingest.NewProxy(t, strings.TrimPrefix(x.url, "nats://"))
	before := clients()
	x.follow(p.URL())
	until(t, x.spare, x.log.Last())
	first := clients()
	next := x.log.Last() + 1
	p.HoldRequests(true)
	x.send(x.w, 200, false)
	for range 3 {
		x.send(x.w, 30, false)
		x.save()
	}
	x.trim()
	if x.log.First() <= next {
		t.Fatalf("the log begins at %d, and was read up to %d", x.log.First(), next-1)
	}
	p.HoldRequests(false)
	x.eventually("the reader does not begin anew", func() bool { return x.reader.count(readsNow) > 1 })
	until(t, x.spare, x.log.Last())
	if n := clients(); n > first {
		t.Errorf("the reader has %d connections, want %d", n-before, first-before)
	}
	x.warm()
}

// clients returns how many connections of clients to NATS servers there are.
func clients() int { return strings.Count(stacks(), "nats.go.(*Conn).readLoop(") }

func stacks() string {
	for b := make([]byte, 1<<20); ; b = make([]byte, 2*len(b)) {
		if n := runtime.Stack(b, true); n < len(b) {
			return string(b[:n])
		}
	}
}

// A checkpoint beside the log that is broken is passed over.
func TestReadAlongBrokenCheckpoints(t *testing.T) {
	truncated := func(b []byte) []byte { return b[:len(b)*2/3] }
	for _, tt := range []struct {
		name  string
		harm  func([]byte) []byte
		both  bool
		trims bool
	}{
		{"truncated", truncated, false, true},
		{"flipped", func(b []byte) []byte { b[len(b)/2] ^= 0x10; return b }, false, true},
		{"empty", func([]byte) []byte { return nil }, false, true},
		{"without its end", func(b []byte) []byte { return b[:len(b)-4] }, false, true},
		{"both truncated", truncated, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := newTakeover(t)
			for range 3 {
				x.send(x.w, 150, false)
				x.save()
			}
			if tt.trims {
				x.trim()
			}
			files, err := x.js.ObjectStore(context.Background(), follow.WithoutParts+"-filter")
			if err != nil {
				t.Fatal(err)
			}
			list, err := files.List(context.Background())
			if err != nil || len(list) != 2 {
				t.Fatalf("%d checkpoints: %v", len(list), err)
			}
			slices.SortFunc(list, func(a, b *jetstream.ObjectInfo) int { return -strings.Compare(a.Name, b.Name) })
			from := 1
			if !tt.both {
				if _, err := fmt.Sscanf(list[1].Name, "%d", &from); err != nil {
					t.Fatal(err)
				}
				list = list[:1]
			}
			for _, f := range list {
				b, err := files.GetBytes(context.Background(), f.Name)
				if err == nil {
					_, err = files.Put(context.Background(), jetstream.ObjectMeta{Name: f.Name}, bytes.NewReader(tt.harm(b)))
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			x.send(x.w, 100, false)
			x.follow(x.url)
			until(t, x.spare, x.log.Last())
			if x.reader.count(fmt.Sprintf("%sstream=PINGLINE\nfrom=%d\n", readsNow, from)) != 1 {
				t.Errorf("the log is not read from %d on: %q", from, x.reader.lines)
			}
			x.send(x.w, 100, false)
			x.warm()
		})
	}
}

// Records that are lost after they were read along are missing in a cold open, so that what was read is not
// used. A reader that comes to such a place begins anew, with a checkpoint from behind it.
func TestReadAlongDamage(t *testing.T) {
	x := newTakeover(t)
	x.send(x.w, 200, false)
	x.save()
	x.follow(x.url)
	until(t, x.spare, x.log.Last())
	x.send(x.w, 200, false)
	until(t, x.spare, x.log.Last())
	x.lose(func(s jetstream.StreamState) uint64 { return s.LastSeq - 2 })
	x.send(x.w, 100, false)
	until(t, x.spare, x.log.Last()) // it has passed the place
	message, _ := x.take(x.spare.Take(follow.WithoutParts))
	if !strings.HasPrefix(message, notUsed+"\n") || !strings.Contains(message, "commits are lost") {
		t.Errorf("a state from before the damage: %q", message)
	}
}

func TestReadAlongDamageAhead(t *testing.T) {
	x := newTakeover(t)
	x.send(x.w, 200, false)
	x.save()
	x.send(x.w, 200, false)
	x.lose(func(s jetstream.StreamState) uint64 { return s.LastSeq - 2 })
	x.follow(x.url)
	x.eventually("the reader does not say that records are gone", func() bool {
		return strings.HasPrefix(x.spare.Notes()[0], "cold: ") && strings.Contains(x.spare.Notes()[0], "records are gone")
	})
	x.save()
	x.send(x.w, 50, false)
	until(t, x.spare, x.log.Last())
	x.take(x.spare.Take(follow.WithoutParts))
}

// Commits without pings, as of the roll-up, of a change of shards and of dead letters that are put back, pass the
// reader as they pass a cold open.
func TestReadAlongOtherEntries(t *testing.T) {
	x := newTakeover(t)
	x.send(x.w, 100, false)
	x.save()
	x.follow(x.url)
	until(t, x.spare, x.log.Last())
	point := func(name string) *pingline.Point {
		return &pingline.Point{Name: name, At: 1, Fields: []pingline.PointField{pingline.Int("count", 1)}}
	}
	for range 3 {
		job := &ingest.Job{Entries: []pingline.Entry{
			{Kind: pingline.Self, To: "shard-2", Point: point("pingline_reshard")},
			{Kind: pingline.Activity, Point: point("pingline_cells")},
			{Kind: pingline.Replayed, Ping: x.pings[0], Cell: 0x8539220ffffffff, Verdict: pingline.Accepted, To: "shard-1"},
			{Kind: pingline.ReplayedNano, Line: "a,b=c d=1i 1700000000000000000", To: "shard-1"},
		}}
		if err := x.w.Submit(job); err != nil {
			t.Fatal(err)
		}
		x.log.Change(queue.Change{Notes: map[string]string{"layout": `{"shards":["shard-1","shard-2"]}`}})
		x.send(x.w, 60, false)
	}
	until(t, x.spare, x.log.Last())
	x.warm()
}

// A rider who is removed while the log is read along is not known after a takeover, be there a checkpoint from
// behind the removal or not.
func TestReadAlongErasure(t *testing.T) {
	for _, saved := range []bool{false, true} {
		t.Run(fmt.Sprint("saved ", saved), func(t *testing.T) {
			x := newTakeover(t)
			x.send(x.w, 300, false)
			x.save()
			x.follow(x.url)
			until(t, x.spare, x.log.Last())
			if !saved { // no further checkpoint comes to be
				if err := os.RemoveAll(x.dir); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(x.dir, nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			const gone = "r-3"
			point := &pingline.Point{Name: "pingline_erasure", At: 1, Fields: []pingline.PointField{pingline.Int("count", 1)}}
			e, err := x.w.Erase(gone, pingline.Entry{Kind: pingline.Self, Point: point})
			if err != nil || e.Tracks == 0 {
				t.Fatalf("%+v: %v", e, err)
			}
			x.erasures = append(x.erasures, ingest.Erasure{Rider: gone, Upto: e.Upto})
			x.pings = slices.DeleteFunc(x.pings, func(p pingline.Ping) bool { return p.Rider == gone })
			if saved {
				x.save()
				x.eventually("no checkpoint from behind the removal", func() bool {
					c, ok := x.log.Cursor(ingest.FilterCursor)
					return ok && c.Next > e.Upto
				})
			}
			x.send(x.w, 100, false)
			_, warm := x.take(x.spare.Take(follow.WithoutParts))
			if known := warm.Filter().Known(nil, gone); len(known) > 0 {
				t.Errorf("of the removed rider is known %+v", known)
			}
		})
	}
}

// An append of unknown fate, and the claim of the next owner behind it, are read along as they are in the log.
func TestReadAlongUnclear(t *testing.T) {
	for _, landed := range []bool{false, true} {
		t.Run(fmt.Sprint("landed ", landed), func(t *testing.T) {
			x := newTakeover(t)
			x.send(x.w, 200, false)
			x.save()
			x.kill()
			p := ingest.NewProxy(t, strings.TrimPrefix(x.url, "nats://"))
			x.own("slow", p.URL(), 300*time.Millisecond)
			x.send(x.w, 100, false)
			x.follow(x.url)
			until(t, x.spare, x.log.Last())
			if landed {
				p.HoldAnswers(true)
			} else {
				p.HoldRequests(true)
			}
			slow, slowKill, last := x.w, x.kill, x.log.Last()
			pings := x.pings[:20]
			done := make(chan error, 1)
			go func() {
				j := &ingest.Job{Pings: pings}
				for i := range pings {
					j.Cells = append(j.Cells, ingest.TestCells.Of(&pings[i].Fix))
				}
				done <- slow.Submit(j)
			}()
			if landed {
				until(t, x.spare, last+1)
			} else {
				x.eventually("no append is held", p.HeldRequest)
			}
			x.log, x.w, _, x.dir = x.opened("b", x.url, 0, nil)
			x.kill = running(t, x.log, x.w)
			x.send(x.w, 100, true)
			p.HoldRequests(false)
			p.HoldAnswers(false)
			<-done // an error if another has the log
			x.send(x.w, 100, false)
			until(t, x.spare, x.log.Last())
			x.warm()
			slowKill()
		})
	}
}

// Where servers lose the newest records, and the next owner gives their numbers again, the log goes on otherwise than it
// was read, though a reader that is ahead may see no record twice.
func TestReadAlongGoesOnOtherwise(t *testing.T) {
	x := newTakeover(t)
	x.send(x.w, 200, false)
	x.save()
	x.send(x.w, 100, false)
	first := x.log.Last()
	x.send(x.w, 100, false)
	p := ingest.NewProxy(t, strings.TrimPrefix(x.url, "nats://"))
	x.follow(p.URL())
	until(t, x.spare, x.log.Last())
	last := x.log.Last()
	x.kill()
	p.HoldRequests(true)
	x.restore(first)
	x.own("b", x.url, 0)
	if x.log.Last() != first+1 {
		t.Fatalf("the claim is record %d, want %d", x.log.Last(), first+1)
	}
	for x.log.Last() < last+10 {
		x.send(x.w, 10, false)
	}
	began := x.reader.count(readsNow)
	p.HoldRequests(false)
	x.eventually("a log that goes on otherwise is read along", func() bool { return x.reader.count(readsNow) > began })
	until(t, x.spare, x.log.Last())
	x.warm()
}

// restore has the servers hold the log up to record last again, as from a copy.
func (x *takeover) restore(last uint64) {
	x.t.Helper()
	ctx := context.Background()
	s, err := x.js.Stream(ctx, follow.WithoutParts)
	if err != nil {
		x.t.Fatal(err)
	}
	cfg := s.CachedInfo().Config
	var all [][]byte
	for seq := uint64(1); seq <= last; seq++ {
		m, err := s.GetMsg(ctx, seq)
		if err != nil {
			x.t.Fatal(err)
		}
		all = append(all, m.Data)
	}
	if err := x.js.DeleteStream(ctx, cfg.Name); err != nil {
		x.t.Fatal(err)
	}
	if _, err := x.js.CreateStream(ctx, cfg); err != nil {
		x.t.Fatal(err)
	}
	for _, b := range all {
		if _, err := x.js.Publish(ctx, cfg.Subjects[0], b); err != nil {
			x.t.Fatal(err)
		}
	}
}

// Wherever a reader has come to when its state is taken, it is that of a cold open, or none.
func TestReadAlongTakenInTheMiddle(t *testing.T) {
	x := newTakeover(t)
	x.send(x.w, 200, false)
	x.save()
	warm := 0
	for round := range 6 {
		x.follow(x.url)
		stop, stopped := make(chan struct{}), make(chan struct{})
		w := x.w
		go func() {
			defer close(stopped)
			for {
				select {
				case <-stop:
					return
				default:
					x.send(w, 40, true)
				}
			}
		}()
		if round%3 > 0 {
			x.eventually("the reader does not get warm", func() bool { return strings.HasPrefix(x.spare.Notes()[0], "warm: ") })
		}
		past := x.spare.Take(follow.WithoutParts)
		close(stop)
		<-stopped
		if message, _ := x.take(past); strings.HasPrefix(message, usedWarm) {
			warm++
		}
		x.own(fmt.Sprint("again ", round), x.url, 0)
	}
	if warm == 0 {
		t.Error("no takeover was warm")
	}
}

// A reader that is stopped leaves no goroutine, no connection and no file, wherever it was, and what begins at its
// place is not disturbed.
func TestReadAlongLeavesNothing(t *testing.T) {
	x := newTakeover(t)
	for range 3 {
		x.send(x.w, 100, false)
		x.save()
	}
	newest := x.log.Last() + 1
	dir := filepath.Join(t.TempDir(), "follow")
	cfg := follow.Config{URL: x.url, Dir: dir, Filter: dedupe.DefaultConfig(), Logger: x.reader.logger()}
	before := clients()
	clean := func() bool {
		list, _ := filepath.Glob(filepath.Join(dir, "*"))
		return len(list) == 0 && !strings.Contains(stacks(), "internal/follow.(*Reader)") && clients() <= before
	}
	for round := range 10 {
		x.spare = follow.NewSpare(cfg, 1)
		x.spare.Follow(follow.WithoutParts)
		switch round % 5 {
		case 0: // at once
		case 1:
			until(t, x.spare, x.log.Last())
		case 2: // one that finds no log
			x.spare.Follow("NOTHING")
			x.eventually("a log that is not there is read", func() bool { return strings.Contains(x.spare.Notes()[0], "not found") })
		default:
			time.Sleep(time.Duration(x.rng.IntN(20)) * time.Millisecond)
		}
		x.spare.Take("")
		x.eventually("something is left of a reader", clean)
	}
	x.spare = follow.NewSpare(cfg, 1)
	for range 20 {
		x.spare.Follow("NOTHING")
		x.spare.Follow(follow.WithoutParts)
		time.Sleep(time.Duration(x.rng.IntN(8)) * time.Millisecond)
	}
	until(t, x.spare, x.log.Last())
	if n, all := x.reader.count(fmt.Sprintf("%sstream=PINGLINE\nfrom=%d\n", readsNow, newest)), x.reader.count(readsNow); n != all {
		t.Errorf("%d of %d readers began with the newest checkpoint", n, all)
	}
	x.spare.Take("")
	x.eventually("something is left of a reader", clean)
}
