package fleet

import (
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"pingline/dedupe"
	"pingline/dedupe/slab"
	"pingline/ingest"
)

// feed is a filter whose tracks a Map knows: that of this node, or of the owner of another part of the riders.
type feed struct {
	newest func(*ingest.NewestPings) error
	far    bool // it is of another node: it may be silent, and its strings are not kept
	ask    ingest.NewestPings
	stamp  uint64            // of the filter at the beginning of the last pass that came to its end
	began  uint64            // the same of the pass under way
	filter uint64            // number of the filter that items are of
	items  slab.Slab[uint32] // items of the map by track; unused if there is a single feed, whose tracks are the items
	behind bool              // it was silent, or its pass is under way
}

// passFor is how long a snapshot waits for the tracks of another node. A pass that takes longer goes on in the next.
const passFor = time.Second

var errUnderWay = errors.New("not all riders of another node are here yet")

// takeRiders asks for the pings that came since the last snapshot. Feeds that are far are asked at the same time, and
// may fail: then the snapshot is partial.
func (f *Map) takeRiders(now time.Time) error {
	var all sync.WaitGroup
	for _, s := range f.feeds[1:] {
		all.Go(func() { s.behind = f.pass(s, now) != nil })
	}
	own := f.feeds[0]
	own.ask.Track = 0
	err := f.pass(own, now)
	all.Wait()
	partial := false
	for _, s := range f.feeds[1:] {
		partial = partial || s.behind
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.partial = partial
	return err
}

// pass takes the tracks of a feed that had a ping since the last pass. The pass of another node goes on where it was.
func (f *Map) pass(s *feed, now time.Time) error {
	p, begin := &s.ask, time.Now()
	for {
		if s.far && time.Since(begin) > passFor {
			return errUnderWay
		}
		first := p.Track == 0
		if first {
			p.Since = s.stamp
		}
		if err := s.newest(p); err != nil {
			return err
		}
		if first {
			s.began = p.Stamp
		}
		if f.renumbered(s, p.Filter) && (p.Since > 0 || !first) {
			p.Track, s.stamp = 0, 0 // all tracks are read, from the first on
			continue
		}
		if f.take(s, p.List, now); p.Track == 0 {
			s.stamp = s.began
			return nil
		}
	}
}

// renumbered forgets the tracks of a feed if they are those of another filter, and reports whether they were.
func (f *Map) renumbered(s *feed, filter uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s.filter == filter {
		return false
	}
	if len(f.feeds) == 1 {
		f.reset()
	} else {
		f.drop(s)
	}
	s.filter = filter
	return true
}

// drop forgets the tracks of a feed; viewers are told that they are gone. Cursors are void, since items are used again.
func (f *Map) drop(s *feed) {
	for track := uint32(1); track <= s.items.Last; track++ {
		i := *s.items.At(track)
		if i == 0 {
			continue
		}
		if f.rows.At(i).known {
			f.grid.remove(f.seq, i)
		}
		*f.rows.At(i), *f.names.At(i) = row{}, ""
		f.free = append(f.free, i)
	}
	s.items, f.paging = slab.Slab[uint32]{}, rand.Uint64()|1
}

// itemOf returns the item of a track.
func (f *Map) itemOf(s *feed, track uint32) uint32 {
	if len(f.feeds) == 1 {
		for f.rows.Last < track {
			f.grow()
		}
		return track
	}
	for s.items.Last < track {
		s.items.Grow()
	}
	at := s.items.At(track)
	if *at != 0 {
		return *at
	}
	if last := len(f.free) - 1; last >= 0 {
		*at = f.free[last]
		f.free = f.free[:last]
	} else {
		*at = f.grow()
	}
	return *at
}

// perFar is about the memory of a track of another node besides its item, bytes: its name, and its place in a feed.
const perFar = 64

func (f *Map) grow() uint32 {
	f.names.Grow()
	return f.rows.Grow()
}

// take takes a part of the newest pings into the snapshot that is being made.
func (f *Map) take(s *feed, list []dedupe.Newest, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range list {
		n := &list[i]
		at := f.itemOf(s, n.Track)
		r, name := f.rows.At(at), f.names.At(at)
		fresh := *name != n.Name
		if !fresh && r.fix == n.Fix {
			continue // the newest stays the newest: a duplicate, or a late ping
		}
		switch {
		case !s.far:
			*name = n.Name // the filter's own string
		case fresh:
			*name = strings.Clone(n.Name)
		}
		*r = row{fix: n.Fix, known: true}
		f.grid.put(f.seq, at, keyOf(n.Fix.LatE7, n.Fix.LonE7), fresh)
		f.mark(at, now)
	}
}
