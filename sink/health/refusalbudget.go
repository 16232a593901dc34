package health

import (
	"errors"
	"fmt"
	"sync"

	"pingline/sink/store"
)

// A shard may refuse a number of rows before its lanes are halted. A bad row now
// and then becomes a dead letter; but if every other row is refused, an operator
// must remove the cause before a million rows are dead letters.
const (
	budgetRows    = 100_000 // how many of the newest rows count
	BudgetRefused = 1000    // how many of budgetRows may be refused: 1 %
	budgetStep    = 1000    // rows that leave the count at once
)

// ErrTooManyRefused says that no more rows of a shard become dead letters.
var ErrTooManyRefused = errors.New("too many rows are refused")

// RefusalBudget counts how many of the newest rows of a shard were refused. It is shared
// by the shard's lanes and safe for concurrent use; the zero value is ready.
type RefusalBudget struct {
	mu      sync.Mutex                   // guards all fields; nothing else is locked under it
	steps   [budgetRows / budgetStep]int // refused rows, by step; a ring
	current int                          // the newest step
	rows    int                          // rows passed in the current step
	all     int                          // rows passed in all steps
	sum     int                          // rows refused in all steps
	allowed int                          // rows that may be refused beyond the budget, and are not counted
}

// Spend returns how many of n refused rows may become dead letters, and counts
// them against the budget. If an operator has allowed rows, it returns at most
// as many and counts none: then free is true.
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

// Refund undoes Spend for n rows that did not become dead letters.
func (b *RefusalBudget) Refund(n int, free bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if free {
		b.allowed += n
		return
	}
	n = min(n, b.steps[b.current]) // the rest has left the count
	b.steps[b.current] -= n
	b.sum -= n
}

// Allow lets n rows be refused without counting them.
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

// TooMany returns the error of n more rows that must not become dead letters; e
// is the refusal of the first.
func (b *RefusalBudget) TooMany(n int, e *store.Refusal) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return fmt.Errorf("%w: %d of the last %d, and %d now: %w", ErrTooManyRefused, b.sum, b.all, n, e)
}
