package share

import "testing"

func TestShareOfABudget(t *testing.T) {
	b := New(100)
	one, two, three, ours := b.Claim(1, false), b.Claim(2, false), b.Claim(3, false), b.Claim(1, true)
	for i, step := range []struct {
		who  *Claim
		n    int64
		fits bool
	}{
		{&one, 50, true}, // nobody else wants it
		{&one, 1, false},
		{&two, 25, true},
		{&two, 1, false},
		{&ours, 10, true},
		{&three, 16, false}, // all that there is
		{&three, 15, true},
		{&ours, 1, false},
	} {
		if got := step.who.Take(step.n); got != step.fits {
			t.Errorf("step %d: %d more are taken: %v", i, step.n, got)
		}
	}
	for _, c := range []*Claim{&one, &two, &three, &ours, {}} {
		c.Drop()
	}
	if b.used.Load() != 0 || b.shares[1].Load() != 0 || b.shares[2].Load() != 0 {
		t.Error("something is left when all is given back")
	}
}
