package queue

import (
	"fmt"

	"pingline/queue/disk"
)

// firstLimit sets how large the log may grow.
func (l *Log) firstLimit() error {
	if l.setLimit(l.cfg.MaxBytes); !l.cfg.embedded() {
		return nil
	}
	used, err := disk.Used(l.cfg.Dir)
	if err != nil {
		return fmt.Errorf("size of %s: %w", l.cfg.Dir, err)
	}
	half, err := disk.Half(l.cfg.Dir, used)
	if err == nil && half < l.limit {
		l.cfg.Logger.Warn("the log is limited to half of the free disk", "bytes", half, "configured", l.limit)
		l.setLimit(half)
	}
	return err
}

// raiseLimit raises the limit of a log that began when the disk was fuller.
func (l *Log) raiseLimit() error {
	l.mu.Lock()
	used, highest := l.bytes, l.limit >= l.cfg.MaxBytes
	l.mu.Unlock()
	if highest {
		return nil
	}
	half, err := disk.Half(l.cfg.Dir, used)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.setLimit(max(l.limit, min(half, l.cfg.MaxBytes)))
	return nil
}

// setLimit is called with mu held, or before Open has returned the log.
func (l *Log) setLimit(limit int64) {
	l.limit = limit
	if l.reserve = min(max(l.cfg.Reserve, 0), limit/2); l.cfg.Reserve == 0 {
		l.reserve = limit / 20
	}
}
