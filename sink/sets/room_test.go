package sets

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"pingline"
	"pingline/queue"
	"pingline/sink"
	"pingline/sink/store"
	"pingline/sink/store/storetest"
)

// patience bounds every wait for something that must happen.
const patience = 5 * time.Minute

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for limit := time.Now().Add(patience); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatal("never: " + what)
		}
	}
}

// shelf is a store in memory.
type shelf struct {
	mu   sync.Mutex
	dead bool
	rows map[string]bool
}

func (s *shelf) AppendRow(dst []byte, e *pingline.Entry) []byte {
	return fmt.Appendln(dst, e.Rider, e.At)
}

func (s *shelf) Write(_ context.Context, rows store.Rows) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead {
		return &store.Refusal{Kind: store.Retry, Err: errors.New("dead")}
	}
	for row := range strings.Lines(string(rows.Bytes)) {
		s.rows[row] = true
	}
	return nil
}

func (s *shelf) Close() error { return nil }

func (s *shelf) has() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.rows)
}

// A set that may be given up keeps no ping out of the log while its store is dead: the oldest
// of what waits for it is passed, and counted. What it lacks is what was counted, also after a
// restart, and is known until it is said to be elsewhere.
func TestSetIsGivenUpWhenTheLogFillsUp(t *testing.T) {
	quiet := slog.New(slog.DiscardHandler)
	log, err := queue.Open(t.Context(), queue.Config{Dir: t.TempDir(), MaxBytes: 4 << 20, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	var said strings.Builder
	letters := t.TempDir()
	main, archive := &shelf{rows: map[string]bool{}}, &shelf{rows: map[string]bool{}, dead: true}
	open := func(out io.Writer, moved ...string) (s *Sets, stop func()) {
		s, err := Open(sink.Config{
			Log: log, DeadLetterDir: letters, BatchWait: 10 * time.Millisecond, BatchLines: 200, RetryMax: 50 * time.Millisecond, Moved: moved, Logger: slog.New(slog.NewTextHandler(out, nil)),
		}, 0, []ShardSet{
			{Name: Main, Shards: []sink.ShardStore{{Name: "a", Store: main}}},
			{Name: "archive", Shards: []sink.ShardStore{{Name: "c", Store: archive}}, Routes: map[string]int{"activity": -1, "self": -1}, Drop: true},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		return s, func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
	s, stop := open(&said)
	entries := storetest.Fleet(1, 200)
	var totals queue.Totals
	written := 0
	for bytes := 0; bytes < 10<<20; {
		for i := range entries {
			entries[i].At = storetest.Recently + int64(written+i)
		}
		commit := storetest.Commit(entries...)
		written += len(entries)
		totals[pingline.TotalPings], totals[pingline.TotalStored] = uint64(written), uint64(written)
		if _, err := log.Append(t.Context(), commit, totals, false); err != nil {
			t.Fatalf("after %d bytes: %v", bytes, err)
		}
		bytes += len(commit)
		eventually(t, "there is room", func() bool {
			if err := log.TrimKept(); err != nil {
				t.Fatal(err)
			}
			return log.Bytes() < log.Limit()/2
		})
	}
	eventually(t, "main has all", func() bool { return main.has() == written })
	a := s.Accounts()["archive"].Pings
	if a.GivenUp == 0 || a.GivenUp+a.Queued != uint64(written) || archive.has() > 0 {
		t.Errorf("of %d pings the archive was given %d, %d were given up, and %d wait", written, archive.has(), a.GivenUp, a.Queued)
	}
	if notes := strings.Join(s.Notes(), "\n"); !strings.Contains(notes, "set archive: ") || !strings.Contains(notes, "given up") {
		t.Errorf("notes: %s", notes)
	}
	stop()
	if !strings.Contains(said.String(), "is given up") {
		t.Errorf("nobody is told: %s", said.String())
	}

	archive.dead = false
	s, stop = open(io.Discard)
	eventually(t, "all that is left is written", func() bool { return s.Accounts()["archive"].Pings.Queued == 0 })
	lacks := s.list[1].Lacks()
	if n := written - archive.has(); n == 0 || lacks.Pings != uint64(n) {
		t.Errorf("the archive lacks %d pings of %d, and %d were counted", n, written, lacks.Pings)
	}
	if s.GoneBefore("archive") == 0 || s.GoneBefore(Main) != 0 {
		t.Errorf("points may be missing before %d in the archive, %d in main", s.GoneBefore("archive"), s.GoneBefore(Main))
	}
	stop()
	_, stop = open(io.Discard, "archive")
	stop()
	s, stop = open(io.Discard)
	defer stop()
	if s.GoneBefore("archive") != 0 || len(s.Notes()) > 0 {
		t.Errorf("the points were moved, and %v, %d", s.Notes(), s.GoneBefore("archive"))
	}
}

// A set is not given up for the sake of room that a backup, or another reader of the log,
// would not let go.
func TestSetIsNotGivenUpInVain(t *testing.T) {
	quiet := slog.New(slog.DiscardHandler)
	log, err := queue.Open(t.Context(), queue.Config{Dir: t.TempDir(), MaxBytes: 4 << 20, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	main := &shelf{rows: map[string]bool{}}
	s, err := Open(sink.Config{Log: log, DeadLetterDir: t.TempDir(), BatchWait: 10 * time.Millisecond, BatchLines: 200, RetryMax: 50 * time.Millisecond, Logger: quiet}, 0, []ShardSet{
		{Name: Main, Shards: []sink.ShardStore{{Name: "a", Store: main}}},
		{Name: "archive", Shards: []sink.ShardStore{{Name: "c", Store: &shelf{dead: true}}}, Routes: map[string]int{"activity": -1, "self": -1}, Drop: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	pin, at := log.Pin()
	begin := log.Head()
	log.SetCursor("filter", begin)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	entries := storetest.Fleet(1, 200)
	written := 0
	for log.Bytes() < log.Limit()*3/8 {
		for i := range entries {
			entries[i].At = storetest.Recently + int64(written+i)
		}
		written += len(entries)
		if _, err := log.Append(t.Context(), storetest.Commit(entries...), queue.Totals{uint64(written), uint64(written)}, false); err != nil {
			t.Fatal(err)
		}
	}
	inVain := func(why string) {
		t.Helper()
		eventually(t, "main has passed all", func() bool { return s.list[0].Lowest() > log.Last() })
		if err := log.KeepCursors(); err != nil {
			t.Fatal(err)
		}
		if n := s.Accounts()["archive"].Pings.GivenUp; n > 0 || s.needed() > at.First {
			t.Errorf("%s, and the archive gives %d pings up, and what is before %d", why, n, s.needed())
		}
	}
	inVain("a backup and the filter hold the log")
	log.SetCursor("filter", log.Head())
	inVain("a backup holds the log")
	log.SetCursor("filter", begin)
	if err := log.KeepCursors(); err != nil {
		t.Fatal(err)
	}
	pin.Release()
	inVain("the filter holds the log")
	log.SetCursor("filter", log.Head())
	if err := log.KeepCursors(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the archive, which alone holds the log, is given up", func() bool { return s.Accounts()["archive"].Pings.GivenUp > 0 })
}

// Pings that are for other sets are not given up with a set.
func TestWhatIsForOthersIsNotGivenUp(t *testing.T) {
	quiet := slog.New(slog.DiscardHandler)
	log, err := queue.Open(t.Context(), queue.Config{Dir: t.TempDir(), Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	s, err := Open(sink.Config{Log: log, DeadLetterDir: t.TempDir(), BatchWait: 10 * time.Millisecond, Logger: quiet}, 0, []ShardSet{
		{Name: Main, Shards: []sink.ShardStore{{Name: "a", Store: &shelf{rows: map[string]bool{}}}}},
		{Name: "archive", Shards: []sink.ShardStore{{Name: "c", Store: &shelf{dead: true}}}, Routes: map[string]int{"location": -1, "event": -1, "activity": -1, "self": -1}, Drop: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := log.Append(t.Context(), storetest.Commit(storetest.Fleet(1, 200)...), queue.Totals{200, 200}, false); err != nil {
		t.Fatal(err)
	}
	s.list[1].GiveUp(math.MaxUint64)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	eventually(t, "all is passed", func() bool { return s.Accounts()["archive"].Pings.Queued == 0 })
	if a, lacks := s.Accounts()["archive"].Pings, s.list[1].Lacks(); a.Elsewhere != 200 || a.GivenUp != 0 || lacks.Pings != 0 {
		t.Errorf("of 200 pings for others: %+v, %+v", a, lacks)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A set that is added later lacks what the log does not have any more.
func TestSetThatIsAddedLacksWhatWasBefore(t *testing.T) {
	quiet := slog.New(slog.DiscardHandler)
	log, err := queue.Open(t.Context(), queue.Config{Dir: t.TempDir(), Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cfg := sink.Config{Log: log, DeadLetterDir: t.TempDir(), Logger: quiet}
	set := func(name, shard string) ShardSet {
		return ShardSet{Name: name, Shards: []sink.ShardStore{{Name: shard, Store: &shelf{rows: map[string]bool{}}}}}
	}
	open := func(list ...ShardSet) *Sets {
		t.Helper()
		s, err := Open(cfg, 0, list)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if at := open(set(Main, "a"), set("first", "b")).GoneBefore(Main, "first"); at != 0 {
		t.Errorf("sets of a new log lack what was before %d", at)
	}
	for i := range uint64(3) {
		entries := storetest.Fleet(i, 10)
		if _, err := log.Append(t.Context(), storetest.Commit(entries...), queue.Totals{10 * (i + 1), 10 * (i + 1)}, false); err != nil {
			t.Fatal(err)
		}
	}
	if at := open(set(Main, "a"), set("first", "b"), set("second", "c")).GoneBefore(Main, "first", "second"); at != 0 {
		t.Errorf("the log has all since its start, and sets lack what was before %d", at)
	}
	for name := range log.Cursors() {
		log.SetCursor(name, log.Head())
	}
	if err := errors.Join(log.KeepCursors(), func() error { _, err := log.Drop(); return err }()); err != nil || log.First() == 1 {
		t.Fatalf("the log begins at %d: %v", log.First(), err)
	}
	s := open(set(Main, "a"), set("first", "b"), set("second", "c"), set("third", "d"))
	if s.GoneBefore(Main, "first", "second") != 0 || s.GoneBefore("third") == 0 {
		t.Errorf("sets lack what was before %d, and the new one before %d", s.GoneBefore(Main, "first", "second"), s.GoneBefore("third"))
	}
	if len(s.Notes()) > 0 {
		t.Errorf("that is no trouble: %v", s.Notes())
	}
}
