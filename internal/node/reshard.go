package node

import (
	"context"
	"math"
	"slices"
	"strings"

	"pingline/internal/resharding"
	"pingline/internal/storecheck"
	"pingline/partition"
	"pingline/sink"
	"pingline/sink/store"
)

// openChanges opens the part by which the shards of sets are changed.
func (n *Node) openChanges() (*resharding.Changes, error) {
	return resharding.New(resharding.Config{
		Across: n.peers.Across(), Where: n.layout.where(),
		Sinks: n.sink, Open: n.openShard, Place: n.placeOf, Newest: n.writer.NewestPings, CellRes: n.cfg.CellRes, Submit: n.submitPoints, Node: n.cfg.Name, Dir: n.cfg.DataDir, Logger: n.logger,
		Try: func(ctx context.Context, s store.Store) []store.Finding { return storecheck.Try(ctx, s, n.cfg.MaxAge) },
		History: resharding.MoveConfig{
			Log: n.log, Points: PointNames, ByRider: n.cfg.PartitionBy == partition.ByRider, Level: n.over.Level, Latency: n.metrics.Writes,
			Erasing: func() bool { return n.removals.Written() != math.MaxUint64 },
		},
	})
}

// where returns the places of all shards.
func (s *layout) where() map[string]string {
	m := make(map[string]string)
	for _, b := range s.buckets {
		m[b.set.Shards[b.shard].Name] = b.String()
	}
	return m
}

func (b *bucketAddress) String() string { return strings.TrimRight(b.url+" "+b.org+" "+b.name, " ") }

// placeOf returns the place of a --shard.
func (n *Node) placeOf(text string) (string, error) {
	var spec ShardConfig
	if err := spec.UnmarshalText([]byte(text)); err != nil {
		return "", err
	}
	at := bucketOf(n.cfg, spec)
	return at.String(), nil
}

// reopenShard opens the store of a shard that the log tells of.
func (n *Node) reopenShard(text string) (sink.ShardStore, error) {
	s, err := n.openShard(text)
	return sink.ShardStore{Name: s.Name, Store: s.Store}, err
}

// openShard opens the store of a --shard.
func (n *Node) openShard(text string) (s resharding.NewShard, err error) {
	var spec ShardConfig
	if err := spec.UnmarshalText([]byte(text)); err != nil {
		return s, err
	}
	set := &layoutSet{}
	known := n.layout.buckets
	all := layout{buckets: slices.Clone(known)} // of which the new shard must be none
	if err := all.add(n.cfg, set, spec, "shard "+spec.Name); err != nil {
		return s, err
	}
	n.layout.buckets = all.buckets
	return resharding.NewShard{Name: spec.Name, Set: spec.setName(), Weight: spec.Weight, Store: set.Shards[0].Store, Where: all.where()[spec.Name], Forget: func() { n.layout.buckets = known }}, nil
}
