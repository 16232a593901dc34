package queue

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"pingline/queue/disk"
)

// Trouble returns why appends cannot be made durable now, in words for an
// operator, or nil if nothing is known to be wrong.
func (l *Log) Trouble() error { return l.trouble.Cause() }

// Troubled returns a channel that is closed while there is trouble, and when it
// begins.
func (l *Log) Troubled() <-chan struct{} { return l.trouble.Begun() }

// say sets a cause, and logs the cause that is told if it has changed.
func (l *Log) say(which *error, err error) {
	switch cause, news := l.trouble.Set(which, err); {
	case news && cause != nil:
		l.cfg.Logger.Error("the log takes no appends", "reason", cause)
	case news:
		l.cfg.Logger.Info("the log takes appends again")
	}
}

// Watch has the log take no more appends once the file or directory at path was
// replaced. If there is nothing at path yet, the first file that appears must
// stay.
func (l *Log) Watch(path string) { l.watched.Add(path) }

// watchFiles begins to watch the files that an open log rests on.
func (l *Log) watchFiles() error {
	if l.owner == nil {
		file := l.cursorsFile()
		there, err := file.Exists()
		if err == nil && !there {
			l.cursors.Touch()
			err = l.KeepCursors()
		}
		if err != nil {
			return err
		}
		l.watched.AddName(string(file))
	}
	l.Watch(l.cfg.Dir)
	l.Watch(filepath.Join(l.cfg.Dir, disk.LockFile))
	l.Watch(filepath.Join(l.cfg.Dir, highWaterFile))
	if dir := l.stream.Directory(); dir != "" {
		l.Watch(dir)
	}
	return nil
}

const (
	// diskMargin is the room, bytes, that must be free on the disk of an embedded log
	// for appends to be made: so the server never finds the disk full during an
	// append, and has room for its own files. Once there was less, half as much again
	// must be free.
	diskMargin = 4 << 20

	watchEvery = 200 * time.Millisecond // between two looks at the disk and the files
)

// Check looks at the disk and, if that is due, at the watched files, and returns the
// same as Trouble from then on. It costs a few microseconds. Append itself checks
// the block it has written to.
func (l *Log) Check() error {
	if l.watched.Due() {
		if err := l.watched.Check(); err != nil {
			l.say(&l.trouble.Gone, err)
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
		l.say(&l.trouble.Full, disk.Explain(l.cfg.Dir, err))
	case free < l.margin:
		l.say(&l.trouble.Full, fmt.Errorf("no space left on %s", l.cfg.Dir))
	case free >= l.margin+l.margin/2:
		l.say(&l.trouble.Full, nil)
	}
}

const keepEvery = time.Second

// upkeep looks at the disk and the files, keeps the cursors, and raises the limit
// when the disk has more room, until the log is closed. It logs a failure once, and
// again after a success.
func (l *Log) upkeep() {
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	look := time.NewTicker(watchEvery)
	defer look.Stop()
	for failing := false; ; {
		select {
		case <-l.life.Done():
			return
		case <-look.C:
			_ = l.Check() // Trouble returns it
			continue
		case <-tick.C:
		}
		err := errors.Join(l.KeepCursors(), l.raiseLimit())
		if err != nil && !failing && !errors.Is(err, ErrOwned) { // Trouble says so
			l.cfg.Logger.Warn("upkeep of the log", "error", err)
		}
		failing = err != nil
	}
}
