package moving

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"pingline"
	"pingline/partition"
	"pingline/queue"
	"pingline/sink"
	"pingline/sink/reshard"
	"pingline/sink/store"
	"pingline/sink/store/storetest"
)

// box is a store in memory that can do all that one can. Its units are cells, or days.
type box struct {
	byDay bool

	mu      sync.Mutex
	rows    map[string]pingline.Entry
	erasing func(u store.Unit) // called before a unit is deleted
	writing func(rows int)     // called before a write
	loses   func(e *pingline.Entry) bool
	away    bool          // no write is taken
	keep    time.Duration // of rows; older ones are taken, and deleted; 0: for ever
}

func (b *box) AppendRow(dst []byte, e *pingline.Entry) []byte {
	row := pingline.AppendEntry(nil, e, 0)
	return append(binary.LittleEndian.AppendUint32(dst, uint32(len(row))), row...)
}

func (b *box) Write(_ context.Context, rows store.Rows) error {
	b.mu.Lock()
	writing := b.writing
	b.mu.Unlock()
	if writing != nil {
		writing(rows.N)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.away {
		return &store.Refusal{Kind: store.Retry, Err: errors.New("no answer")}
	}
	for text := rows.Bytes; len(text) > 0; {
		n := 4 + binary.LittleEndian.Uint32(text)
		var e pingline.Entry
		if _, err := pingline.DecodeEntry(&e, slices.Clone(text[4:n]), 0); err != nil {
			return err
		}
		if (b.loses == nil || !b.loses(&e)) && (b.keep == 0 || time.Since(time.UnixMilli(e.At)) < b.keep) {
			b.rows[identity(&e)] = e
		}
		text = text[n:]
	}
	return nil
}

func (b *box) PointsNamed(context.Context, string, int64, int64, func(p *pingline.Point) error, ...pingline.Tag) error {
	return nil
}

func (b *box) Retention(context.Context) (keep time.Duration, told bool) { return b.keep, true }

func (b *box) Close() error { return nil }

// set changes a box.
func (b *box) set(to func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	to()
}

func identity(e *pingline.Entry) string {
	return fmt.Sprint(e.Cell, e.Device, e.Late, e.Corrected, e.Rider, e.At, e.Nano())
}

func (b *box) list(is func(e *pingline.Entry) bool) (list []pingline.Entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.rows {
		e.SubKey = 0 // no store keeps it
		if is(&e) {
			list = append(list, e)
		}
	}
	slices.SortFunc(list, func(a, b pingline.Entry) int { return cmp.Compare(a.At, b.At) })
	return list
}

func (b *box) all() []pingline.Entry {
	return b.list(func(*pingline.Entry) bool { return true })
}

func (b *box) PingsOfCells(_ context.Context, q store.Query, cells []uint64, each func(e *pingline.Entry, nano int64) error) error {
	for _, e := range b.list(func(e *pingline.Entry) bool {
		return q.From <= e.At && e.At < q.To && (cells == nil || slices.Contains(cells, e.Cell))
	}) {
		if err := each(&e, e.Nano()); err != nil {
			return err
		}
	}
	return nil
}

func (b *box) Points(ctx context.Context, q store.Query, each func(e *pingline.Entry, nano int64) error) error {
	return b.PingsOfCells(ctx, q, nil, each)
}

func (b *box) unit(e *pingline.Entry) store.Unit {
	u := store.DayUnit("", store.Day(e.At), store.All().From, store.All().To)
	if !b.byDay {
		u.InCell, u.Cell = true, e.Cell
	}
	return u
}

func (b *box) Units(_ context.Context, name string, from, to int64, each func(u store.Unit, rows uint64) error) error {
	counts := make(map[store.Unit]uint64)
	for _, e := range b.list(func(e *pingline.Entry) bool { return name == "" && from <= e.At && e.At < to }) {
		counts[b.unit(&e)]++
	}
	for u, n := range counts {
		if err := each(u, n); err != nil {
			return err
		}
	}
	return nil
}

func (b *box) EraseUnit(_ context.Context, u store.Unit) error {
	b.mu.Lock()
	erasing := b.erasing
	b.mu.Unlock()
	if erasing != nil {
		erasing(u)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for key, e := range b.rows {
		if u.From <= e.At && e.At < u.To && (!u.InCell || u.Cell == e.Cell) {
			delete(b.rows, key)
		}
	}
	return nil
}

// stubborn is a box that deletes nothing, and that reads no cell alone.
type stubborn struct {
	store.Store
	store.Reader
}

// dayReader is a box with days, as a ClickHouse has them.
type dayReader struct {
	store.Store
	store.Reader
	store.Lister
	store.UnitEraser
}

// rig is a set of boxes over a log, with a mover.
type rig struct {
	t      *testing.T
	dir    string
	log    *queue.Log
	totals queue.Totals
	boxes  map[string]*box
	stores map[string]store.Store
	eras   *reshard.Eras
	mover  *Mover
	rate   float64
	wrote  []pingline.Entry
	stop   func()
}

func newRig(t *testing.T, names ...string) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir(), boxes: make(map[string]*box), stores: make(map[string]store.Store)}
	for _, name := range []string{"a", "b", "c", "d"} {
		r.boxes[name] = &box{rows: make(map[string]pingline.Entry)}
		r.stores[name] = r.boxes[name]
	}
	t.Cleanup(func() {
		if r.stop != nil {
			r.stop()
		}
	})
	r.open(names...)
	return r
}

