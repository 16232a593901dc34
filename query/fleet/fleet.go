// Package fleet knows where all riders are, for people who watch them on a map.
//
// It keeps a copy of the newest ping of each track that the writer's filter knows, and
// brings it up to date once a second at most, for all who look at it together. It asks the
// writer in parts that are short, and only for tracks that had a ping since. While nobody
// looks it does nothing, and after a while it forgets everything. Where nodes share the riders, it
// asks the other nodes in the same way.
//
// It promises neither to show each ping (of several pings of a track within a second the
// newest is seen) nor to be right to the second about silence: a track is marked within
// sweepParts snapshots.
package fleet

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"
	"unsafe"

	"pingline"
	"pingline/dedupe/slab"
	"pingline/ingest"
	"pingline/partition"
)

// Limits of silence.
const (
	StaleAfter = 2 * time.Minute  // a rider whose newest ping is older is marked stale
	GoneAfter  = 30 * time.Minute // a rider whose newest ping is older is left out of streams
)

const (
	snapshotEvery = 900 * time.Millisecond // least time between two snapshots: who looks each second sees a new one
	idleAfter     = time.Minute            // everything is forgotten when nobody has looked for so long
	sweepParts    = 16                     // snapshots after which the silence of every track was looked at
	keptSnapshots = 120                    // snapshots from which a stream can go on
)

// Config sets up a Map. Newest is required.
type Config struct {
	// Newest asks the writer for the next part of the newest pings: see
	// ingest.Writer.NewestPings.
	Newest func(*ingest.NewestPings) error
	// Others ask the owners of the other parts of the riders in the same way. A part that does not
	// answer stays as it was, and what is told is partial.
	Others []func(*ingest.NewestPings) error
	// MaxRiders is the most tracks that a filter knows.
	MaxRiders int
	// Cells returns the live activity in at most most cells of a resolution that touch a
	// box, in order of cells, and whether a part of the riders did not answer; nil if there is none.
	Cells func(box partition.Box, res, most int) (list []Activity, partial bool, err error)
	// Resolutions are the resolutions of cells that may be looked at.
	Resolutions []int
}

// Map is the newest pings of all tracks. It is safe for concurrent use.
type Map struct {
	cfg Config

	refreshing sync.Mutex // held while a snapshot is taken; taken before mu
	feeds      []*feed    // of this node, and of others
	at         time.Time  // when the last snapshot was begun
	asked      time.Time  // when somebody looked at riders last
	riders     time.Time  // when the last snapshot with riders was begun
	idle       *time.Timer

	mu      sync.RWMutex // guards the fields below; taken after refreshing
	start   uint64       // names the numbering of items and snapshots, at random
	paging  uint64       // names the numbering of items as cursors have it
	seq     uint32       // number of the last snapshot, made or being made
	made    uint32       // number of the last snapshot that is complete
	partial bool         // riders of other nodes are missing, or as they were
	rows    slab.Slab[row]
	names   slab.Slab[string] // of tracks: see dedupe.RiderDevice
	free    []uint32          // items without a track
	grid    grid
	swept   uint32 // item at which the sweep goes on
	layers  map[int]*layer
}

// row is the newest ping of a track.
type row struct {
	fix   pingline.Fix
	known bool
	stale bool
}

// New returns a Map that knows nothing before somebody looks.
func New(cfg Config) *Map {
	f := &Map{cfg: cfg, layers: make(map[int]*layer), feeds: []*feed{{newest: cfg.Newest}}}
	for _, newest := range cfg.Others {
		f.feeds = append(f.feeds, &feed{newest: newest, far: true})
	}
	f.reset()
	f.idle = time.AfterFunc(idleAfter, f.forget)
	f.idle.Stop()
	return f
}

// MaxBytes returns about the most memory that a Map takes, besides the names of tracks,
// which it shares with the filter of its node.
func (c *Config) MaxBytes() int64 {
	each, parts := int64(unsafe.Sizeof(row{})+unsafe.Sizeof("")+unsafe.Sizeof(item{}))+perTile, int64(1+len(c.Others))
	if parts > 1 {
		each += perFar
	}
	exits := mostExits*int64(unsafe.Sizeof(exit{})) + squares*perSquare
	return parts*int64(c.MaxRiders)*each + int64(len(c.Resolutions))*(mostCells*perCell+exits) + exits + 4<<20
}

