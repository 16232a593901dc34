package sink

import (
	"sync"

	"pingline/sink/batch"
)

// givingUp is how far a set is given up. Safe for concurrent use.
type givingUp struct {
	mu     sync.Mutex    // guards the fields below; nothing else is locked under it
	before uint64        // batches that hold commits before this number are given up
	news   chan struct{} // closed when before rises
}

func (g *givingUp) rise(before uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if before <= g.before {
		return
	}
	g.before = before
	if g.news != nil {
		close(g.news)
		g.news = nil
	}
}

// passes reports whether the rows of b are not to be written any more, and returns a channel
// that closes when more is given up.
func (g *givingUp) passes(b *batch.Encoded) (passed bool, news <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.news == nil {
		g.news = make(chan struct{})
	}
	return b.From < g.before, g.news
}
