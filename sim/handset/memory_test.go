package handset

import "testing"

func TestMemoryIsOfOneAtATime(t *testing.T) {
	var m Memory[int]
	a := m.Take(7)
	a.Of = 42
	if other := m.Take(8); other == nil || other.Of != 0 || other == a {
		t.Errorf("phone 8 has %+v", other)
	}
	if again := m.Take(7); again != nil {
		t.Errorf("taken twice: %+v", again)
	}
	a.Put()
	if again := m.Take(7); again == nil || again.Of != 42 {
		t.Errorf("phone 7 has %+v", again)
	}
	for _, i := range []int{-1, page * pages, 1 << 40} {
		if k := m.Take(i); k != nil {
			t.Errorf("phone %d has %+v", i, k)
		}
	}
	if k := m.Take(page*pages - 1); k == nil {
		t.Error("the last phone has nothing")
	}
}
