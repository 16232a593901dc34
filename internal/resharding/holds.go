package resharding

import (
	"sync"
	"time"
)

// mostHeld is how long a node has writes wait for a deletion by another node, which has ended by
// then or is dead.
const mostHeld = 30 * time.Second

// holds are the latches that are held for other nodes.
type holds struct {
	mu   sync.Mutex // guards the fields below; nothing else is locked under it
	last int64
	held map[int64]func()
}

// keep holds until the function it returns a number for is called, or for mostHeld.
func (h *holds) keep(release func()) (number int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.held == nil {
		h.held = make(map[int64]func())
	}
	h.last++
	number = h.last
	h.held[number] = release
	time.AfterFunc(mostHeld, func() { h.end(number) })
	return number
}

// end reports whether it was held until now.
func (h *holds) end(number int64) bool {
	h.mu.Lock()
	release := h.held[number]
	delete(h.held, number)
	h.mu.Unlock()
	if release != nil {
		release()
	}
	return release != nil
}
