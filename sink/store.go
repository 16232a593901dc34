package sink

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"pingline"
)

// Store reads several shards as one: it asks all of them, so that it does not
// matter which holds a point, nor whether a second one does. Safe for concurrent
// use.
type Store struct{ shards []Shard }

// NewStore returns the store that the shards make up.
func NewStore(shards []Shard) *Store { return &Store{shards} }

// Page is part of what is stored of a rider.
type Page struct {
	Points []pingline.Entry // each once, in order of time, device, and late ones behind others
	More   bool             // points behind the last one were left out
	Silent []error          // one for each shard that did not answer, or not to the end
}

// Track returns the points that q selects of one rider, from the oldest on, about
// q.Limit of them: all points of the page's last instant are in it, so that the
// next page begins a millisecond later. Of two points of one device and instant
// the one that is not late counts. Memory is bounded by q.Limit, at least 1. It
// returns an error if no shard answers.
func (s *Store) Track(ctx context.Context, q Query) (Page, error) {
	if q.Rider == "" || q.Limit < 1 || q.Newest {
		return Page{}, fmt.Errorf("sink: a track of rider %q, limit %d", q.Rider, q.Limit)
	}
	m := merger{limit: q.Limit}
	silent, err := s.ask(func(shard *Shard) error {
		// A series with as many points as the page, and one more, shows whether
		// there are more; no page needs more of it.
		asked := q
		asked.Limit++
		return shard.Influx.Points(ctx, asked, m.add)
	})
	if err != nil {
		return Page{}, err
	}
	p := Page{Silent: silent}
	p.Points, p.More = m.page()
	return p, nil
}

// Latest returns the newest point of each of a rider's devices, newest first,
// late ones only where there is no other. It returns an error if no shard
// answers.
func (s *Store) Latest(ctx context.Context, rider string) (Page, error) {
	var mu sync.Mutex
	newest := make(map[string]pingline.Entry)
	q := Query{From: math.MinInt64 / 1_000_000, To: math.MaxInt64 / 1_000_000, Rider: rider, Limit: 1, Newest: true}
	silent, err := s.ask(func(shard *Shard) error {
		return shard.Influx.Points(ctx, q, func(e *pingline.Entry) error {
			mu.Lock()
			defer mu.Unlock()
			known, ok := newest[e.Device]
			if !ok || known.Late && !e.Late || known.Late == e.Late && e.At > known.At {
				newest[e.Device] = *e
			}
			return nil
		})
	})
	if err != nil {
		return Page{}, err
	}
	p := Page{Silent: silent}
	for _, e := range newest {
		p.Points = append(p.Points, e)
	}
	slices.SortFunc(p.Points, func(a, b pingline.Entry) int {
		return cmp.Or(cmp.Compare(b.At, a.At), cmp.Compare(a.Device, b.Device))
	})
	return p, nil
}

// ask calls f for all shards at once. It returns the errors of those that failed,
// and an error of its own if all did.
func (s *Store) ask(f func(*Shard) error) (silent []error, err error) {
	errs := make([]error, len(s.shards))
	var wg sync.WaitGroup
	for i := range s.shards {
		wg.Go(func() {
			if err := f(&s.shards[i]); err != nil {
				errs[i] = fmt.Errorf("shard %s: %w", s.shards[i].Name, err)
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			silent = append(silent, err)
		}
	}
	if len(silent) == len(s.shards) {
		return nil, errors.Join(silent...)
	}
	return silent, nil
}

// merger collects the points of one page from several series and shards.
type merger struct {
	limit int

	mu   sync.Mutex
	list []pingline.Entry
	more bool // points behind those in list were dropped
}

// add takes a point. What cannot be on the page any more is dropped now and then.
func (m *merger) add(e *pingline.Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.list = append(m.list, *e)
	if len(m.list) > 4*(m.limit+1) {
		m.cut()
	}
	return nil
}

// page returns what has been collected.
func (m *merger) page() ([]pingline.Entry, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cut()
	return m.list, m.more
}

// cut puts the list in order, leaves each point once, and ends it behind the
// instant at which the limit is reached.
func (m *merger) cut() {
	slices.SortStableFunc(m.list, func(a, b pingline.Entry) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Device, b.Device), lateBehind(&a, &b))
	})
	m.list = slices.CompactFunc(m.list, func(a, b pingline.Entry) bool { return a.At == b.At && a.Device == b.Device })
	if len(m.list) <= m.limit {
		return
	}
	end := m.limit
	for end < len(m.list) && m.list[end].At == m.list[m.limit-1].At {
		end++
	}
	m.more = m.more || end < len(m.list)
	clear(m.list[end:])
	m.list = m.list[:end]
}

func lateBehind(a, b *pingline.Entry) int {
	switch {
	case a.Late == b.Late:
		return 0
	case a.Late:
		return 1
	}
	return -1
}
