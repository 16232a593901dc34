package queue

import (
	"sync"
	"sync/atomic"
)

// trouble holds the causes for which appends cannot be made durable now. Of
// several, the first in the order of the fields is told.
type trouble struct {
	mu      sync.Mutex // guards the causes; nothing else is locked under it
	gone    error      // files of the log were replaced since they were opened, or the log is another node's: for good
	unheld  error      // the hold on a log on servers is not renewed: the log may be another node's by now
	failing error      // an append or Settle has failed; until Settle returns nil
	full    error      // the disk has hardly any room

	now atomic.Pointer[troubleNow]
}

// troubleNow is the cause that is told. begun is closed if there is a cause, and
// else when the next begins.
type troubleNow struct {
	cause error
	begun chan struct{}
}

// set changes a cause, and returns the cause that is told and whether it has changed.
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

// isGone returns why the log takes no more appends, for good, or nil.
func (t *trouble) isGone() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.gone
}
