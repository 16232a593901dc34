// Package query answers questions about riders and places from the stores that keep
// their pings, the writer's memory and the roll-up. It knows no HTTP.
//
// It merges the answers of all shards and promises each ping once, even if two shards
// hold it. It reports the shards that did not answer; it does not wait for them longer
// than their stores do.
package query

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"pingline"
	"pingline/sink/store"
)

// ShardReader reads the pings of a shard.
type ShardReader struct {
	Name   string
	Reader store.Reader
}

// Stores asks all shards and merges their answers, so that it does not matter which
// shard holds a point, nor whether two do. Safe for concurrent use.
type Stores struct{ now func() []ShardReader }

// New returns Stores that read the given shards.
func New(shards []ShardReader) *Stores { return Changing(func() []ShardReader { return shards }) }

// Changing returns Stores that read the shards of the moment of each question.
func Changing(now func() []ShardReader) *Stores { return &Stores{now} }

// Page is a part of the stored points of a rider.
type Page struct {
	Points []pingline.Entry // each once, in order of time and device, a late point last
	More   bool             // points behind the last were left out
	Silent []error          // an error for each shard that did not answer, or not to the end

	Next, NextNano int64 // of a Track with More: From and FromNano of the page behind this one
}

// Track returns the points that q selects of one rider, from the oldest on, about
// q.Limit of them: a page ends behind an instant, or within one that has too many
// points. Memory is bounded by q.Limit, at least 1. It returns an error if no
// shard answers.
//
// Each ping is returned once, and none hides another: pings are the same if device,
// instant, position and event are. If the same ping is stored twice, late and not
// late, it is returned as not late. A track has a single place at an instant, so a
// ping at a second place is returned as late.
func (s *Stores) Track(ctx context.Context, q store.Query) (Page, error) {
	if q.Rider == "" || q.Limit < 1 || q.Newest {
		return Page{}, fmt.Errorf("query: a track of rider %q, limit %d", q.Rider, q.Limit)
	}
	m := merger{limit: q.Limit}
	silent, err := s.ask(func(shard *ShardReader) error {
		// As many points of a series as the page can have, and one more, show whether
		// there are more; no page needs more of a series.
		asked := q
		asked.Limit = m.most()
		return shard.Reader.Points(ctx, asked, m.add)
	})
	if err != nil {
		return Page{}, err
	}
	p := m.page()
	p.Silent = silent
	return p, nil
}

// Latest returns the newest point of each of a rider's devices, newest first; a late
// point only if the device has nothing else. It returns an error if no shard answers.
func (s *Stores) Latest(ctx context.Context, rider string) (Page, error) {
	var mu sync.Mutex
	newest := make(map[string]storedPoint)
	q := store.All()
	q.Rider, q.Limit, q.Newest = rider, 1, true
	silent, err := s.ask(func(shard *ShardReader) error {
		return shard.Reader.Points(ctx, q, func(e *pingline.Entry, nano int64) error {
			mu.Lock()
			defer mu.Unlock()
			p := storedPoint{*e, nano}
			known, ok := newest[e.Device]
			if !ok || known.Late && !e.Late || known.Late == e.Late && known.before(&p) {
				newest[e.Device] = p
			}
			return nil
		})
	})
	if err != nil {
		return Page{}, err
	}
	p := Page{Silent: silent}
	for _, s := range newest {
		p.Points = append(p.Points, s.Entry)
	}
	slices.SortFunc(p.Points, func(a, b pingline.Entry) int {
		return cmp.Or(cmp.Compare(b.At, a.At), cmp.Compare(a.Device, b.Device))
	})
	return p, nil
}

var errUnread = errors.New("query: none of the stores can be read")

