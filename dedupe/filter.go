// Package dedupe tells which pings of a track say nothing new.
//
// A track is a rider's device. Every ping the filter drops lies within its own
// bound of the line between the stored ones around it, as a reader draws it:
// linear in time, latitude and longitude, distances on the great circle. The
// bound holds for each ping by itself, whatever arrives later, in whatever
// order, and however the bound in force changes.
//
// The state is held in memory only, and it is a function of the entries that
// Judge, Idle and Flush hand out: a caller that logs them rebuilds it with
// Replay, or with Load and Replay of what came after. Each trip that pings of a
// track bear is on one of its stored points. What else a ping says besides its
// position is not looked at: speed, heading and battery of a dropped ping are lost.
package dedupe

import (
	"fmt"
	"hash/maphash"
	"math"
	"time"

	"pingline"
	"pingline/dedupe/slab"
	"pingline/dedupe/vertices"
)

// Config sets up a Filter. DefaultConfig fills it; New defaults nothing,
// because 0 is a setting.
type Config struct {
	LiveGap     time.Duration // a moving rider's newest stored ping is at most this old; 0: no limit
	MaxGap      time.Duration // longest a line over dropped pings may get; 0: no limit
	IdleFlush   time.Duration // a held ping is stored after waiting this long; 0: it waits for the next
	MaxRiders   int           // tracks known at once; beyond, the longest silent is forgotten, those with one ping first
	RecentBytes int           // memory for what is remembered of a track beyond its last 8 stored pings
}

// DefaultConfig returns the defaults of pingline serve.
func DefaultConfig() Config {
	return Config{
		LiveGap:     30 * time.Second,
		MaxGap:      300 * time.Second,
		IdleFlush:   60 * time.Second,
		MaxRiders:   1_000_000,
		RecentBytes: 64 << 20,
	}
}

// Bound says how far off a dropped ping may be: the larger of MaxError and the
// fix's own accuracy, the latter up to AccuracyCap. Metres. It is used as
// float32, the precision of the log.
type Bound struct {
	MaxError    float64 // 0 drops duplicates only, unless a fix's accuracy allows more
	AccuracyCap float64 // 0 leaves accuracy aside
}

// Of returns the bound of one fix, in metres.
func (b Bound) Of(f *pingline.Fix) float64 {
	e := float64(float32(b.MaxError))
	if f.Has(pingline.HasAccuracy) {
		e = max(e, min(float64(f.Accuracy), float64(float32(b.AccuracyCap))))
	}
	if !(e > 0) {
		return 0
	}
	return min(e, maxBound)
}

// maxBound is half the way round the globe: nothing is further off.
const maxBound = 2.1e7

// Batch takes what the filter puts out. The filter appends to it; the caller
// logs the entries in their order and resets it.
type Batch struct {
	Entries []pingline.Entry
	Since   []int64 // of each of Entries: before this time, ms, readers see the same without it
	Settled []Settlement
}

// Reset empties the batch.
func (b *Batch) Reset() {
	b.Entries, b.Since, b.Settled = b.Entries[:0], b.Since[:0], b.Settled[:0]
}

// Settlement is the fate of a ping that was held before.
type Settlement struct {
	Token  uint64 // as given to Judge; 0 if it was held before a Replay
	Stored bool   // its entry is in the batch; otherwise it is redundant for good
}

func (b *Batch) settle(token uint64, stored bool) {
	b.Settled = append(b.Settled, Settlement{token, stored})
}

// Kinds of entries: what Entry.State says about where a ping went.
const (
	aside    uint8 = iota // on no open line: redundant, late, or stored again
	first                 // the first vertex of a track, known before or not
	next                  // the newest of its track; a ping still held there is covered by it
	back                  // between two stored pings; a ping still held there is covered
	stranger              // late, of a track that was not known, and still is not; not judged so any more
	newcomer              // late, of a track that was not known: it is now, without vertices
)

// Counts are totals since New.
type Counts struct {
	Late      uint64 // stored out of order
	Conflicts uint64 // another position at an instant already known
	Evicted   uint64 // tracks forgotten for lack of room
}

// Filter judges pings, track by track. It is for one goroutine.
//
// A vertex is a stored ping that readers draw lines between: every one but the
// late. Each track has an open line, from its newest vertex to the ping it
// holds, and may have a second one in an old segment (a backlog).
//
// Its methods stand in layers. Those that know tracks (tracks.go, room.go) and change
// them by an entry (apply.go, fill.go) judge nothing. Those that judge (judge.go,
// gap.go) change nothing but by an entry. Replay, checkpoints and the idle wheel use
// both.
type Filter struct {
	cfg     Config
	liveGap int64 // ms; the largest int64 if off
	maxGap  int64 // ms; the largest int64 if off

	seed   maphash.Seed
	index  index
	tracks slab.Slab[track]
	names  slab.Slab[name]
	order  order
	free   []uint32 // tracks to use again, last first
	riders int
	text   int64 // bytes of names and trips

	devices     map[string]devices // by rider
	mostDevices int                // riders there at once; a map does not shrink

	blocks   vertices.Pool
	backlogs slab.Slab[backlog]
	noBack   []uint32 // backlogs to use again, last first

	holding int
	forgot  horizon // a new track's first vertex must be later
	torn    horizon // and that of a broken one
	wall    int64   // clock by which is judged, ms since 1970
	latest  int64   // the latest it has been
	caught  int64   // what counted as forgotten when it was last as late as before it went back
	damaged bool
	wheel   wheel
	flushed uint32 // where Flush goes on
	ahead   ahead
	loading *loading
	counts  Counts
}

// New returns an empty filter, or an error if a setting is out of range.
func New(cfg Config) (*Filter, error) {
	if cfg.LiveGap < 0 || cfg.MaxGap < 0 || cfg.IdleFlush < 0 || cfg.RecentBytes < 0 {
		return nil, fmt.Errorf("dedupe: negative setting in %+v", cfg)
	}
	if cfg.MaxRiders < 1 || cfg.MaxRiders > math.MaxInt32 {
		return nil, fmt.Errorf("dedupe: limit of %d riders not in [1, %d]", cfg.MaxRiders, math.MaxInt32)
	}
	f := &Filter{
		cfg:     cfg,
		liveGap: orNever(cfg.LiveGap),
		maxGap:  orNever(cfg.MaxGap),
		seed:    maphash.MakeSeed(),
		forgot:  horizon{math.MinInt64, math.MinInt64},
		torn:    horizon{math.MinInt64, math.MinInt64},
		wall:    math.MaxInt64,
		latest:  math.MinInt64,
		caught:  math.MinInt64,
		wheel:   newWheel(cfg.IdleFlush),
		ahead:   ahead{least: leastSlots},
	}
	f.blocks = vertices.NewPool(cfg.RecentBytes, func(i uint32) (recent *vertices.Recent, marks *uint32) {
		t := f.tracks.At(i)
		return &t.Recent, &t.marks
	})
	return f, nil
}

func orNever(d time.Duration) int64 {
	if d == 0 {
		return math.MaxInt64
	}
	return d.Milliseconds()
}

// Holding returns how many pings are held.
func (f *Filter) Holding() int { return f.holding }

// Riders returns how many tracks are known.
func (f *Filter) Riders() int { return f.riders }

// Counts returns totals since New; Replay adds nothing to them.
func (f *Filter) Counts() Counts { return f.counts }
