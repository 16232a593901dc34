// Package trouble keeps the causes for which a log takes no appends.
package trouble

import (
	"sync"
	"sync/atomic"
)

// Causes are the causes for which appends cannot be made durable now. Of several, the first in
// the order of the fields is told. Set changes and reads them. They are safe for concurrent use.
type Causes struct {
	mu      sync.Mutex // guards the causes; nothing else is locked under it
	Gone    error      // files of the log were replaced since they were opened, or the log is another node's: for good
	Unheld  error      // the hold on a log on servers is not renewed: the log may be another node's by now
	Failing error      // an append or Settle has failed; until Settle returns nil
	Full    error      // the disk has hardly any room

	now atomic.Pointer[troubleNow]
}

// Cause returns the cause that is told, or nil. Set must have been called.
func (t *Causes) Cause() error { return t.now.Load().cause }

// Begun returns a channel that is closed while there is a cause, and when the next begins.
func (t *Causes) Begun() <-chan struct{} { return t.now.Load().begun }

// troubleNow is the cause that is told. begun is closed if there is a cause, and
// else when the next begins.
type troubleNow struct {
	cause error
	begun chan struct{}
}

// Set changes a cause, and returns the cause that is told and whether it has changed.
func (t *Causes) Set(which *error, err error) (cause error, news bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	*which = err
	for _, err := range [...]error{t.Gone, t.Unheld, t.Failing, t.Full} {
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

// IsGone returns why the log takes no more appends, for good, or nil.
func (t *Causes) IsGone() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.Gone
}
