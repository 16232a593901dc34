package node

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"pingline"
	"pingline/query"
	"pingline/sink"
	"pingline/sink/sets"
	"pingline/sink/store"
)

// StoredRows reads the rows in the stores of a node, apart from any node: all shards, and the
// buckets that routes name. Safe for concurrent use.
type StoredRows struct {
	sets    []*layoutSet
	stores  []sink.ShardStore
	readers []store.Reader // of pings
	merged  *query.Stores  // the same
	points  []store.PointReader
}

// OpenStored opens the stores of a configuration that has been checked, to be read. It
// connects to none. It returns an error if one that pings go to cannot be read.
func OpenStored(cfg *Config) (*StoredRows, error) {
	l, err := newLayout(cfg)
	if err != nil {
		return nil, err
	}
	s := &StoredRows{sets: l.sets, stores: l.all(), points: l.reading.points(), merged: query.New(l.reading.pings())}
	pings := l.reading.pings()
	for _, sh := range l.read.having(sets.PingKinds) {
		if !slices.ContainsFunc(pings, func(r query.ShardReader) bool { return r.Name == sh.Name }) {
			return nil, errors.Join(fmt.Errorf("shard %s: its store cannot be read", sh.Name), s.Close())
		}
	}
	for _, r := range pings {
		s.readers = append(s.readers, query.Named(r))
	}
	return s, nil
}

// Points calls each for every stored ping that q selects, of one shard after another: a
// ping that two of them have comes twice. Otherwise it is as store.Reader has it.
func (s *StoredRows) Points(ctx context.Context, q store.Query, each func(e *pingline.Entry, nano int64) error) error {
	for _, r := range s.readers {
		if err := r.Points(ctx, q, each); err != nil {
			return err
		}
	}
	return nil
}

// Track returns a page of a rider's points, of all shards in order: see query.Stores.Track.
func (s *StoredRows) Track(ctx context.Context, q store.Query) (query.Page, error) {
	return s.merged.Track(ctx, q)
}

// PointsNamed calls each for every stored point of a name with from <= At < to, of one
// store after another. It returns an error if none of them can be asked.
func (s *StoredRows) PointsNamed(ctx context.Context, name string, from, to int64, each func(p *pingline.Point) error) error {
	for _, r := range s.points {
		if err := r.PointsNamed(ctx, name, from, to, each); err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
	}
	if len(s.points) == 0 {
		return fmt.Errorf("read %s: no store can be asked for points", name)
	}
	return nil
}

// OfSet has Track read the shards of one set. It returns an error if there is no such set, or
// none of its shards can be read.
func (s *StoredRows) OfSet(name string) error {
	i := slices.IndexFunc(s.sets, func(set *layoutSet) bool { return set.Name == name })
	if i < 0 {
		return fmt.Errorf("there is no set %.32q of --shard", name)
	}
	list := s.sets[i].readers(sets.PingKinds)
	if len(list) == 0 {
		return fmt.Errorf("the store of the set %s cannot be read, or has no pings", name)
	}
	s.merged = query.New(list)
	return nil
}

// Close lets go of connections.
func (s *StoredRows) Close() error {
	var errs []error
	for i := range s.stores {
		errs = append(errs, s.stores[i].Store.Close())
	}
	return errors.Join(errs...)
}
