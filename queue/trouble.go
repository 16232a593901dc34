package queue

import (
	"sync"
	"sync/atomic"
)

// trouble holds the causes for which appends cannot be made durable now. Of several
// the first in this order is told.
type trouble struct {
	mu      sync.Mutex // guards the causes; nothing else is locked under it
	gone    error      // files of the log are not those that were opened, or it is another node's: for good
	unheld  error      // the hold on a log on servers is not renewed: it may be another's by now
	failing error      // an append or Settle has failed; until Settle returns nil
	full    error      // the disk has hardly any room

	now atomic.Pointer[troubleNow]
}

// troubleNow is the cause that is told. begun is closed if there is one, and else
// when the next one comes.
type troubleNow struct {
	cause error
	begun chan struct{}
}

// set changes one of the causes, and returns the cause that is told and whether it is
// another than before.
func (t *trouble) set(which *error, err error) (cause error, news bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	*which = err
	for _, err := range [...]error{t.gone, t.unheld, t.failing, t.full} {
		if cause == nil {
			cause = err
		}
	}
	was := t.now.Load()
	if was != nil && (cause == was.cause || cause != nil && was.cause != nil && cause.Error() == was.cause.Error()) {
		return cause, false
	}
	next := &troubleNow{cause: cause, begun: make(chan struct{})}
	if cause != nil {
		close(next.begun)
	}
	t.now.Store(next) // first, so that a waiter finds the cause
	if cause != nil && was != nil && was.cause == nil {
		close(was.begun)
	}
	return cause, was != nil
}

// isGone returns why the log takes nothing any more, for good, or nil.
func (t *trouble) isGone() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.gone
}