// byDays has a shard's units be days.
func (r *rig) byDays(name string) {
	b := r.boxes[name]
	b.byDay = true
	r.stores[name] = dayReader{b, b, b, b}
}

func (r *rig) shard(name string) sink.ShardStore {
	return sink.ShardStore{Name: name, Store: r.stores[name]}
}

// open opens all, with some shards in the flags; only the first two are spread over.
func (r *rig) open(names ...string) {
	r.t.Helper()
	var err error
	if r.log, err = queue.Open(context.Background(), queue.Config{Dir: filepath.Join(r.dir, "log"), Logger: slog.New(slog.DiscardHandler)}); err != nil {
		r.t.Fatal(err)
	}
	cfg := sink.Config{
		Log: r.log, BatchWait: 5 * time.Millisecond, RetryMax: 50 * time.Millisecond, JumpAfter: -1,
		DeadLetterDir: filepath.Join(r.dir, "deadletter"), Logger: slog.New(slog.DiscardHandler),
	}
	for _, name := range names {
		cfg.Shards = append(cfg.Shards, r.shard(name))
	}
	if cfg.Spread, err = partition.NewShards(spread(names...)...); err == nil {
		r.eras, err = reshard.Open(cfg, nil)
	}
	if err == nil {
		r.mover, err = New(Config{Set: "main", Eras: r.eras, Dir: r.dir, Logger: slog.New(slog.DiscardHandler)})
	}
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := r.eras.Run(ctx); err != nil {
			r.t.Errorf("Run: %v", err)
		}
	})
	running.Go(func() { _ = r.mover.Run(ctx) })
	r.stop = func() {
		cancel()
		running.Wait()
		_ = r.log.Close()
		r.stop = nil
	}
}

func (r *rig) until(event string, ok func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(4 * time.Minute); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatalf("waited in vain: %s; %+v; %+v", event, r.eras.Status(), r.mover.Status())
		}
	}
}

// stage waits until history is as far.
func (r *rig) stage(is MoveStage) {
	r.t.Helper()
	r.until("history is "+string(is), func() bool { s := r.mover.Status(); return s != nil && s.Stage == is })
}

// write appends a commit.
func (r *rig) write(list ...pingline.Entry) {
	r.t.Helper()
	r.totals[pingline.TotalPings] += uint64(len(list))
	r.totals[pingline.TotalStored] += uint64(len(list))
	if _, err := r.log.Append(context.Background(), storetest.Commit(list...), r.totals, false); err != nil {
		r.t.Fatal(err)
	}
	r.wrote = append(r.wrote, list...)
}

func (r *rig) settled() {
	r.t.Helper()
	r.until("all is written", func() bool { return r.eras.WrittenAll() > r.log.Last() })
}

// start starts a change; it may fail only if that is wanted.
func (r *rig) start(o reshard.Order, names ...string) {
	r.t.Helper()
	var fresh []sink.ShardStore
	for _, name := range names {
		fresh = append(fresh, r.shard(name))
	}
	if o.Move != nil {
		o.Move.Rate = r.rate
	}
	if _, _, err := r.eras.Start(o, fresh); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// whole checks that each row that was written is in one of the shards that are read at least, with
// its fields, and returns how many are in two.
func (r *rig) whole() (twice int) {
	r.t.Helper()
	have := make(map[string]int)
	for _, name := range r.eras.Reading() {
		for _, e := range r.boxes[name].all() {
			have[fmt.Sprintf("%s %+v", identity(&e), e.Ping)]++
		}
	}
	lost := 0
	for _, e := range r.wrote {
		switch n := have[fmt.Sprintf("%s %+v", identity(&e), e.Ping)]; {
		case n == 0:
			lost++
		case n > 1:
			twice++
		}
	}
	if lost > 0 {
		r.t.Errorf("%d rows of %d are in no shard that is read: %v", lost, len(r.wrote), r.eras.Reading())
	}
	return twice
}

// days is rows of three days in twenty cells.
func days(seed uint64, n int) []pingline.Entry {
	list := storetest.Fleet(seed, n)
	for i := range list {
		list[i].At -= int64(i%3) * 24 * time.Hour.Milliseconds()
		list[i].Verdict = pingline.Accepted
	}
	return list
}

func replace(old, by string) reshard.Order {
	return reshard.Order{Replace: map[string]string{old: by}, Move: &reshard.Move{}}
}
