package reshard

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pingline"
	"pingline/partition"
	"pingline/queue"
	"pingline/sink"
	"pingline/sink/store"
	"pingline/sink/store/storetest"
)

// shelf is a store in memory. It keeps who was written when.
type shelf struct {
	mu      sync.Mutex
	away    bool            // no write is answered
	refuses bool            // pings of riders named bad-… are refused
	rows    map[string]bool // rider and time
	closed  bool
}

func (s *shelf) AppendRow(dst []byte, e *pingline.Entry) []byte {
	return fmt.Appendf(dst, "%s %d\n", e.Rider, e.At)
}

func (s *shelf) Write(_ context.Context, rows store.Rows) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return &store.Refusal{Kind: store.Retry, Err: errors.New("closed")}
	case s.away:
		return &store.Refusal{Kind: store.Retry, Err: errors.New("no answer")}
	case s.refuses && bytes.Contains(rows.Bytes, []byte("bad-")):
		return &store.Refusal{Kind: store.BadRows, Reason: "bad", Err: errors.New("a bad row"), All: rows.N == 1}
	}
	for row := range bytes.Lines(rows.Bytes) {
		if s.rows == nil {
			s.rows = make(map[string]bool)
		}
		s.rows[strings.TrimSpace(string(row))] = true
	}
	return nil
}

func (s *shelf) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

func (s *shelf) set(to func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	to()
}

func (s *shelf) has(row string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rows[row]
}

func (s *shelf) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.rows)
}

// rig is a set of shelves over a log, in a directory that outlives it.
type rig struct {
	t       *testing.T
	dir     string
	log     *queue.Log
	totals  queue.Totals
	shelves map[string]*shelf
	cfg     sink.Config
	eras    *Eras
	stop    func()
	asking  sync.Mutex // held while eras are asked, or replaced
	logged  *said
}

// said is what was logged.
type said struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *said) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

// newRig begins with a log and the shelves a, b, c and d, of which flags are those of the flags.
func newRig(t *testing.T, flags ...string) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir(), shelves: make(map[string]*shelf)}
	for _, name := range []string{"a", "b", "c", "d"} {
		r.shelves[name] = new(shelf)
	}
	t.Cleanup(func() {
		if r.stop != nil {
			r.stop()
		}
		if r.log != nil {
			_ = r.log.Close()
		}
	})
	r.openLog()
	r.flags(flags...)
	return r
}

func (r *rig) openLog() {
	r.t.Helper()
	var err error
	if r.log, err = queue.Open(context.Background(), queue.Config{Dir: filepath.Join(r.dir, "log"), Logger: slog.New(slog.DiscardHandler)}); err != nil {
		r.t.Fatal(err)
	}
}

// flags sets the shards that the next open is told of.
func (r *rig) flags(names ...string) {
	r.t.Helper()
	r.logged = new(said)
	r.cfg = sink.Config{
		Log: r.log, BatchWait: 10 * time.Millisecond, RetryMax: 50 * time.Millisecond, JumpAfter: -1,
		DeadLetterDir: filepath.Join(r.dir, "deadletter"), Logger: slog.New(slog.NewTextHandler(r.logged, nil)),
	}
	var over []partition.Shard
	for _, name := range names {
		over = append(over, partition.Shard{Name: name, Weight: 1})
		r.cfg.Shards = append(r.cfg.Shards, r.shard(name))
	}
	var err error
	if r.cfg.Spread, err = partition.NewShards(over...); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) shard(name string) sink.ShardStore {
	return sink.ShardStore{Name: name, Store: r.shelves[name]}
}

// open opens the sinks, and runs them.
func (r *rig) open() {
	r.t.Helper()
	var err error
	if r.eras, err = Open(r.cfg, nil); err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.eras.Run(ctx) }()
	r.stop = func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Errorf("Run: %v", err)
		}
		r.stop = nil
	}
	r.until("the sinks run", func() bool {
		r.eras.mu.RLock()
		defer r.eras.mu.RUnlock()
		return r.eras.group != nil
	})
}

// restart ends the sinks and the log, and opens both again with other shards in the flags.
func (r *rig) restart(flags ...string) {
	r.t.Helper()
	r.stop()
	if err := r.log.Close(); err != nil {
		r.t.Fatal(err)
	}
	r.openLog()
	r.flags(flags...)
	r.open()
}

// write appends a commit of pings of riders, and returns their rows.
func (r *rig) write(riders ...string) (rows []string) {
	r.t.Helper()
	list := storetest.Fleet(r.totals[pingline.TotalPings], len(riders))
	for i := range list {
		list[i].Rider, list[i].Verdict = riders[i], pingline.Accepted
		rows = append(rows, fmt.Sprintf("%s %d", list[i].Rider, list[i].At))
	}
	r.totals[pingline.TotalPings] += uint64(len(list))
	r.totals[pingline.TotalStored] += uint64(len(list))
	if _, err := r.log.Append(context.Background(), storetest.Commit(list...), r.totals, false); err != nil {
		r.t.Fatal(err)
	}
	return rows
}

// many are the names of n riders.
func many(prefix string, n int) (riders []string) {
	for i := range n {
		riders = append(riders, fmt.Sprint(prefix, i))
	}
	return riders
}

// until waits until ok, for as long as a busy machine may take.
func (r *rig) until(what string, ok func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatalf("waited in vain: %s; %+v", what, r.eras.Status())
		}
	}
}

// settled waits until all lanes of all eras have come to the end of the log.
func (r *rig) settled() {
	r.t.Helper()
	r.until("all is written", func() bool { return r.eras.WrittenAll() > r.log.Last() && r.eras.Lowest() > r.log.Last() })
}

func (r *rig) start(o Order, shards ...string) {
	r.t.Helper()
	var stores []sink.ShardStore
	for _, name := range shards {
		stores = append(stores, r.shard(name))
	}
	if _, _, err := r.eras.Start(o, stores); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// readable checks that each row is in a shard that is read.
func (r *rig) readable(rows []string) {
	r.t.Helper()
	reading := r.eras.Reading()
	missing := 0
	for _, row := range rows {
		if !slices.ContainsFunc(reading, func(name string) bool { return r.shelves[name].has(row) }) {
			missing++
		}
	}
	if missing > 0 {
		r.t.Errorf("%d of %d rows are in no shard that is read: %v", missing, len(rows), reading)
	}
}
