package query

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"pingline"
	"pingline/partition"
	"pingline/query/fleet"
	"pingline/sink/store"
)

// Then asks where the riders in a box were at an earlier time.
type Then struct {
	Box  partition.Box // valid
	At   int64         // ms since 1970
	Most int           // riders; a box with more of them is refused

	// known is the newest ping of riders who have sent since, stored or not.
	known map[riderTrack]pingline.Fix
}

// Seen is where riders were, in order of name and device. It is partial if part of the stores did not answer.
type Seen struct {
	fleet.Riders
	Between []bool // of each rider: the place lies on the line between two pings, and is as of Riders.At
}

const (
	mostTracks = 100_000 // tracks, wherever they are, of which a stored point is near the time
	samePlace  = 100.0   // metres between two pings of a rider who waits

	// SeenBytes is about the most memory that a Then takes.
	SeenBytes = mostTracks * 320
)

// ErrTooMany is the refusal of a Then.
var ErrTooMany = errors.New("too many riders")

// riderTrack tells a track from others.
type riderTrack struct{ rider, device string }

// neighbours are the stored points of a track on both sides of a time.
type neighbours struct {
	before, after pingline.Fix
	skipped       uint32 // pings dropped between them
	followed      bool   // after is known
}

// Then returns where riders were at a time: on the line between the neighbouring stored
// points, if no silence of more than fleet.StaleAfter lies between them, and otherwise at
// the newest stored point before, no older than fleet.GoneAfter. reach is how long after
// the time a next point is looked for. Late points do not count. A rider who is known to have
// been at the same place later waited there.
//
// All points near the time are read, of the whole globe, since a rider who was in the box may
// have been elsewhere later. An error is ErrTooMany, or no shard answers.
func (s *Stores) Then(ctx context.Context, q *Then, reach time.Duration) (seen Seen, silent []error, err error) {
	tracks := make(map[riderTrack]*neighbours)
	whole := store.All()
	before := store.Query{From: max(whole.From, q.At-fleet.GoneAfter.Milliseconds()), To: min(whole.To, q.At+1), Limit: 1, Newest: true}
	silent, err = s.nearest(ctx, before, func(name riderTrack, e *pingline.Entry) error {
		switch n := tracks[name]; {
		case n == nil && len(tracks) == mostTracks:
			return fmt.Errorf("%w: stores have more than %d of that time", ErrTooMany, mostTracks)
		case n == nil:
			tracks[name] = &neighbours{before: e.Fix}
		case n.before.At < e.At:
			n.before = e.Fix
		}
		return nil
	})
	if err != nil {
		return Seen{}, nil, err
	}
	after := store.Query{From: min(whole.To, q.At+1), To: min(whole.To, q.At+reach.Milliseconds()), Limit: 1}
	more, err := s.nearest(ctx, after, func(name riderTrack, e *pingline.Entry) error {
		if n := tracks[name]; n != nil && (!n.followed || e.At < n.after.At) {
			n.after, n.skipped, n.followed = e.Fix, e.Skipped, true
		}
		return nil
	})
	if err != nil {
		return Seen{}, nil, err
	}
	seen, err = q.pick(tracks)
	return seen, append(silent, more...), err
}

// nearest asks all shards, and calls each for the points that are not late, one call at a
// time.
func (s *Stores) nearest(ctx context.Context, q store.Query, each func(riderTrack, *pingline.Entry) error) (silent []error, err error) {
	var mu sync.Mutex
	silent, err = s.ask(func(shard *ShardReader) error {
		return shard.Reader.Points(ctx, q, func(e *pingline.Entry, _ int64) error {
			if e.Late {
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			return each(riderTrack{e.Rider, e.Device}, e)
		})
	})
	for _, e := range silent {
		if errors.Is(e, ErrTooMany) {
			return nil, e
		}
	}
	return silent, err
}

// pick returns the riders in the box.
func (q *Then) pick(tracks map[riderTrack]*neighbours) (Seen, error) {
	type found struct {
		pingline.Entry
		between bool
	}
	var list []found
	for name, n := range tracks {
		later, waits := q.known[name]
		fix, between := n.at(q.At, waits && later.At > q.At && metres(&n.before, &later) < samePlace)
		if !q.Box.Contains(fix.Lat(), fix.Lon()) {
			continue
		}
		if len(list) == q.Most {
			return Seen{}, fmt.Errorf("%w: the box has more than %d", ErrTooMany, q.Most)
		}
		e := found{pingline.Entry{Verdict: pingline.Accepted}, between}
		e.Rider, e.Device, e.Fix = name.rider, name.device, fix
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b found) int {
		return cmp.Or(cmp.Compare(a.Rider, b.Rider), cmp.Compare(a.Device, b.Device))
	})
	seen := Seen{Riders: fleet.Riders{At: q.At}}
	for i := range list {
		seen.List, seen.Between = append(seen.List, list[i].Entry), append(seen.Between, list[i].between)
	}
	return seen, nil
}

// at returns where the track was at a time, and whether it was on its way between two pings,
// or waited. Speed and heading are those of the point before.
func (n *neighbours) at(ms int64, waits bool) (fix pingline.Fix, between bool) {
	fix = n.before
	gap := n.after.At - n.before.At
	// Pings that were dropped between two points lie on the line: only silence is a gap.
	onLine := n.followed && gap/(int64(n.skipped)+1) <= fleet.StaleAfter.Milliseconds()
	if fix.At == ms || !onLine && !waits {
		return fix, false
	}
	fix.At, fix.Known = ms, fix.Known&(pingline.HasSpeed|pingline.HasHeading)
	if onLine {
		part := float64(ms-n.before.At) / float64(gap)
		lon := n.before.Lon() + part*math.Remainder(n.after.Lon()-n.before.Lon(), 360)
		// Both ends are valid, so is what lies between them.
		_ = fix.SetPosition(n.before.Lat()+part*(n.after.Lat()-n.before.Lat()), math.Remainder(lon, 360))
	}
	return fix, true
}

// metres returns about how far two fixes near each other are apart.
func metres(a, b *pingline.Fix) float64 {
	const degree = 111_195
	lon := math.Remainder(b.Lon()-a.Lon(), 360) * math.Cos(a.Lat()*math.Pi/180)
	return degree * math.Hypot(b.Lat()-a.Lat(), lon)
}

// RidersAt returns where the riders in a box were at an earlier time, from the stores. It
// returns ErrTooMany, or an error if no store answers.
func (r *Reader) RidersAt(ctx context.Context, q *Then) (Seen, error) {
	q.known = r.since(q)
	return r.Then(ctx, q)
}

// since returns the newest ping of riders in the box who have sent since a time that is
// not long ago.
func (r *Reader) since(q *Then) map[riderTrack]pingline.Fix {
	if r.Riders == nil || time.Now().UnixMilli()-q.At > fleet.GoneAfter.Milliseconds() {
		return nil
	}
	page, err := r.Riders(&fleet.InBox{Box: q.Box, Since: q.At + 1, Limit: q.Most})
	if err != nil { // the stores answer alone
		return nil
	}
	known := make(map[riderTrack]pingline.Fix, len(page.List))
	for i := range page.List {
		e := &page.List[i]
		known[riderTrack{e.Rider, e.Device}] = e.Fix
	}
	return known
}
