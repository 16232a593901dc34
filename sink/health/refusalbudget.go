package health

import (
	"errors"
	"fmt"
	"sync"

	"pingline/sink/store"
)

// A shard may refuse so many rows before its lanes are halted: a bad row now and
// then becomes a dead letter, but a cause that every other row has is to be put
// right, not to be written down a million times.
const (
	budgetRows    = 100_000 // of these, the newest
	BudgetRefused = 1000    // as many may be refused: 1 %
	budgetStep    = 1000    // rows that are forgotten at once
)

// ErrTooManyRefused says that no more rows of a shard become dead letters.
var ErrTooManyRefused = errors.New("too many rows are refused")

// RefusalBudget counts how many of the newest rows of a shard were refused. It is shared
// by the shard's lanes and safe for concurrent use; the zero value is ready.
type RefusalBudget struct {
	mu      sync.Mutex                   // guards all fields; nothing else is locked under it
	steps   [budgetRows / budgetStep]int // refused, by step; a ring
	current int                          // the newest step
	rows    int                          // passed in it
	all     int                          // passed in all steps, the current one included
	sum     int                          // refused in all steps
	allowed int                          // may be refused on top, and are not counted
}

// Spend returns how many of n refused rows may become dead letters, and counts
// them: all, or as many as were allowed, which are free.
func (b *RefusalBudget) Spend(n int) (may int, free bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.sum+n <= BudgetRefused {
		b.steps[b.current] += n
		b.sum += n
		return n, false
	}
	may = min(n, b.allowed)
	b.allowed -= may
	return may, true
}

// Refund undoes spend for n rows that did not become dead letters.
func (b *RefusalBudget) Refund(n int, free bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if free {
		b.allowed += n
		return
	}
	n = min(n, b.steps[b.current]) // or else it is being forgotten
	b.steps[b.current] -= n
	b.sum -= n
}

// Allow lets n rows be refused that do not count.
func (b *RefusalBudget) Allow(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.allowed += n
}

// Passed counts n rows that were written or became dead letters.
func (b *RefusalBudget) Passed(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all = min(b.all+n, budgetRows)
	for b.rows += n; b.rows >= budgetStep; b.rows -= budgetStep {
		b.current = (b.current + 1) % len(b.steps)
		b.sum -= b.steps[b.current]
		b.steps[b.current] = 0
	}
}

// TooMany returns the error of n further rows that must not become dead letters,
// the first of which is refused because of e.
func (b *RefusalBudget) TooMany(n int, e *store.Refusal) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return fmt.Errorf("%w: %d of the last %d, and %d now: %w", ErrTooManyRefused, b.sum, b.all, n, e)
}
