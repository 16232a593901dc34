package reshard

import (
	"errors"
	"testing"

	"pingline/partition"
	"pingline/sink"
)

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
