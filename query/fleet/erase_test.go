package fleet

import (
	"testing"
	"time"

	"pingline/partition"
)

// A rider who is erased is on no page, and viewers are told that the rider is gone.
func TestErase(t *testing.T) {
	p := new(pretend)
	now := time.Now()
	p.set(1, "r-1", now, 41, 29)
	p.set(2, "r-1\x00watch", now, 41, 29)
	p.set(3, "r-11", now, 41, 29)
	m := testMap(p)
	box := partition.Box{West: 28, South: 40, East: 30, North: 42}
	if names := pagesOf(t, m, box, 10); len(names) != 3 {
		t.Fatalf("%q", names)
	}
	v := View{Look: Look{Riders: true, Res: -1}, Box: box}
	var c Delta
	m.Change(&c, &v, "")
	m.Erase("r-1")
	m.Change(&c, &v, c.ID)
	if len(c.RidersGone) != 2 || len(c.Riders) != 0 {
		t.Errorf("gone: %v, changed: %v", c.RidersGone, c.Riders)
	}
	if names := pagesOf(t, m, box, 10); len(names) != 1 {
		t.Errorf("%q", names)
	}
}
