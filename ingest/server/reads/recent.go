package reads

import (
	"sync"
	"time"

	"pingline/ingest/server/share"
	"pingline/partition"
)

// recentFor is the greatest age of an answer about an area.
const recentFor = time.Second

// recentAreas keeps answers about areas for recentFor, so that all clients that ask for
// the same area share an answer. It is safe for concurrent use.
type recentAreas struct {
	mu   sync.Mutex // guards list and its answers; nothing else is locked under it
	list map[area]*areaAnswer
}

type area struct {
	box partition.Box
	res int
}

// areaAnswer is an answer about an area, made or being made. Its claim is given back when
// it has no more users.
type areaAnswer struct {
	area
	made  chan struct{} // closed when the fields below are set
	body  []byte
	cells int
	err   error

	of    *recentAreas
	users int // under of.mu; the list counts as a user
	claim share.Claim
}

// get returns the answer about at, and has fill make it if there is none. The caller
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
		a.claim.Drop()
	}
}
