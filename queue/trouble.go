package queue

import (
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"pingline/queue/disk"
)

// trouble is why appends cannot be made durable now. Of several causes the first
// in this order is told.
type trouble struct {
	mu      sync.Mutex // guards the causes; nothing else is locked under it
	gone    error      // files of the log are not those that were opened, or it is another node's: for good
	unheld  error      // the hold on a log on servers is not renewed: it may be another's by now
	failing error      // an append or Settle has failed; until Settle returns nil
	full    error      // the disk has hardly any room

	now atomic.Pointer[troubleNow]
}

// troubleNow is the trouble there is. begun is closed if there is a cause, and
// when there will be the next one.
type troubleNow struct {
	cause error
	begun chan struct{}
}

// Trouble returns why appends cannot be made durable now, in words for an
// operator, or nil if nothing is known to be wrong.
func (l *Log) Trouble() error { return l.trouble.now.Load().cause }

// Troubled returns a channel that is closed while there is trouble, and when it
// begins.
func (l *Log) Troubled() <-chan struct{} { return l.trouble.now.Load().begun }

// set changes one of the causes and reports whether that changes what is told.
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
	t.now.Store(next) // first, so that the one who waited finds the cause
	if cause != nil && was != nil && was.cause == nil {
		close(was.begun)
	}
	return cause, was != nil
}

// say sets one of the causes, and logs what is new.
func (l *Log) say(which *error, err error) {
	switch cause, news := l.trouble.set(which, err); {
	case news && cause != nil:
		l.cfg.Logger.Error("the log takes nothing", "reason", cause)
	case news:
		l.cfg.Logger.Info("the log takes appends again")
	}
}

// Watch has the log take nothing any more once the file or directory at path is
// not the one that is there now, or that comes to be there first.
func (l *Log) Watch(path string) { l.watched.Add(path) }

// watchFiles begins to watch the files that an open log rests on.
func (l *Log) watchFiles() error {
	if err := l.cursors.touch(); err != nil {
		return err
	}
	l.watched.AddName(filepath.Join(l.cfg.Dir, cursorsFile))
	l.Watch(l.cfg.Dir)
	l.Watch(filepath.Join(l.cfg.Dir, disk.LockFile))
	l.Watch(filepath.Join(l.cfg.Dir, markFile))
	if blocks := l.stream.Blocks(); blocks != nil {
		l.Watch(blocks.Path())
	}
	return nil
}

const (
	// diskMargin is what must be free on the disk of an embedded log for appends
	// to be made: the server never finds the disk full in the middle of one, and
	// what it must write for itself has room. Once there was less, half as much
	// again must be free.
	diskMargin = 4 << 20

	watchEvery = 200 * time.Millisecond // the log looks at its disk and its files
)

// Check looks at the disk and, if that is due, at what is watched, and returns
// what Trouble does from then on. It costs a few microseconds. Append looks itself
// at the block it has written to.
func (l *Log) Check() error {
	if l.watched.Due() {
		if err := l.watched.Check(); err != nil {
			l.say(&l.trouble.gone, err)
		}
	}
	if l.cfg.embedded() {
		l.checkRoom()
	}
	return l.Trouble()
}

func (l *Log) checkRoom() {
	free, err := disk.Free(l.cfg.Dir)
	switch {
	case err != nil:
		l.say(&l.trouble.full, disk.Explain(l.cfg.Dir, err))
	case free < l.margin:
		l.say(&l.trouble.full, fmt.Errorf("no space left on %s", l.cfg.Dir))
	case free >= l.margin+l.margin/2:
		l.say(&l.trouble.full, nil)
	}
}

// isGone returns why the log takes nothing any more, for good, or nil.
func (t *trouble) isGone() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.gone
}
