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
	"pingline/sink/store"
)

// Sources is where a Reader looks. A question whose function is nil cannot be
// asked. All are safe for concurrent use.
type Sources struct {
	// Track returns a page of the points that q selects, in order of time, each
	// once.
	Track func(ctx context.Context, q store.Query) (Points, error)
	// Latest returns the newest point of each of a rider's devices.
	Latest func(ctx context.Context, rider string) (Points, error)
	// Cells returns the activity in the cells of a resolution that touch a box;
	// resolution -1 is the finest there is. It returns at most most of them.
	Cells func(box partition.Box, res, most int) ([]Activity, error)
	// Partitions returns how the load is spread.
	Partitions func() Partitions
	// State returns all that the writer knows of a rider.
	State func(rider string) (*ingest.RiderState, error)
	// Line returns that, and what of a stretch of the rider's tracks waits: see
	// ingest.Writer.RiderLine.
	Line func(rider, device string, from, to int64, most int) (*ingest.RiderState, error)

	Shards int // that are asked at once for a track
}

// Points are pings that a store or the writer's memory has. The verdict of one that
// waits, and is not seen in a store yet, is Held.
type Points struct {
	List    []pingline.Entry
	More    bool // points behind the last one were left out
	Partial bool // part of the sources did not answer

	MemoryOnly bool // no store did: these are those that the writer knows

	Next, NextNano int64 // of a track with More: From and FromNano of the points left out
}

// Activity is that of one cell in one window.
type Activity struct {
	Cell      uint64
	Res       int
	From      int64 // start of the window, ms
	WindowS   int64 // its length, s
	Pings     uint64
	Riders    uint64
	Moving    uint64
	Waiting   uint64
	SpeedMean float64 // m/s
	SpeedMax  float64
}

// Partitions says how points are spread over shards.
type Partitions struct {
	Imbalance float64      `json:"imbalance"` // most ÷ mean points of a shard, since the start; 1 is even
	Shards    []ShardShare `json:"shards"`
	HotCells  []BusyCell   `json:"hot_cells"`
}

// ShardShare is one shard's part.
type ShardShare struct {
	Name   string  `json:"name"`
	Points uint64  `json:"points"` // since the start
	Share  float64 `json:"share"`
	Up     bool    `json:"up"`
}

// BusyCell is a cell that is split, or busier than one part may be.
type BusyCell struct {
	Cell   string  `json:"cell"`
	Rate   float64 `json:"rate"` // pings/s
	Splits int     `json:"splits"`
}

// Reader answers questions from the stores, the writer's memory and the roll-up as
// one. Safe for concurrent use.
type Reader struct{ Sources }

// Newest returns the newest ping of each of a rider's devices, newest first: of a
// held ping all, of one on its way to a store its time and place. It returns an
// error if no store answers and the writer knows nothing.
func (r *Reader) Newest(ctx context.Context, rider string) (Points, error) {
	// The store is asked second: a ping that has left memory by then is there.
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
		e := pingline.Entry{Cell: k.Cell, Ping: pingline.Ping{Rider: l.Rider, Device: k.Device, Trip: k.Trip, Fix: k.Fix}}
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

// Page returns a page of a rider's track: what is stored, and what waits to be. It
// returns the time, ms, before which all pings that were taken in are on it, as well; 0
// if that is not known. It returns an error if no store answers and the writer knows
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

// Gone says that some points may be in a shard that was taken away.
type Gone struct {
	Before   func() int64  // points before that time, ms; 0: none
	MaxAhead time.Duration // their ts may be so much later
	Logger   *slog.Logger  // is told of shards that do not answer
}

// Of returns the sources of tracks that the stores are.
func (s *Stores) Of(gone Gone) Sources {
	points := func(p Page, from int64) Points {
		for _, err := range p.Silent {
			gone.Logger.Debug("part of a track is missing", "error", err)
		}
		before := gone.Before()
		return Points{
			List: p.Points, More: p.More, Partial: len(p.Silent) > 0 || before > 0 && from <= before+gone.MaxAhead.Milliseconds(),
			Next: p.Next, NextNano: p.NextNano,
		}
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
		Shards: len(s.shards),
	}
}
