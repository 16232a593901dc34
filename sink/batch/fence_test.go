package batch

import (
	"testing"

	"pingline/queue"
)

// hasty is a log of which a lane takes a commit right after it was asked for its head, a few
// times.
type hasty struct {
	last  uint64
	times int
	take  func(number uint64)
}

func (h *hasty) Head() queue.Cursor {
	head := queue.Cursor{Next: h.last + 1}
	if h.times > 0 {
		h.times--
		h.last++
		h.take(h.last)
	}
	return head
}

// No lane takes a commit behind the end, also one that comes while the end is set; a lane that
// waits there goes on if the end is withdrawn, and ends if it is kept.
func TestFence(t *testing.T) {
	f := new(Fence)
	log := &hasty{last: 100, times: 3}
	log.take = func(number uint64) {
		f.reach(number) // it has looked before the end was set
	}
	if end := Propose(log, f); end.Next != 104 {
		t.Fatalf("the end is before commit %d, and a lane has taken 103", end.Next)
	}
	took := func(number uint64) <-chan bool {
		got := make(chan bool, 1)
		go func() {
			mine, err := f.take(t.Context(), number)
			got <- mine && err == nil
		}()
		return got
	}
	if !<-took(103) {
		t.Error("a commit before the end is not taken")
	}
	waits := took(104)
	f.Withdraw()
	if !<-waits {
		t.Error("a lane does not go on after the end was withdrawn")
	}
	log.last = 104
	if end := Propose(log, f); end.Next != 105 {
		t.Fatalf("the end is before commit %d of 105", end.Next)
	}
	waits = took(105)
	f.Keep()
	if <-waits || <-took(106) {
		t.Error("a commit behind the end is taken")
	}
	if at := f.Skip(queue.Cursor{Next: 200}); at.Next != 105 {
		t.Errorf("a lane that skips to 200 goes on at %d", at.Next)
	}
	if f := FenceAt(queue.Cursor{Next: 7}); f.Clamp(queue.Cursor{Next: 9}).Next != 7 || f.Clamp(queue.Cursor{Next: 5}).Next != 5 {
		t.Error("the head is not clamped to the end")
	}
}
