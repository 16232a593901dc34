package ingest_test

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
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
	alongRiders = 40
	patience    = 2 * time.Minute
)

// along is a log that one node has, and another reads along.
type along struct {
	t     *testing.T
	url   string
	rng   *rand.Rand
	pings []pingline.Ping
	said  []string // by the last writer
}

func (a *along) cfg(log *queue.Log, dir string) ingest.WriterConfig {
	return ingest.WriterConfig{Log: log, Filter: dedupe.DefaultConfig(), Bound: dedupe.Bound{MaxError: 10}, Dir: dir, CheckpointEntries: 1 << 30, Logger: slog.New(saying{slog.DiscardHandler, a})}
}

// saying keeps the messages.
type saying struct {
	slog.Handler
	a *along
}

func (s saying) Enabled(context.Context, slog.Level) bool { return true }
func (s saying) Handle(_ context.Context, r slog.Record) error {
	s.a.said = append(s.a.said, r.Message)
	return nil
}

// open opens the log and a writer as another node, with what was read along.
func (a *along) open(node string, take func() *ingest.Past) (*queue.Log, *ingest.Writer) {
	a.t.Helper()
	log := ingest.TestLog(a.t, queue.Config{URL: a.url, Node: node, MaxBytes: 8 << 20, Logger: slog.New(slog.DiscardHandler)})
	if _, ok := log.Cursor("reader"); !ok {
		log.SetCursor("reader", queue.Cursor{Next: 1})
	}
	cfg := a.cfg(log, a.t.TempDir())
	cfg.Past = take()
	a.said = nil
	w, err := ingest.OpenWriter(context.Background(), cfg)
	if err != nil {
		a.t.Fatal(err)
	}
	return log, w
}

func nothing() *ingest.Past { return nil }

// send has the writer judge some pings in a few commits, and, now and then, if saves is set, save its state.
func (a *along) send(w *ingest.Writer, n int, saves bool) {
	a.t.Helper()
	for n = min(n, len(a.pings)); n > 0; {
		k := min(n, 1+a.rng.IntN(30))
		j := &ingest.Job{Pings: a.pings[:k]}
		for i := range j.Pings {
			j.Cells = append(j.Cells, ingest.TestCells.Of(&j.Pings[i].Fix))
		}
		if err := w.Submit(j); err != nil {
			a.t.Fatal(err)
		}
		a.pings, n = a.pings[k:], n-k
		if saves && a.rng.IntN(40) == 0 {
			if err := w.Save(context.Background()); err != nil {
				a.t.Fatal(err)
			}
		}
	}
}

// until waits until a reader has come to record number last.
func until(t *testing.T, s *follow.Spare, last uint64) {
	t.Helper()
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		for _, note := range s.Notes() {
			if strings.HasPrefix(note, "warm: ") && strings.Contains(note, fmt.Sprintf(" %d: ", last)) {
				return
			}
		}
		if time.Since(began) > patience {
			t.Fatalf("record %d was not read along: %q", last, s.Notes())
		}
	}
}

func (a *along) spare() *follow.Spare {
	return follow.NewSpare(follow.Config{URL: a.url, Dir: filepath.Join(a.t.TempDir(), "follow"), Filter: dedupe.DefaultConfig(), Logger: slog.New(slog.DiscardHandler)}, 1)
}

// alike checks that two filters know the same, and judge what comes the same.
func alike(t *testing.T, warm, cold *dedupe.Filter, next []pingline.Ping) {
	t.Helper()
	if warm.Riders() != cold.Riders() || warm.Holding() != cold.Holding() {
		t.Errorf("%d riders and %d held pings, want %d and %d", warm.Riders(), warm.Holding(), cold.Riders(), cold.Holding())
	}
	if warm.Stamp() != cold.Stamp() {
		t.Errorf("%d pings were judged, want %d", warm.Stamp(), cold.Stamp())
	}
	all := dedupe.Stretch{From: math.MinInt64, To: math.MaxInt64, Vertices: math.MinInt64, Most: math.MaxInt}
	for i := range alongRiders {
		rider := fmt.Sprint("r-", i)
		if got, want := warm.Known(nil, rider), cold.Known(nil, rider); !reflect.DeepEqual(got, want) {
			t.Errorf("of %s is known %+v, want %+v", rider, got, want)
		}
		if got, want := warm.Line(nil, rider, all), cold.Line(nil, rider, all); !reflect.DeepEqual(got, want) {
			t.Errorf("the line of %s is %+v, want %+v", rider, got, want)
		}
	}
	var a, b dedupe.Batch
	now := time.Duration(0)
	for i := range next {
		e, f := pingline.Entry{Ping: next[i]}, pingline.Entry{Ping: next[i]}
		e.Cell = ingest.TestCells.Of(&next[i].Fix)
		f.Cell = e.Cell
		now += time.Millisecond
		v, _ := warm.Judge(&a, &e, dedupe.Bound{MaxError: 10}, uint64(i), now)
		want, _ := cold.Judge(&b, &f, dedupe.Bound{MaxError: 10}, uint64(i), now)
		if v != want {
			t.Fatalf("ping %d that comes then is %v, want %v", i, v, want)
		}
	}
	if warm.Holding() != cold.Holding() {
		t.Errorf("then %d pings are held, want %d", warm.Holding(), cold.Holding())
	}
}

