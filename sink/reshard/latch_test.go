package reshard

import (
	"math"
	"testing"

	"pingline/partition"
)

// Each write of each era, also of a mirror, enters the latch of its shard, so that a deletion knows
// of its rows, and waits while the latch is held.
func TestWritesEnterTheLatch(t *testing.T) {
	r := newRig(t, "a", "b")
	r.open()
	check := func(era string, shards ...string) {
		t.Helper()
		for _, name := range shards {
			r.eras.Latch(name).Watch()
		}
		rows := r.write(many("r-"+era, 60)...)
		r.settled()
		r.readable(rows)
		for _, name := range shards {
			came, release, _ := r.eras.Latch(name).Hold(math.MinInt64, math.MaxInt64)
			release()
			if len(came) == 0 {
				t.Errorf("%s: rows came to %s, and its latch does not know", era, name)
			}
		}
	}
	check("flags", "a", "b")
	r.start(Order{Add: []partition.Shard{{Name: "c", Weight: 1}}, Move: &Move{}}, "c")
	check("dual", "a", "b", "c")
	_, err := r.eras.Cut(true)
	r.must(err)
	check("cut", "a", "b", "c")
	r.must(r.eras.Finish())
	check("settled", "a", "b", "c")

	_, release, _ := r.eras.Latch("a").Hold(0, 1)
	has := r.shelves["a"].count()
	before := r.shelves["b"].count()
	rows := r.write(many("held-", 60)...)
	r.until("rows come to b", func() bool { return r.shelves["b"].count() > before })
	if n := r.shelves["a"].count(); n != has {
		t.Errorf("%d rows came to a while its latch is held", n-has)
	}
	release()
	r.settled()
	r.readable(rows)
}
