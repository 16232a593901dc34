package fleet

import (
	"slices"
	"unsafe"

	"pingline/dedupe/slab"
)

// grid knows which items lie in which tile, which of them changed since an earlier
// snapshot, and which have left a tile since. Items and tiles are numbered from 1.
type grid struct {
	items slab.Slab[item]
	tiles slab.Slab[tile]
	free  []uint32           // tiles without items, to be used again
	known map[tileKey]uint32 // tiles with items
	all   [][]uint32         // by square, its tiles; nil before the first item
	count []population       // by square

	left   []exit // in order of snapshots
	oldest uint32 // snapshot behind which left is complete
}

// item is the place of an item in the grid.
type item struct {
	tile       uint32 // 0: in none
	next, prev uint32 // items of the same tile; 0 at the ends
	changed    uint32 // snapshot of its last change
	entered    uint32 // snapshot in which it came into its tile, became another, or was shown again
	hidden     bool   // it is not shown: it counts as absent
}

type tile struct {
	tileKey
	index uint32 // in the list of its square
	first uint32 // item
	population
	changed uint32 // snapshot of the last change of an item in it
}

// population is how many items there are, and how many of them are not hidden.
type population struct{ all, shown int32 }

func (p *population) add(it *item, n int32) {
	p.all += n
	if !it.hidden {
		p.shown += n
	}
}

// exit is an item that left a tile in a snapshot.
type exit struct {
	seq, item uint32
	from      tileKey
}

// mostExits bounds the memory for items that have left a tile; beyond it, the
// oldest half is forgotten.
const mostExits = 1 << 19

// perSquare is the memory of a square without its tiles, bytes.
const perSquare = int64(unsafe.Sizeof([]uint32{}) + unsafe.Sizeof(population{}))

// perTile is about the memory of a tile with its place in lists and map, bytes.
const perTile = int64(unsafe.Sizeof(tile{})) + 2*4 + 40

// put notes in snapshot seq that an item has changed and lies in a tile now. If it
// became another item, fresh is true.
func (g *grid) put(seq, i uint32, at tileKey, fresh bool) {
	for g.items.Last < i {
		g.items.Grow()
	}
	it := g.items.At(i)
	it.changed = seq
	if it.tile == 0 || g.tiles.At(it.tile).tileKey != at {
		g.remove(seq, i)
		it.tile = g.tileAt(at)
		t := g.tiles.At(it.tile)
		it.next, it.prev = t.first, 0
		if t.first != 0 {
			g.items.At(t.first).prev = i
		}
		t.first = i
		t.add(it, 1)
		g.count[at.square()].add(it, 1)
		fresh = true
	}
	if fresh {
		it.entered = seq
	}
	g.tiles.At(it.tile).changed = seq
}

// remove notes in snapshot seq that an item is in no tile any more.
func (g *grid) remove(seq, i uint32) {
	if i > g.items.Last {
		return
	}
	it := g.items.At(i)
	if it.tile == 0 {
		return
	}
	t := g.tiles.At(it.tile)
	if it.next != 0 {
		g.items.At(it.next).prev = it.prev
	}
	if it.prev != 0 {
		g.items.At(it.prev).next = it.next
	} else {
		t.first = it.next
	}
	t.add(it, -1)
	g.count[t.square()].add(it, -1)
	g.leave(exit{seq, i, t.tileKey})
	if t.all == 0 {
		g.drop(it.tile)
	}
	it.tile = 0
}

// hide notes in snapshot seq that an item in a tile is shown no more, or again.
func (g *grid) hide(seq, i uint32, hidden bool) {
	it := g.items.At(i)
	if it.hidden == hidden {
		return
	}
	t := g.tiles.At(it.tile)
	t.add(it, -1)
	g.count[t.square()].add(it, -1)
	it.hidden = hidden
	t.add(it, 1)
	g.count[t.square()].add(it, 1)
	if it.changed, t.changed = seq, seq; hidden {
		g.leave(exit{seq, i, t.tileKey})
	} else {
		it.entered = seq
	}
}

