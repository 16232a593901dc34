package resume

import (
	"fmt"
	"pingline/queue"
	"pingline/sink/route"
	"testing"
)

func TestCursorNames(t *testing.T) {
	for _, shard := range []string{"a", "a-live", "a-hole-7", "x:y@z_.-", "live", "hole-3"} {
		for kind := range route.LaneKinds {
			if m := CursorName.FindStringSubmatch(LaneCursor(shard, kind)); m == nil || m[1] != shard || m[2] != kind.String() || m[3] != "" {
				t.Errorf("the %v cursor of %q is read as %q", kind, shard, m)
			}
		}
		if m := CursorName.FindStringSubmatch(HoleCursor(shard, 42)); m == nil || m[1] != shard || m[3] != "42" {
			t.Errorf("a hole of %q is read as %q", shard, m)
		}
	}
	if got := holesOf("a", map[string]queue.Cursor{
		HoleCursor("a", 100): {Next: 90}, HoleCursor("a", 20): {Next: 3}, HoleCursor("a-hole-1", 5): {Next: 4}, LaneCursor("a", route.Live): {Next: 100},
	}); fmt.Sprint(len(got), got[0].End, got[1].End) != "2 20 100" {
		t.Errorf("holes are %+v", got)
	}
}

// Cursors of sets are told apart, whatever the names of their shards are.
func TestSpaceOfCursor(t *testing.T) {
	for name, want := range map[string]string{
		LaneCursor("a", route.Live): "", LaneCursor("archive/a", route.Live): "archive", HoleCursor("x-live/a-hole-3", 7): "x-live", HoleCursor("a", 7): "",
	} {
		if set, ok := SpaceOf(name); !ok || set != want {
			t.Errorf("%s is of set %q, %v", name, set, ok)
		}
	}
	if _, ok := SpaceOf("filter"); ok {
		t.Error("another cursor is taken for that of a lane")
	}
}
