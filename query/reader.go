package query

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"time"

	"pingline"
	"pingline/ingest"
	"pingline/partition"
	"pingline/query/fleet"
	"pingline/query/history"
	"pingline/sink/store"
)

// Sources holds the functions from which a Reader answers; a question whose function
// is nil cannot be asked. All are safe for concurrent use.
type Sources struct {
	// Track returns a page of the points that q selects, in order of time, each
	// once.
	Track func(ctx context.Context, q store.Query) (Points, error)
	// Latest returns the newest point of each of a rider's devices.
	Latest func(ctx context.Context, rider string) (Points, error)
	// Cells returns the activity in at most most cells of a resolution that touch a
	// box, and whether a part of the riders did not answer; resolution -1 is the finest there is.
	Cells func(box partition.Box, res, most int) (list []Activity, partial bool, err error)
	// Past is the activity of earlier times.
	Past *history.History
	// Riders returns a page of the newest pings in a box: see fleet.Map.Riders.
	Riders func(q *fleet.InBox) (fleet.Riders, error)
	// Then returns where riders were at an earlier time, as far as stores tell.
	Then func(ctx context.Context, q *Then) (Seen, error)
	// Partitions returns how the load is spread over the shards of a set, or of all sets if
	// it is "". An error names the sets there are.
	Partitions func(set string) (Partitions, error)
	// Status returns how the node does, in JSON that its caller does not change: see
	// status.Sampler.JSON.
	Status func() ([]byte, error)
	// State returns all that the writer knows of a rider.
	State func(rider string) (*ingest.RiderState, error)
	// Line returns State and the pings in a stretch of the rider's tracks that wait to
	// be stored: see ingest.Writer.RiderLine.
	Line func(rider, device string, from, to int64, most int) (*ingest.RiderState, error)

	Shards int // number of shards asked at once for a track

	// Sets has a Reader of each set of shards that can be read, by its name: it answers from
	// the stores of that set, and from the writer's memory. The functions above answer from
	// the set that is read unless another is named.
	Sets map[string]*Reader
}

// Points are pings from a store or the writer's memory. The verdict of a ping that
// waits, and is not seen in a store yet, is Held.
type Points struct {
	List    []pingline.Entry
	More    bool // points behind the last were left out
	Partial bool // part of the sources did not answer

	MemoryOnly bool // no store answered: List has the pings that the writer knows

	Next, NextNano int64 // of a track with More: From and FromNano of the points left out
}

// Activity is the activity in a cell during a window.
type Activity = fleet.Activity

// Partitions says how points are spread over shards.
type Partitions struct {
	Imbalance float64      `json:"imbalance"` // most ÷ mean points of a shard, since the start; 1 is even
	Shards    []ShardShare `json:"shards"`
	HotCells  []BusyCell   `json:"hot_cells"`
}

// ShardShare is a shard's share of the points.
type ShardShare struct {
	Name   string  `json:"name"`
	Set    string  `json:"set"`    // that it is in
	Points uint64  `json:"points"` // since the start
	Share  float64 `json:"share"`  // of its set
	Up     bool    `json:"up"`
}

// BusyCell is a cell that is split, or gets more than the hot-cell rate.
type BusyCell struct {
	Cell   string  `json:"cell"`
	Rate   float64 `json:"rate"` // pings/s
	Splits int     `json:"splits"`
}

// Reader answers questions from the stores, the writer's memory and the roll-up
// together. Safe for concurrent use.
type Reader struct{ Sources }

// Newest returns the newest ping of each of a rider's devices, newest first: a held
// ping in full, a ping on its way to a store with its time and place only. It returns
// an error if no store answers and the writer knows nothing.
func (r *Reader) Newest(ctx context.Context, rider string) (Points, error) {
	// The store is asked second: a ping that left memory meanwhile is in the store.
	known, knownErr := r.State(rider)
	stored, err := r.Latest(ctx, rider)
	if err != nil && (knownErr != nil || len(known.Tracks) == 0) {
		return Points{}, err
	}
	list := stored.List
	if knownErr == nil {
		list = withKnown(list, known)
	}
	slices.SortFunc(list, func(a, b pingline.Entry) int {
		return cmp.Or(cmp.Compare(b.At, a.At), cmp.Compare(a.Device, b.Device))
	})
	return Points{List: list, Partial: stored.Partial || err != nil || knownErr != nil, MemoryOnly: err != nil}, nil //nolint:nilerr // the memory answers alone, and Partial says so
}