// Bytes returns the memory that f takes.
func (f *Map) Bytes() int64 {
	f.mu.RLock()
	defer f.mu.RUnlock()
	n := f.rows.Bytes() + f.names.Bytes() + f.grid.bytes() + 4*int64(cap(f.free))
	for _, s := range f.feeds[1:] {
		n += int64(s.items.Last) * perFar
	}
	for _, l := range f.layers {
		n += l.bytes()
	}
	return n
}

// reset forgets everything. Cursors and ids of events from before are void.
func (f *Map) reset() {
	f.start = rand.Uint64() | 1
	f.paging = f.start
	f.rows, f.names, f.free, f.grid, f.swept = slab.Slab[row]{}, slab.Slab[string]{}, nil, grid{oldest: f.seq}, 0
}

// forget is called when nobody has looked for a while.
func (f *Map) forget() {
	f.refreshing.Lock()
	defer f.refreshing.Unlock()
	if time.Since(f.at) < idleAfter {
		return
	}
	f.riders = time.Time{}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.feeds {
		*s = feed{newest: s.newest, far: s.far}
	}
	f.reset()
	clear(f.layers)
}

// Look selects layers of the map.
type Look struct {
	Riders bool
	Res    int // resolution of cells; below 0: no cells
}

// Refresh makes sure that there is a snapshot of what is looked at no older than a second.
// Others who ask at the same time wait for the same snapshot. An error wraps
// ingest.ErrUnavailable.
func (f *Map) Refresh(at Look) error {
	f.refreshing.Lock()
	defer f.refreshing.Unlock()
	now := time.Now()
	f.idle.Reset(idleAfter)
	fresh := !f.at.IsZero() && now.Sub(f.at) < snapshotEvery
	if at.Riders {
		f.asked = now
		fresh = fresh && f.riders.Equal(f.at)
	}
	if at.Res >= 0 {
		l := f.layer(at.Res)
		l.asked = now
		fresh = fresh && l.at.Equal(f.at)
	}
	if fresh {
		return nil
	}
	f.mu.Lock()
	f.seq++
	f.mu.Unlock()
	if !f.asked.IsZero() && now.Sub(f.asked) < idleAfter {
		if err := f.takeRiders(now); err != nil {
			return fmt.Errorf("where the riders are is not known now: %w", err)
		}
		f.riders = now
	}
	for res, l := range f.layers {
		if now.Sub(l.asked) < idleAfter {
			list, partial, err := f.cfg.Cells(globe, res, mostCells+1)
			if err != nil {
				return fmt.Errorf("cells of resolution %d: %w", res, err)
			}
			f.mu.Lock()
			l.partial = partial
			l.take(f.seq, list)
			f.mu.Unlock()
			l.at = now
		}
	}
	f.complete(now)
	f.at = now
	return nil
}

var globe = partition.Box{West: -180, South: -90, East: 180, North: 90}

// layer returns the layer of a resolution.
func (f *Map) layer(res int) *layer {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := f.layers[res]
	if l == nil {
		l = &layer{grid: grid{oldest: f.seq}}
		f.layers[res] = l
	}
	return l
}

// mark notes how long a track has been silent.
func (f *Map) mark(track uint32, now time.Time) {
	r := f.rows.At(track)
	age := time.Duration(now.UnixMilli()-r.fix.At) * time.Millisecond
	if stale := age > StaleAfter; stale != r.stale {
		r.stale = stale
		f.grid.touch(f.seq, track)
	}
	f.grid.hide(f.seq, track, age > GoneAfter)
}

// complete completes a snapshot. It marks tracks that have become silent, a part of all
// in each snapshot.
func (f *Map) complete(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for range (f.rows.Last + sweepParts - 1) / sweepParts {
		if f.swept++; f.swept > f.rows.Last {
			f.swept = 1
		}
		if f.rows.At(f.swept).known {
			f.mark(f.swept, now)
		}
	}
	f.made = f.seq
	if f.seq > keptSnapshots {
		f.grid.forget(f.seq - keptSnapshots)
		for _, l := range f.layers {
			l.grid.forget(f.seq - keptSnapshots)
		}
	}
}

// cursor names an item, for as long as items are numbered as they are.
func (f *Map) cursor(track uint32) string {
	return strconv.FormatUint(f.paging, 36) + "." + strconv.FormatUint(uint64(track), 36)
}
