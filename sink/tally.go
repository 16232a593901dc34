package sink

import (
	"errors"
	"fmt"
	"sync"

	"pingline/sink/store"
)

// What a shard may refuse before its lanes stop: a bad row now and then is put
// aside, but a cause that every other row has is to be put right, not to be
// written down a million times.
const (
	tallyRows = 100_000 // of these, the newest
	tallyMost = 1000    // as many may be refused: 1 %
	tallyStep = 1000    // rows that are forgotten at once
)

// errTooManyRefused says that no more rows of a shard become dead letters.
var errTooManyRefused = errors.New("too many rows are refused")

// tally counts how many of the newest rows of a shard were refused. It is shared
// by the shard's lanes and safe for concurrent use; the zero value is ready.
type tally struct {
	mu      sync.Mutex
	steps   [tallyRows / tallyStep]int // refused, by step; a ring
	current int                        // the newest step
	rows    int                        // passed in it
	all     int                        // passed in all steps, the current one included
	sum     int                        // refused in all steps
	allowed int                        // may be refused on top, and are not counted
}

// admit returns how many of n refused rows may become dead letters, and counts
// them: all, or as many as were allowed, which are free.
func (t *tally) admit(n int) (may int, free bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sum+n <= tallyMost {
		t.steps[t.current] += n
		t.sum += n
		return n, false
	}
	may = min(n, t.allowed)
	t.allowed -= may
	return may, true
}

// giveBack undoes admit for n rows that did not become dead letters.
func (t *tally) giveBack(n int, free bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if free {
		t.allowed += n
		return
	}
	n = min(n, t.steps[t.current]) // or else it is being forgotten
	t.steps[t.current] -= n
	t.sum -= n
}

// allow lets n rows be refused that do not count.
func (t *tally) allow(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.allowed += n
}

// passed counts n rows that were settled one way or the other.
func (t *tally) passed(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all = min(t.all+n, tallyRows)
	for t.rows += n; t.rows >= tallyStep; t.rows -= tallyStep {
		t.current = (t.current + 1) % len(t.steps)
		t.sum -= t.steps[t.current]
		t.steps[t.current] = 0
	}
}

// tooMany is why n further rows must not be put aside, of which one is refused
// because of e.
func (t *tally) tooMany(n int, e *store.Refusal) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return fmt.Errorf("%w: %d of the last %d, and %d now: %w", errTooManyRefused, t.sum, t.all, n, e)
}