// A log that was read along gives the state that a checkpoint and the log give, wherever reading began
// and ended, whatever was saved and trimmed meanwhile, and however often the log has changed hands.
func TestReadAlong(t *testing.T) {
	seeds := uint64(6)
	if testing.Short() {
		seeds = 2
	}
	for seed := range seeds {
		a := &along{t: t, url: "nats://" + ingest.NATSServer(t), rng: rand.New(rand.NewPCG(seed, 1))}
		var next []pingline.Ping
		for i, p := range ingest.MadeUp(alongRiders, 150) {
			switch rider, round := i%alongRiders, i/alongRiders; {
			case round >= 130:
				next = append(next, p)
			case round < 10+3*rider: // riders end one after the other: their state is old
				a.pings = append(a.pings, p)
			}
		}
		log, w := a.open("a", nothing)
		run, stop := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- w.Run(run) }()
		a.send(w, 500+a.rng.IntN(500), true)
		s := a.spare()
		s.Follow(follow.WithoutParts)
		until(t, s, log.Last())
		for range 1 + a.rng.IntN(3) {
			a.send(w, a.rng.IntN(700), true)
			log.SetCursor("reader", queue.Cursor{Next: log.Last()})
			if err := log.TrimKept(); err != nil {
				t.Fatal(err)
			}
		}
		until(t, s, log.Last())
		a.send(w, a.rng.IntN(200), false) // may be behind what is read along
		// The node is gone: nothing of it is flushed or saved.
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
		stop()
		<-ended
		warmLog, warm := a.open("b", func() *ingest.Past { return s.Take(follow.WithoutParts) })
		if !slices.Contains(a.said, "the state of the filter was read along") {
			t.Fatalf("seed %d: the takeover was not warm: %q", seed, a.said)
		}
		if err := warmLog.Close(); err != nil {
			t.Fatal(err)
		}
		_, cold := a.open("c", nothing)
		if slices.Contains(a.said, "the state of the filter was read along") {
			t.Fatalf("seed %d: the takeover was warm without anything: %q", seed, a.said)
		}
		alike(t, warm.Filter(), cold.Filter(), next)
		if ws, cs := warm.Stats(), cold.Stats(); ws.StartTotals != cs.StartTotals || ws.StartHolding != cs.StartHolding {
			t.Errorf("seed %d: the counts begin at %v and %d, want %v and %d", seed, ws.StartTotals, ws.StartHolding, cs.StartTotals, cs.StartHolding)
		}
	}
}

// A state that was read along is not used where a checkpoint would give another.
func TestReadAlongIsNotUsed(t *testing.T) {
	a := &along{t: t, url: "nats://" + ingest.NATSServer(t), rng: rand.New(rand.NewPCG(1, 1)), pings: ingest.MadeUp(alongRiders, 30)}
	log, w := a.open("a", nothing)
	run, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(run) }()
	a.send(w, 300, true)
	s := a.spare()
	s.Follow(follow.WithoutParts)
	until(t, s, log.Last())
	for began := time.Now(); !log.Attended(context.Background()); {
		if time.Since(began) > patience {
			t.Fatal("the log is not attended by the node that reads it along")
		}
	}
	past := s.Take(follow.WithoutParts)
	for began := time.Now(); log.Attended(context.Background()); {
		if time.Since(began) > patience {
			t.Fatal("the log is attended by nobody")
		}
	}
	if past == nil || past.Next() != log.Last()+1 {
		t.Fatalf("nothing was read along: %q", s.Notes())
	}
	a.send(w, 300, true)
	for range 2 { // both checkpoints are newer
		a.send(w, 30, true)
		if err := w.Save(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	stop()
	<-ended
	log, w = a.open("b", func() *ingest.Past { return past })
	if !slices.Contains(a.said, "the state of the filter that was read along is not used") {
		t.Errorf("a state from before both checkpoints is used: %q", a.said)
	}
	riders := w.Filter().Riders()
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if _, w = a.open("c", nothing); w.Filter().Riders() != riders {
		t.Errorf("%d riders, want %d", riders, w.Filter().Riders())
	}
}

// A rider who is removed while a node reads along is not known to it, though the removal is done, and
// forgotten, before it takes over.
func TestReadAlongKnowsNoRemovedRider(t *testing.T) {
	a := &along{t: t, url: "nats://" + ingest.NATSServer(t), rng: rand.New(rand.NewPCG(1, 1)), pings: ingest.MadeUp(alongRiders, 30)}
	log, w := a.open("a", nothing)
	run, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(run) }()
	a.send(w, 300, false)
	s := a.spare()
	s.Follow(follow.WithoutParts)
	until(t, s, log.Last())
	const gone = "r-1"
	mark := pingline.Entry{Kind: pingline.Self, Point: &pingline.Point{Name: ingest.ErasureMark, At: 1, Fields: []pingline.PointField{pingline.Int("count", 1)}}}
	if x, err := w.Erase(gone, mark); err != nil || x.Tracks == 0 {
		t.Fatalf("%+v: %v", x, err)
	}
	if err := w.Save(context.Background()); err != nil {
		t.Fatal(err)
	}
	a.pings = slices.DeleteFunc(a.pings, func(p pingline.Ping) bool { return p.Rider == gone })
	a.send(w, 100, false)
	until(t, s, log.Last())
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	stop()
	<-ended
	log, warm := a.open("b", func() *ingest.Past { return s.Take(follow.WithoutParts) })
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if known := warm.Filter().Known(nil, gone); len(known) > 0 {
		t.Errorf("of the removed rider is known %+v", known)
	}
	_, cold := a.open("c", nothing)
	alike(t, warm.Filter(), cold.Filter(), nil)
}

