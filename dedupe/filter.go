// Package dedupe drops pings that add nothing to a track.
//
// A track belongs to a rider's device. Every ping that the filter drops lies within
// its own bound of the line between the stored pings around it, as a reader draws it:
// linear in time, latitude and longitude, distances on the great circle. The
// bound holds for each ping by itself, whatever arrives later, in any order, and
// however the bound in force changes.
//
// The state is held in memory only, and it is a function of the entries that
// Judge, Idle and Flush hand out: a caller that logs them rebuilds it with
// Replay, or with Load and Replay of the later entries. Each trip of a track is on at
// least one stored ping, and so is each change of an attribute of Keep. Other fields do
// not count: speed, heading and battery of a dropped ping are lost.
package dedupe

import (
	"fmt"
	"hash/maphash"
	"math"
	"time"

	"pingline"
	"pingline/dedupe/carried"
	"pingline/dedupe/horizon"
	"pingline/dedupe/slab"
	"pingline/dedupe/vertices"
	"pingline/dedupe/wheel"
)

// Config sets up a Filter. DefaultConfig fills it; New defaults nothing,
// because 0 is a setting.
type Config struct {
	LiveGap     time.Duration // a moving rider's newest stored ping is at most this old; 0: no limit
	MaxGap      time.Duration // longest a line over dropped pings may get; 0: no limit
	IdleFlush   time.Duration // a held ping is stored after waiting this long; 0: it waits for the next
	MaxRiders   int           // tracks known at once; beyond, the longest silent is forgotten, tracks with a single ping first
	RecentBytes int           // memory of all tracks together for stored pings before the last 8 of a track
	Keep        []string      // attributes: a ping in which one of them changed is stored
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

// Bound is the greatest distance, in metres, of a dropped ping from the line: the larger
// of MaxError and the fix's own accuracy, the latter up to AccuracyCap. It is used as
// float32, the precision of the log.
type Bound struct {
	MaxError    float64 // 0 drops duplicates only, unless a fix's accuracy allows more
	AccuracyCap float64 // 0 ignores accuracy
}

// Of returns the bound of a fix, in metres.
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

// maxBound is half the way round the globe, in metres: no distance is greater.
const maxBound = 2.1e7

// Batch takes the output of the filter. The filter appends to it; the caller logs the
// entries in order and resets it.
type Batch struct {
	Entries []pingline.Entry
	Since   []int64 // for each entry, the time, ms, before which readers see the same without it
	Settled []Settlement
}

// Reset empties the batch.
func (b *Batch) Reset() {
	b.Entries, b.Since, b.Settled = b.Entries[:0], b.Since[:0], b.Settled[:0]
}

// Settlement is the fate of a ping that was held before.
type Settlement struct {
	Token  uint64 // as given to Judge; 0 if the ping was held by a Replay
	Stored bool   // its entry is in the batch; otherwise it is redundant for good
}

func (b *Batch) settle(token uint64, stored bool) {
	b.Settled = append(b.Settled, Settlement{token, stored})
}

// Values of Entry.State: the place of a ping in its track.
const (
	aside    uint8 = iota // on no open line: redundant, late, or stored again
	first                 // the first vertex of a track, known before or not
	next                  // the newest of its track; a ping still held on the open line is covered by it
	back                  // between two stored pings; a ping still held in the backlog is covered by it
	stranger              // late, of a track not known before or after; only in logs of older versions
	newcomer              // late, of a track not known before, and now known, without vertices
)

// Counts are totals since New.
type Counts struct {
	Late      uint64 // pings stored out of order
	Conflicts uint64 // pings stored with another position at an instant already known
	Evicted   uint64 // tracks forgotten for lack of room
}

// Filter judges pings, track by track. It is for one goroutine.
//
// A vertex is a stored ping that is not late: readers draw the line through the
// vertices. Each track has an open line, from its newest vertex to the ping it holds,
// and may have a second open line in an old segment (a backlog).
//
// Its methods form two layers. The lower layer knows tracks (tracks.go, room.go) and
// changes them by an entry (apply.go, fill.go), and judges nothing. The upper layer
// judges (judge.go, gap.go), and changes nothing but by an entry. Replay, checkpoints
// and the idle wheel use both.
type Filter struct {
	cfg     Config
	liveGap int64 // ms; the largest int64 if off
	maxGap  int64 // ms; the largest int64 if off

	carried *carried.Carried // attributes of held pings, last values of Keep

	seed   maphash.Seed
	index  slab.Index
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
	forgot  horizon.Horizon // a new track's first vertex must be later
	torn    horizon.Horizon // the first vertex of a broken track must be later
	wall    int64           // our clock, by which pings are judged, ms since 1970
	latest  int64           // the latest that wall has been
	caught  int64           // forgot when wall last caught up with it, after it had gone back
	damaged bool
	wheel   wheel.Wheel
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
	attrs, err := carried.New(cfg.Keep, attrBytes(&cfg))
	if err != nil {
		return nil, fmt.Errorf("dedupe: %w", err)
	}
	f := &Filter{
		cfg:     cfg,
		carried: attrs,
		liveGap: orNever(cfg.LiveGap),
		maxGap:  orNever(cfg.MaxGap),
		seed:    maphash.MakeSeed(),
		forgot:  horizon.Horizon{Counts: math.MinInt64, Said: math.MinInt64},
		torn:    horizon.Horizon{Counts: math.MinInt64, Said: math.MinInt64},
		wall:    math.MaxInt64,
		latest:  math.MinInt64,
		caught:  math.MinInt64,
		wheel:   wheel.New(cfg.IdleFlush),
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