// ask calls f for all shards at once. It returns the errors of the failed calls, and
// an error of its own if all failed.
func (s *Stores) ask(f func(*ShardReader) error) (silent []error, err error) {
	shards := s.now()
	if len(shards) == 0 {
		return nil, errUnread
	}
	errs := make([]error, len(shards))
	var wg sync.WaitGroup
	for i := range shards {
		wg.Go(func() {
			if err := f(&shards[i]); err != nil {
				errs[i] = fmt.Errorf("shard %s: %w", shards[i].Name, err)
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			silent = append(silent, err)
		}
	}
	if len(silent) == len(shards) {
		return nil, errors.Join(silent...)
	}
	return silent, nil
}

// storedPoint is a point and the ns of its ms at which it is stored.
type storedPoint struct {
	pingline.Entry
	nano int64
}

func (s *storedPoint) compare(o *storedPoint) int {
	return cmp.Or(cmp.Compare(s.At, o.At), cmp.Compare(s.nano, o.nano))
}

// compareWords orders pings of a track and instant: copies of the same ping side by
// side, and the copy that is not late first.
func (s *storedPoint) compareWords(o *storedPoint) int {
	return cmp.Or(cmp.Compare(s.LatE7, o.LatE7), cmp.Compare(s.LonE7, o.LonE7), cmp.Compare(s.Event, o.Event), compareLate(s.Late, o.Late))
}

func (s *storedPoint) before(o *storedPoint) bool { return s.compare(o) < 0 }

// same reports whether both are the same ping.
func (s *storedPoint) same(o *storedPoint) bool {
	return s.At == o.At && s.Device == o.Device && s.Event == o.Event && s.SamePlace(&o.Fix)
}

// instantMost is how many points a page may hold beyond its limit to end behind
// an instant.
const instantMost = 64

// merger collects the points of one page from several series and shards.
type merger struct {
	limit int

	mu   sync.Mutex
	list []storedPoint
	more bool // points behind the last of list were dropped
}

// most is the number of points kept, and asked for of each series: as many as a page
// can have, and one more that shows where its last instant ends.
func (m *merger) most() int { return m.limit + instantMost + 1 }

// add takes a point. From time to time it drops the points that lie behind the page.
func (m *merger) add(e *pingline.Entry, nano int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.list = append(m.list, storedPoint{*e, nano})
	if len(m.list) > 4*m.most() {
		m.cut(m.most())
	}
	return nil
}

// page returns the page of the points added so far.
func (m *merger) page() (p Page) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cut(m.most())
	whole := m.limit
	for whole < len(m.list) && m.list[whole].At == m.list[m.limit-1].At {
		whole++
	}
	if whole < m.most() {
		m.cut(whole)
	} else {
		m.cut(m.limit)
	}
	if p.More = m.more; p.More {
		last := m.list[len(m.list)-1]
		p.Next = last.At + 1
		if whole >= m.most() { // the next page goes on within this ms
			p.Next, p.NextNano = last.At, last.nano+1
		}
	}
	for _, s := range tidy(m.list) {
		p.Points = append(p.Points, s.Entry)
	}
	return p
}

// cut sorts the list, drops second copies, and drops the points later, in ns, than the
// n-th.
func (m *merger) cut(n int) {
	slices.SortFunc(m.list, func(a, b storedPoint) int {
		return cmp.Or(a.compare(&b), cmp.Compare(a.Device, b.Device), a.compareWords(&b))
	})
	m.list = slices.CompactFunc(m.list, func(a, b storedPoint) bool { return a.nano == b.nano && a.same(&b) })
	for n < len(m.list) && n > 0 && m.list[n].compare(&m.list[n-1]) == 0 {
		n++
	}
	if n < len(m.list) {
		m.more = true
		clear(m.list[n:])
		m.list = m.list[:n]
	}
}

// tidy drops second copies of a ping, and marks a ping as late that is at a second place
// at an instant of its track.
func tidy(list []storedPoint) []storedPoint {
	slices.SortFunc(list, func(a, b storedPoint) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Device, b.Device), a.compareWords(&b))
	})
	list = slices.CompactFunc(list, func(a, b storedPoint) bool { return a.same(&b) })
	show := func(a, b storedPoint) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Device, b.Device), compareLate(a.Late, b.Late), cmp.Compare(a.nano, b.nano), a.compareWords(&b))
	}
	slices.SortFunc(list, show)
	var vertex *storedPoint
	for i := range list {
		switch s := &list[i]; {
		case s.Late:
		case vertex == nil || s.At != vertex.At || s.Device != vertex.Device:
			vertex = s
		case !s.SamePlace(&vertex.Fix):
			s.Late = true
		}
	}
	slices.SortStableFunc(list, show)
	return list
}