func (g *grid) leave(d exit) {
	if len(g.left) >= mostExits {
		half := len(g.left) / 2
		g.oldest = g.left[half-1].seq
		g.left = append(g.left[:0], g.left[half:]...)
	}
	g.left = append(g.left, d)
}

// forget forgets exits up to a snapshot.
func (g *grid) forget(seq uint32) {
	g.oldest = max(g.oldest, seq)
	n := g.since(seq)
	if n > 0 {
		g.left = append(g.left[:0], g.left[n:]...)
	}
}

// since returns the index of the first exit behind a snapshot.
func (g *grid) since(seq uint32) int {
	n, _ := slices.BinarySearchFunc(g.left, seq, func(d exit, seq uint32) int {
		if d.seq <= seq {
			return -1
		}
		return 1
	})
	return n
}

func (g *grid) tileAt(at tileKey) uint32 {
	if n := g.known[at]; n != 0 {
		return n
	}
	if g.all == nil {
		g.all, g.count, g.known = make([][]uint32, squares), make([]population, squares), make(map[tileKey]uint32)
	}
	var n uint32
	if last := len(g.free) - 1; last >= 0 {
		n = g.free[last]
		g.free = g.free[:last]
	} else {
		n = g.tiles.Grow()
	}
	list := &g.all[at.square()]
	*g.tiles.At(n) = tile{tileKey: at, index: uint32(len(*list))}
	*list = append(*list, n)
	g.known[at] = n
	return n
}

func (g *grid) drop(n uint32) {
	t := g.tiles.At(n)
	list := g.all[t.square()]
	last := list[len(list)-1]
	list[t.index] = last
	g.tiles.At(last).index = t.index
	g.all[t.square()] = list[:len(list)-1]
	delete(g.known, t.tileKey)
	g.free = append(g.free, n)
}

// shown returns how many items that are not hidden lie in the tiles of a viewport, or a
// number above most if there are more than that.
func (g *grid) shown(v *Viewport, most int) (n int) {
	if g.all == nil {
		return 0
	}
	v.eachSquare(func(square int, whole bool) bool {
		if whole {
			n += int(g.count[square].shown)
			return n <= most
		}
		for _, t := range g.all[square] {
			if t := g.tiles.At(t); v.has(t.tileKey) {
				n += int(t.shown)
			}
		}
		return n <= most
	})
	return n
}

// gather appends to dst the items in the tiles of a viewport that changed behind a
// snapshot and are not hidden, or are no matter if, at most most of them.
func (g *grid) gather(dst []uint32, v *Viewport, seq uint32, hidden bool, most int) []uint32 {
	if g.all == nil {
		return dst
	}
	most += len(dst)
	v.eachSquare(func(square int, whole bool) bool {
		for _, n := range g.all[square] {
			t := g.tiles.At(n)
			if t.changed <= seq || !whole && !v.has(t.tileKey) {
				continue
			}
			for i := t.first; i != 0; {
				it := g.items.At(i)
				if it.changed > seq && (hidden || !it.hidden) {
					if len(dst) == most {
						return false
					}
					dst = append(dst, i)
				}
				i = it.next
			}
		}
		return true
	})
	return dst
}

// absent appends to dst the items that left the tiles of a viewport behind a snapshot and
// are not there again, each once.
func (g *grid) absent(dst []uint32, v *Viewport, seq uint32) []uint32 {
	begin := len(dst)
	for _, d := range g.left[g.since(seq):] {
		if v.has(d.from) {
			if it := g.items.At(d.item); it.tile == 0 || it.hidden || !v.has(g.tiles.At(it.tile).tileKey) {
				dst = append(dst, d.item)
			}
		}
	}
	slices.Sort(dst[begin:])
	return append(dst[:begin], slices.Compact(dst[begin:])...)
}

func (g *grid) bytes() int64 {
	n := g.items.Bytes() + int64(cap(g.left))*int64(unsafe.Sizeof(exit{})) + int64(g.tiles.Last)*perTile
	if g.all != nil {
		n += squares * perSquare
	}
	return n
}

// touch notes in snapshot seq that an item in a tile has changed.
func (g *grid) touch(seq, i uint32) {
	it := g.items.At(i)
	it.changed = seq
	g.tiles.At(it.tile).changed = seq
}