// streamOf is the stream of the log on a server.
func streamOf(t *testing.T, url string) jetstream.Stream {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), follow.WithoutParts)
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

// Without a checkpoint that it can read, a node does not read along a log that was trimmed: its state would be
// without the commits that are gone, and a takeover might read the checkpoint well.
func TestReadAlongNeedsTheTrimmed(t *testing.T) {
	a := &along{t: t, url: "nats://" + ingest.NATSServer(t), rng: rand.New(rand.NewPCG(1, 1)), pings: ingest.MadeUp(alongRiders, 30)}
	_, w := a.open("a", nothing)
	run, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(run) }()
	for range 3 {
		a.send(w, 100, false)
		if err := w.Save(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	stream := streamOf(t, a.url)
	if err := stream.Purge(t.Context(), jetstream.WithPurgeSequence(3)); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "file") // no directory can be in it
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := follow.NewSpare(follow.Config{URL: a.url, Dir: filepath.Join(file, "follow"), Filter: dedupe.DefaultConfig(), Logger: slog.New(slog.DiscardHandler)}, 1)
	s.Follow(follow.WithoutParts)
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		note := s.Notes()[0]
		if strings.HasPrefix(note, "cold: ") && strings.Contains(note, ".checkpoint: ") {
			break
		}
		if !strings.HasSuffix(note, ": begins") || time.Since(began) > patience {
			t.Fatalf("the log is read along all the same, or does not say why not: %q", note)
		}
	}
	if s.Take(follow.WithoutParts) != nil {
		t.Error("a state is taken")
	}
	stop()
	<-ended
}

// A log that is damaged behind its newest checkpoint is not read again and again without a pause, and not said to be
// attended.
func TestReadAlongPausesAtDamage(t *testing.T) {
	a := &along{t: t, url: "nats://" + ingest.NATSServer(t), rng: rand.New(rand.NewPCG(1, 1)), pings: ingest.MadeUp(alongRiders, 30)}
	log, w := a.open("a", nothing)
	run, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(run) }()
	a.send(w, 100, false)
	if err := w.Save(context.Background()); err != nil {
		t.Fatal(err)
	}
	a.send(w, 300, false)
	stream := streamOf(t, a.url)
	if err := stream.DeleteMsg(t.Context(), stream.CachedInfo().State.LastSeq-1); err != nil {
		t.Fatal(err)
	}
	began := make(chan time.Time, 1000)
	s := follow.NewSpare(follow.Config{URL: a.url, Dir: filepath.Join(t.TempDir(), "follow"), Filter: dedupe.DefaultConfig(), Logger: slog.New(beginnings{slog.DiscardHandler, began})}, 1)
	s.Follow(follow.WithoutParts)
	first, second := <-began, <-began
	if log.Attended(context.Background()) {
		t.Error("the log is attended by a node that has no state")
	}
	s.Take("")
	if second.Sub(first) < time.Second {
		t.Errorf("the log is read anew after %v", second.Sub(first))
	}
	stop()
	<-ended
}

// beginnings tells when the log is read along from a checkpoint on.
type beginnings struct {
	slog.Handler
	to chan time.Time
}

func (b beginnings) Enabled(context.Context, slog.Level) bool { return true }
func (b beginnings) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "the log is read along" {
		b.to <- r.Time
	}
	return nil
}
