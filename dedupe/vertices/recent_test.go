package vertices

import (
	"bytes"
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pingline/dedupe/plane"
)

// known is what is remembered of some tracks, and the pool of their blocks.
type known struct {
	Pool
	recent []Recent // by track
	marks  []uint32
}

func newKnown(tracks, bytes int) *known {
	k := &known{recent: make([]Recent, tracks+1), marks: make([]uint32, tracks+1)}
	k.Pool = NewPool(bytes, func(i uint32) (*Recent, *uint32) { return &k.recent[i], &k.marks[i] })
	return k
}

// all returns the vertices of a track, the oldest first, as Oldest and After walk them.
func (k *known) all(i uint32) (spots []plane.Spot) {
	r := &k.recent[i]
	if r.N == 0 {
		return nil
	}
	at, ok := k.Oldest(r), true
	for ; ok; at, ok = k.After(r, at) {
		spots = append(spots, r.Spot(*k.Vertex(r, at)))
	}
	return spots
}

// In whatever order vertices come, and however little memory there is, the newest that
// were added are known, without a hole.
func TestNewestVerticesAreKnown(t *testing.T) {
	for _, size := range []int{0, 4 * BlockBytes, 1 << 20} {
		rng := rand.New(rand.NewPCG(uint64(size), 4))
		const tracks = 5
		k := newKnown(tracks, size)
		added := make([][]plane.Spot, tracks+1)
		now := int64(1_760_000_000_000)
		for range 20_000 {
			i := uint32(1 + rng.IntN(tracks))
			now += 1 + rng.Int64N(1000)
			s := plane.Spot{At: now, Lat: rng.Int32() % 900_000_000, Lon: rng.Int32() % 1_800_000_000}
			if all := k.all(i); len(all) > 0 && rng.IntN(4) == 0 { // between those that are known
				s.At = all[0].At + 1 + rng.Int64N(now-all[0].At)
			}
			if slices.ContainsFunc(added[i], func(o plane.Spot) bool { return o.At == s.At }) {
				continue
			}
			k.Add(i, &k.recent[i], s, false)
			added[i] = append(added[i], s)
			if rng.IntN(200) > 0 {
				continue
			}
			slices.SortFunc(added[i], func(a, b plane.Spot) int { return cmp.Compare(a.At, b.At) })
			all := k.all(i)
			if newest := added[i][len(added[i])-len(all):]; !slices.Equal(all, newest) {
				t.Fatalf("%d bytes: known are %v, added were %v", size, all, newest)
			}
			if len(all) < min(inTrack, len(added[i])) || len(all) > Most || size == 1<<20 && len(all) < min(Most/2, len(added[i])) {
				t.Fatalf("%d bytes: %d of %d vertices are known", size, len(all), len(added[i]))
			}
			if !k.InOrder(&k.recent[i]) || k.recent[i].Last() != all[len(all)-1] {
				t.Fatalf("%d bytes: the points are not in order", size)
			}
			n := rng.IntN(len(all))
			at, ok := k.Find(&k.recent[i], all[n].At)
			if !ok || k.recent[i].Spot(*k.Vertex(&k.recent[i], at)) != all[n] {
				t.Fatalf("%d bytes: vertex %d of %d is not found", size, n, len(all))
			}
			if _, ok := k.Find(&k.recent[i], all[0].At-1); ok {
				t.Fatalf("%d bytes: a vertex before the oldest is found", size)
			}
		}
	}
}

// Vertices more than 49 days before the newest are forgotten, because they are told in
// 32 bits.
func TestVerticesOfLongAgoAreForgotten(t *testing.T) {
	k := newKnown(1, 1<<20)
	at := int64(1_760_000_000_000)
	for n := range 100 {
		k.Add(1, &k.recent[1], plane.Spot{At: at + int64(n)}, false)
	}
	k.Add(1, &k.recent[1], plane.Spot{At: at + math.MaxUint32 + 50}, false)
	if all := k.all(1); len(all) == 0 || all[0].At < at+50 || all[len(all)-1].At != at+math.MaxUint32+50 {
		t.Errorf("known are %v", all)
	}
	k.Clear(&k.recent[1])
	if all := k.all(1); len(all) > 0 || k.recent[1].Top != 0 {
		t.Errorf("after Clear %d are known", len(all))
	}
}

// The newest marks of a track are known, and none that was never added.
func TestMarks(t *testing.T) {
	k := newKnown(2, 1<<20)
	mark := func(n int) Fingerprint { return NewMark(plane.Spot{At: int64(n)}, "sos") }
	for n := range 3 * Most {
		k.Remember(1, mark(n))
	}
	for n := 3*Most - Most/2; n < 3*Most; n++ {
		if !k.Remembers(k.marks[1], mark(n)) {
			t.Fatalf("mark %d of %d is forgotten", n, 3*Most)
		}
	}
	if k.Remembers(k.marks[1], mark(0)) || k.Remembers(k.marks[1], mark(3*Most)) || k.Remembers(k.marks[2], mark(3*Most-1)) {
		t.Error("a mark is known that was forgotten or never added")
	}
	if NewMark(plane.Spot{At: 1}, "sos") == NewMark(plane.Spot{At: 1}, "") {
		t.Error("two events of one fix have the same mark")
	}
	k.ClearMarks(&k.marks[1])
	if k.marks[1] != 0 || k.Remembers(k.marks[1], mark(3*Most-1)) {
		t.Error("a mark is known after ClearMarks")
	}
}

// A chain that is restored from what AppendChain told is the same.
func TestChainIsRestored(t *testing.T) {
	k, again := newKnown(1, 1<<20), newKnown(1, 1<<20)
	for n := range 300 {
		k.Add(1, &k.recent[1], plane.Spot{At: 1000 * int64(n), Lat: int32(n), Lon: int32(-n)}, n%3 == 0)
	}
	told := k.AppendChain(nil, k.recent[1].Top)
	of, from := &k.recent[1], &again.recent[1]
	from.Base, from.Points, from.N = of.Base, of.Points, of.N
	for b := told[2:]; len(b) > 0; {
		points := make([]Packed, b[0])
		b = b[1:]
		for i := range points {
			le := func(at int) uint32 {
				return uint32(b[at]) | uint32(b[at+1])<<8 | uint32(b[at+2])<<16 | uint32(b[at+3])<<24
			}
			points[i] = Packed{Since: le(0), Lat: le(4), Lon: int32(le(8))}
			b = b[12:]
		}
		if !again.Restore(1, &from.Top, points, false) {
			t.Fatal("there is no memory for a block")
		}
	}
	if got := again.AppendChain(nil, from.Top); !bytes.Equal(got, told) || from.Beyond != of.Beyond || !slices.Equal(again.all(1), k.all(1)) {
		t.Errorf("%d vertices, restored %d", len(k.all(1)), len(again.all(1)))
	}
	if empty := k.AppendChain(nil, 0); !bytes.Equal(empty, []byte{0, 0}) {
		t.Errorf("an empty chain is told as %x", empty)
	}
}
