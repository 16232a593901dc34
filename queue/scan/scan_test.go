package scan

import "testing"

func TestGaps(t *testing.T) {
	list := []uint64{1, 2, 5, 6, 7, 9, 12, 13, 20}
	got := gaps(list, 3, 13)
	want := []Gap{{5, 7}, {9, 9}, {12, 12}}
	if len(got) != len(want) {
		t.Fatalf("gaps = %v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("gaps = %v, want %v", got, want)
		}
	}
}
