package reshard

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"pingline/partition"
	"pingline/sink"
)

// A shard that a route leads to stays, since it would be written all the same.
func TestRoutedShardStays(t *testing.T) {
	r := newRig(t, "a", "b")
	r.cfg.Routes = map[string]int{"event": 0}
	r.open()
	for _, o := range []Order{{Remove: []string{"a"}}, replaceA} {
		if _, err := r.eras.Plan(o); err == nil || !strings.Contains(err.Error(), "--route event leads to a") {
			t.Errorf("%s: %v", o.String(), err)
		}
	}
	if _, err := r.eras.Plan(Order{Remove: []string{"b"}}); err != nil {
		t.Error(err)
	}
}

// Without the flag of a shard that is in force, or that a change goes back to, or that rows wait
// for, nothing is opened.
func TestShardWithoutFlag(t *testing.T) {
	r := newRig(t, "a", "b")
	r.open()
	r.start(replaceA, "c")
	_, err := r.eras.Cut(true)
	r.must(err)
	r.stop()
	for _, tt := range []struct {
		flags []string
		want  string
	}{
		{[]string{"a", "b"}, "shard c is in force since"},
		{[]string{"b", "c"}, "shard a is not in force (c=1 b=1 are), but its change by pingline reshard is not finished"},
	} {
		r.flags(tt.flags...)
		_, err := Open(r.cfg, nil)
		if unknown := new(UnknownError); !errors.As(err, &unknown) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("flags %v: %v", tt.flags, err)
		}
	}
	r.flags("c", "b", "a")
	r.open()
	rows := r.write(many("r-", 30)...)
	r.settled()
	r.readable(rows)
}

// Of several changes that are started at once, one is made.
func TestStartsAtOnce(t *testing.T) {
	r := newRig(t, "a", "b")
	r.open()
	rows := r.write(many("r-", 30)...)
	var made, refused atomic.Int32
	var all sync.WaitGroup
	for i := range 8 {
		name := []string{"c", "d"}[i%2]
		all.Go(func() {
			_, _, err := r.eras.Start(Order{Add: []partition.Shard{{Name: name, Weight: 1}}}, []sink.ShardStore{r.shard(name)})
			switch why := new(RefusedError); {
			case err == nil:
				made.Add(1)
			case errors.As(err, &why) && strings.Contains(why.Why, "finish or abort it first"):
				refused.Add(1)
			default:
				t.Errorf("start: %v", err)
			}
		})
	}
	all.Wait()
	if made.Load() != 1 || refused.Load() != 7 || len(r.eras.Shards()) != 3 {
		t.Errorf("%d are made, %d refused, and %d shards known", made.Load(), refused.Load(), len(r.eras.Shards()))
	}
	rows = append(rows, r.write(many("s-", 30)...)...)
	r.settled()
	r.readable(rows)
}

// another is a store of another kind.
type another struct{ *shelf }

// A change that cannot be made leaves nothing behind: neither the stores, which the caller
// closes, nor the record, nor cursors. A store of another kind is refused before anything stops.
func TestStartThatFails(t *testing.T) {
	r := newRig(t, "a", "b")
	r.open()
	before := len(r.log.Cursors())
	add := Order{Add: []partition.Shard{{Name: "c", Weight: 1}}}
	_, _, err := r.eras.Start(add, []sink.ShardStore{{Name: "c", Store: another{new(shelf)}}})
	if refused := new(RefusedError); !errors.As(err, &refused) {
		t.Errorf("a store of another kind: %v, want a refusal", err)
	}
	for _, sh := range r.eras.Shards() {
		if sh.Name == "c" {
			t.Error("the store of a change that was not made is known, and its owner closes it")
		}
	}
	if r.eras.rec != nil || len(r.log.Cursors()) != before || len(r.eras.running) != 1 {
		t.Errorf("record %v, %d cursors of %d, %d sinks", r.eras.rec, len(r.log.Cursors()), before, len(r.eras.running))
	}
	rows := r.write(many("r-", 20)...)
	r.settled()
	r.readable(rows)
	r.start(add, "c")
	r.write(many("s-", 50)...)
	r.settled()
	if r.shelves["c"].count() == 0 {
		t.Error("the shard that was added gets nothing")
	}
}
