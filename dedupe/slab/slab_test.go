package slab

import "testing"

// Values keep their place and what is in it, however many follow.
func TestValuesNeverMove(t *testing.T) {
	var s Slab[[2]int64]
	if s.Bytes() != 0 {
		t.Errorf("an empty slab takes %d bytes", s.Bytes())
	}
	const n = 3*chunk + 5
	var at []*[2]int64
	for k := range n {
		i := s.Grow()
		if int(i) != k+1 || s.Last != i {
			t.Fatalf("value %d has number %d, the last is %d", k+1, i, s.Last)
		}
		if v := s.At(i); *v != [2]int64{} {
			t.Fatalf("value %d begins as %v", i, *v)
		}
		s.At(i)[0] = int64(i)
		at = append(at, s.At(i))
	}
	for k, v := range at {
		if i := uint32(k + 1); s.At(i) != v || v[0] != int64(i) {
			t.Errorf("value %d was moved or changed: %v", i, *v)
		}
	}
	if got, want := s.Bytes(), int64(4*chunk*16); got != want {
		t.Errorf("%d values take %d bytes, want %d", n, got, want)
	}
}