// withKnown adds to the newest points of the store the pings that only the writer
// knows.
func withKnown(list []pingline.Entry, l *ingest.RiderState) []pingline.Entry {
	stored := make(map[string]int, len(list)) // by device
	for i := range list {
		stored[list[i].Device] = i
	}
	for i := range l.Tracks {
		k := &l.Tracks[i]
		e := pingline.Entry{Cell: k.Cell, Ping: pingline.Ping{Rider: l.Rider, Device: k.Device, Trip: k.Trip, Attrs: k.Attrs, Fix: k.Fix}}
		if l.Waits(k) {
			e.Verdict = pingline.Held
		}
		switch at, known := stored[k.Device]; {
		case !known:
			list = append(list, e)
		case list[at].At < k.Fix.At || list[at].Late:
			list[at] = e
		}
	}
	return list
}

// Page returns a page of a rider's track, of stored pings and pings that wait to be
// stored. Complete is the time, ms, before which all pings taken in are on the page; 0
// if it is not known. Page returns an error if no store answers and the writer knows
// nothing of the rider.
func (r *Reader) Page(ctx context.Context, q store.Query) (page Points, complete int64, err error) {
	// The writer is asked first, so that the promise is about the pings that the
	// store then shows, and a ping that leaves memory meanwhile is in the store.
	known, knownErr := r.Line(q.Rider, q.Device, q.From, q.To, q.Limit+instantMost)
	if knownErr == nil {
		complete = max(0, min(known.Complete(q.Device), time.Now().UnixMilli()))
	}
	page, err = r.Track(ctx, q)
	if err != nil && knownErr == nil && len(known.Tracks) > 0 {
		page, err = Points{Partial: true, MemoryOnly: true}, nil
	}
	if err != nil || page.Partial {
		complete = 0
	}
	if err == nil && knownErr == nil {
		page = withWaiting(page, known.Waiting, &q)
	}
	return page, complete, err
}

// Gone says which points may be in a shard that was taken away.
type Gone struct {
	Before   func() int64  // points that came before this time, ms; 0: none
	MaxAhead time.Duration // most by which the ts of a point lies behind Before
	Logger   *slog.Logger  // gets a debug line for each shard that does not answer
}

// partial notes the shards that did not answer, and reports whether points from a time on
// may be missing.
func (g *Gone) partial(silent []error, from int64) bool {
	for _, err := range silent {
		g.Logger.Debug("some points are missing", "error", err)
	}
	before := g.Before()
	return len(silent) > 0 || before > 0 && from <= before+g.MaxAhead.Milliseconds()
}

// Of returns Sources whose Track, Latest and Then read s. reach is the longest time between
// two stored points of a track whose rider goes on sending.
func (s *Stores) Of(gone Gone, reach time.Duration) Sources {
	points := func(p Page, from int64) Points {
		return Points{List: p.Points, More: p.More, Partial: gone.partial(p.Silent, from), Next: p.Next, NextNano: p.NextNano}
	}
	return Sources{
		Track: func(ctx context.Context, q store.Query) (Points, error) {
			page, err := s.Track(ctx, q)
			return points(page, q.From), err
		},
		Latest: func(ctx context.Context, rider string) (Points, error) {
			page, err := s.Latest(ctx, rider)
			return points(page, 0), err
		},
		Then: func(ctx context.Context, q *Then) (Seen, error) {
			seen, silent, err := s.Then(ctx, q, reach)
			seen.Partial = gone.partial(silent, q.At-fleet.GoneAfter.Milliseconds())
			return seen, err
		},
		Shards: len(s.now()),
	}
}
