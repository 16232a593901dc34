package batch

import (
	"context"
	"math"
	"sync"
	"sync/atomic"

	"pingline/queue"
)

// Fence is the place in the log at which all lanes of a layout end. Up to it each commit is
// theirs, from it on none is. The zero value is no end so far. It is safe for concurrent use.
//
// A fence is set up in two steps, since the end must be on disk before anybody else takes the
// commits behind it: Propose stops the lanes there, and Keep or Withdraw lets them end or go on.
// A lane says how far it will read before it looks for the end, and Propose looks how far the
// lanes are after it has set the end: so of two that meet, one sees the other.
type Fence struct {
	furthest atomic.Uint64 // number of the last commit that any lane has taken
	at       atomic.Pointer[fenceEnd]
	setting  sync.Mutex // held by Propose, Keep and Withdraw
}

type fenceEnd struct {
	queue.Cursor
	decided chan struct{} // closed once kept is known
	kept    bool
}

// FenceAt returns a fence whose end is kept.
func FenceAt(end queue.Cursor) *Fence {
	f := new(Fence)
	f.at.Store(&fenceEnd{end, closed(), true})
	return f
}

func closed() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// Propose stops the lanes of all fences at the same place, the head of the log, and returns it.
// None of them may have an end.
func Propose(log interface{ Head() queue.Cursor }, fences ...*Fence) queue.Cursor {
	for _, f := range fences {
		f.setting.Lock()
		defer f.setting.Unlock()
	}
	decided := make(chan struct{})
	for { // a commit that comes between two lines below is read at once by some lane
		end := log.Head()
		passed := false
		for _, f := range fences {
			f.at.Store(&fenceEnd{Cursor: end, decided: decided})
		}
		for _, f := range fences {
			passed = passed || f.furthest.Load() >= end.Next
		}
		if !passed {
			return end
		}
	}
}

// Keep lets the lanes end where Propose said.
func (f *Fence) Keep() { f.decide(true) }

// Withdraw lets the lanes go on.
func (f *Fence) Withdraw() { f.decide(false) }

func (f *Fence) decide(kept bool) {
	f.setting.Lock()
	defer f.setting.Unlock()
	end := f.at.Load()
	if kept {
		f.at.Store(&fenceEnd{end.Cursor, closed(), true})
	} else {
		f.at.Store(nil)
	}
	select {
	case <-end.decided: // with another fence
	default:
		close(end.decided)
	}
}

// End returns where the lanes end, and false if that is open.
func (f *Fence) End() (queue.Cursor, bool) {
	if f == nil {
		return queue.Cursor{}, false
	}
	end := f.at.Load()
	if end == nil {
		return queue.Cursor{}, false
	}
	return end.Cursor, true
}

// Clamp returns the head of the log as the lanes of the fence see it.
func (f *Fence) Clamp(head queue.Cursor) queue.Cursor {
	if end, ok := f.End(); ok && end.Next < head.Next {
		return end
	}
	return head
}

// Skip says that a lane goes on at a place of the log. It returns the end instead, if that is
// before the place.
func (f *Fence) Skip(to queue.Cursor) queue.Cursor {
	if f == nil {
		return to
	}
	f.reach(to.Next - 1)
	return f.Clamp(to)
}

// take reports whether a lane may take a commit. It waits while that is not decided; the only
// error is ctx's.
func (f *Fence) take(ctx context.Context, number uint64) (bool, error) {
	if f == nil {
		return true, nil
	}
	for {
		end := f.at.Load()
		if end == nil || number < end.Next {
			f.reach(number)
			if end = f.at.Load(); end == nil || number < end.Next {
				return true, nil
			}
		}
		if end.kept {
			return false, nil
		}
		select {
		case <-end.decided:
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}

// reach says that a lane takes all commits up to a number.
func (f *Fence) reach(number uint64) {
	for {
		was := f.furthest.Load()
		if was >= number || was == math.MaxUint64 || f.furthest.CompareAndSwap(was, number) {
			return
		}
	}
}
