package fleet

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"pingline/partition"
)

// follower has what it was told of a viewport.
type follower struct {
	v    Viewport
	seq  uint32
	seen map[uint32]bool
}

func (f *follower) follow(g *grid, seq uint32) {
	for _, i := range g.absent(nil, &f.v, f.seq) {
		delete(f.seen, i)
	}
	for _, i := range g.gather(nil, &f.v, f.seq, false, 1<<20) {
		f.seen[i] = true
	}
	f.seq = seq
}

// Followers who look now and then know exactly the items of their viewports that are not
// hidden, though items move, vanish, hide and are shown again.
func TestFollowersKnowTheirViewports(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var g grid
	const items = 400
	at := func() tileKey { return keyOf(int32(410e6+r.IntN(8)*200_000), int32(-r.IntN(8)*200_000)) }
	where, hidden := make(map[uint32]tileKey), make(map[uint32]bool)
	var followers []*follower
	for range 30 {
		w, s := -0.14*r.Float64(), 41+0.14*r.Float64()
		v := ViewportOf(partition.Box{West: w, South: s, East: w + 0.05, North: s + 0.05}, 0)
		followers = append(followers, &follower{v: v, seen: make(map[uint32]bool)})
	}
	for seq := uint32(1); seq <= 600; seq++ {
		for range 20 {
			i := uint32(1 + r.IntN(items))
			switch _, there := where[i]; {
			case there && r.IntN(6) == 0:
				g.remove(seq, i)
				delete(where, i)
			case there && r.IntN(4) == 0:
				hidden[i] = !hidden[i]
				g.hide(seq, i, hidden[i])
			default:
				where[i] = at()
				g.put(seq, i, where[i], r.IntN(9) == 0)
			}
		}
		for _, f := range followers {
			if r.IntN(4) != 0 {
				continue
			}
			f.follow(&g, seq)
			n := 0
			for i, k := range where {
				if f.v.has(k) && !hidden[i] {
					if n++; !f.seen[i] {
						t.Fatalf("snapshot %d: item %d is not known", seq, i)
					}
				}
			}
			if n != len(f.seen) || g.shown(&f.v, 1<<20) != n {
				t.Fatalf("snapshot %d: %d items are known, %d counted, there are %d", seq, len(f.seen), g.shown(&f.v, 1<<20), n)
			}
		}
	}
	if g.tiles.Last > 64 || len(g.known) > 64 {
		t.Errorf("%d tiles for 64 places", g.tiles.Last)
	}
	for _, i := range slices.Collect(maps.Keys(where)) {
		g.remove(601, i)
	}
	if len(g.known) != 0 || len(g.free) != int(g.tiles.Last) {
		t.Errorf("%d tiles are left of an empty grid", len(g.known))
	}
	g.forget(601)
	if len(g.left) != 0 || g.oldest != 601 {
		t.Errorf("%d exits are left behind snapshot %d", len(g.left), g.oldest)
	}
}

// The memory for exits is bounded, and it is known how far back they are complete.
func TestExitsAreBounded(t *testing.T) {
	var g grid
	a, b := keyOf(0, 0), keyOf(1e8, 1e8)
	for seq := uint32(1); seq <= mostExits+10; seq++ {
		g.put(seq, 1, map[bool]tileKey{true: a, false: b}[seq%2 == 0], false)
	}
	if n := len(g.left); n > mostExits || g.oldest == 0 || g.left[0].seq != g.oldest+1 {
		t.Errorf("%d exits, complete behind %d, the first in %d", n, g.oldest, g.left[0].seq)
	}
}
