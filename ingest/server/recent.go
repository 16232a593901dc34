package server

import (
	"sync"
	"time"

	"pingline/partition"
)

// recentFor is how old the answer about an area may be.
const recentFor = time.Second

// recentAreas keeps answers about areas for a moment, so that one look serves all who
// ask for the same. It is safe for concurrent use.
type recentAreas struct {
	mu   sync.Mutex // guards list and its answers; nothing else is locked under it
	list map[area]*areaAnswer
}

type area struct {
	box partition.Box
	res int
}

// areaAnswer is an answer about an area, or being made. What it takes is given
// back when nobody needs it any more.
type areaAnswer struct {
	area
	made  chan struct{} // closed when the rest stands
	body  []byte
	cells int
	err   error

	of    *recentAreas
	users int // under of.mu; one of them is the list
	claim claim
}

// get returns the answer about at, which fill makes if it is not there. Its user
// releases it.
func (r *recentAreas) get(at area, fill func(*areaAnswer)) *areaAnswer {
	r.mu.Lock()
	a := r.list[at]
	if a != nil {
		a.users++
		r.mu.Unlock()
		<-a.made
		return a
	}
	a = &areaAnswer{area: at, made: make(chan struct{}), of: r, users: 2}
	r.list[at] = a
	r.mu.Unlock()
	fill(a)
	close(a.made)
	if a.err != nil {
		a.expire()
	} else {
		time.AfterFunc(recentFor, a.expire)
	}
	return a
}

// expire takes a off the list.
func (a *areaAnswer) expire() {
	a.of.mu.Lock()
	delete(a.of.list, a.area)
	a.of.mu.Unlock()
	a.release()
}

func (a *areaAnswer) release() {
	a.of.mu.Lock()
	defer a.of.mu.Unlock()
	if a.users--; a.users == 0 {
		a.claim.drop()
	}
}
