package costtest

import "testing"

// The cost of a stage is told by its work: twice the work costs about twice as much.
func TestCostsFollowTheWork(t *testing.T) {
	work := func(n int) func() {
		return func() {
			for range n {
				reference()
			}
		}
	}
	var one, four measured
	for round := 1; ; round++ {
		one.round(nil, work(1))
		four.round(nil, work(4))
		if one.stage > 0 && four.stage > 2*one.stage && one.loop < 2*four.loop && four.loop < 2*one.loop {
			return
		}
		if round == mostRounds {
			t.Fatalf("one %v, four %v", one, four)
		}
	}
}
