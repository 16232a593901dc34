package rights

import (
	"context"
	"errors"
	"slices"
	"testing"

	"pingline"
	"pingline/sink"
	"pingline/sink/store"
)

// emptied is a store that a rider can be removed from.
type emptied struct {
	store.Store
	dead  bool
	times int
}

func (s *emptied) Points(context.Context, store.Query, func(*pingline.Entry, int64) error) error {
	if s.dead {
		return errors.New("no answer")
	}
	return nil
}

func (s *emptied) Erase(context.Context, string) error {
	s.times++
	return nil
}

// A removal that waits for a store goes through every shard once, whatever shards come, go
// and change places between two starts.
func TestRemovalThroughShardsThatChange(t *testing.T) {
	a, b, c, d := &emptied{}, &emptied{}, &emptied{dead: true}, &emptied{}
	removals, err := OpenRemovals(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := removals.Ask("r", ""); err != nil {
		t.Fatal(err)
	}
	m := removals.pending[0]
	shard := func(name string, s *emptied) sink.ShardStore { return sink.ShardStore{Name: name, Store: s} }
	first := New(Config{Removals: removals, Shards: func() []sink.ShardStore { return []sink.ShardStore{shard("a", a), shard("b", b), shard("c", c)} }})
	if err := first.clear(t.Context(), m); err == nil || m.Step == Cleared {
		t.Fatalf("a store is dead, and the removal is at %q: %v", m.Step, err)
	}
	c.dead = false
	then := New(Config{Removals: removals, Shards: func() []sink.ShardStore { return []sink.ShardStore{shard("d", d), shard("c", c), shard("a", a)} }})
	if err := then.clear(t.Context(), m); err != nil || m.Step != Cleared {
		t.Fatalf("the removal is at %q: %v", m.Step, err)
	}
	if got := []int{a.times, b.times, c.times, d.times}; !slices.Equal(got, []int{1, 1, 1, 1}) {
		t.Errorf("the rider was removed from the stores %v times", got)
	}
}
