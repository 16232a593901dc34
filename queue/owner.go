package queue

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"pingline/queue/cursor"
	"pingline/queue/disk"
	"pingline/queue/driver"
)

// owner is this process's hold on a log that is on servers, where no lock file
// keeps other processes away. The hold is a record (see ownership) that is
// changed only by compare-and-set, and is renewed while the process lives:
//
//   - A record that stays unchanged for its lease, by the clock of the process that
//     watches it, may be taken over. No two clocks are ever compared.
//   - A record that a process with the same directory left may be taken over at
//     once: the lock file in there says that the process is gone.
//   - A record that was released may be taken over at once.
//
// A process that was suspended for longer than the lease does not know that the log
// is another's by now. It can do no harm: an append names the record that it must
// follow, and the next owner has claimed the log by a record behind that one; before
// the end of the log is settled, and before anything is deleted, the record of the
// hold is renewed, which fails; and a deletion was announced in the record before, so
// that the next owner never reads the records it deletes.
//
// The hold says who may try, the log who has it: of two processes that both hold it,
// because its record was lost, the one whose records have the higher epoch has the log.
type owner struct {
	shelf driver.Register
	lease time.Duration
	began time.Time
	until atomic.Int64  // ns after began: before it no other process can have the log
	over  chan struct{} // closed once the log is another's
	leave chan struct{} // closed once we begin to let it go

	mu   sync.Mutex // guards the fields below and is held during a change of the record; taken after Log.trimming
	rec  ownership
	rev  uint64 // revision of the record
	lost error  // why the log is no longer ours
	gave error  // that we have let it go
}

const (
	ownerFile = "owner" // the incarnations that had this directory and may be in the record

	renewals = 5  // renewals in a lease
	looks    = 10 // looks at the record in a lease, while waiting for it to run out

	toldLooks, toldLook = 30, 5 * time.Millisecond // looks at a record that is told to be another soon

	standbyLook = 100 * time.Millisecond // time at most between two looks on standby: an owner that stops in order lets go at once
)

// predecessor is the record that the owner before this process has left.
type predecessor struct {
	*ownership      // nil if there was none
	own        bool // the predecessor had this directory
}

// takeOver makes this process the owner, or returns an error wrapping ErrOwned
// that names the present owner.
func takeOver(ctx context.Context, st driver.Stream, cfg *Config, mine cursor.Marks) (o *owner, was predecessor, err error) {
	o = &owner{lease: cfg.Lease, began: time.Now(), over: make(chan struct{}), leave: make(chan struct{})}
	if o.shelf, err = st.Register(ctx); err != nil {
		return nil, was, err
	}
	path, id := filepath.Join(cfg.Dir, ownerFile), rand.Text()
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, was, err
	}
	before := append(strings.Fields(string(text)), id)
	if was.ownership, o.rev, err = readOwnership(ctx, o.shelf); err != nil {
		return nil, was, err
	}
	said := ""
	for idle, tries := uint64(0), 0; ; tries++ {
		was.own = was.ownership != nil && slices.Contains(before, was.Incarnation)
		if free := was.ownership == nil || was.own || was.Released || o.rev == idle || cfg.Idle != nil && cfg.Idle(o.rev); !free {
			if cfg.Idle != nil {
				return nil, was, was.refusal(cfg.Node)
			}
			if was.ownership, o.rev, err = o.wait(ctx, was.ownership, cfg); err != nil {
				return nil, was, err
			}
			idle = o.rev
			continue
		}
		o.rec = newOwnership(cfg, id, &was, mine)
		names := id + "\n"
		if was.own { // either can be in the record when we die
			names += was.Incarnation + "\n"
		}
		if err := disk.WriteAside(path, []byte(names)); err != nil {
			cfg.Logger.Warn("after a crash this directory must wait for its own lease", "error", err)
		}
		taken, err := o.take(ctx)
		if taken || err != nil && !cfg.Standby {
			return o, was, err
		}
		if err != nil && err.Error() != said {
			said = err.Error()
			cfg.Logger.Warn("the log is not taken over yet", "error", err)
		}
		if was.ownership, o.rev, err = o.again(ctx, cfg, tries); err != nil {
			return nil, was, err
		}
	}
}

// again reads the record after it could not be taken. On standby it tries for as long as it
// takes.
func (o *owner) again(ctx context.Context, cfg *Config, tries int) (*ownership, uint64, error) {
	for {
		if err := driver.Pause(ctx, 10*time.Millisecond<<min(tries, 7)); err != nil {
			return nil, 0, err
		}
		now, rev, err := readOwnership(ctx, o.shelf)
		if err == nil || !cfg.Standby || errors.Is(err, ErrNewer) {
			return now, rev, err
		}
	}
}

// take tries to replace the record. It reports false if the servers refused
// and may accept the next try.
func (o *owner) take(ctx context.Context) (taken bool, err error) {
	sent := time.Now()
	rev, err := writeOwnership(ctx, o.shelf, &o.rec, o.rev)
	if err == nil {
		o.taken(rev, sent)
		return true, nil
	}
	now, rev, lerr := readOwnership(ctx, o.shelf)
	switch {
	case lerr != nil:
		return false, errors.Join(err, lerr)
	case now != nil && now.Incarnation == o.rec.Incarnation: // the write had landed, without an answer
		o.taken(rev, sent)
		return true, nil
	case !errors.Is(err, driver.ErrChanged):
		return false, err
	case now != nil && rev > o.rev && !now.Released:
		return false, now.refusal(o.rec.Node)
	}
	return false, nil
}

// wait returns when the record was, or on standby one that replaced it, has stayed unchanged
// for its lease, or is free.
func (o *owner) wait(ctx context.Context, was *ownership, cfg *Config) (*ownership, uint64, error) {
	cfg.Logger.Warn("the log belongs to another node: it is taken over unless that node renews its hold",
		"node", was.Node, "since", was.Since, "renewed", was.Renewed, "lease", was.lease(), "standby", cfg.Standby)
	tellWaiting(cfg, was)
	rev, failed := o.rev, 0
	said, stop := driver.Listen(o.shelf, letsGo)
	defer stop()
	for unchanged, soon := time.Duration(0), 0; unchanged < was.lease(); {
		every := was.lease() / looks
		if cfg.Standby {
			every = min(every, standbyLook)
		}
		if soon > 0 { // a record is told of before the servers have it
			every, soon = min(every, toldLook), soon-1
		}
		select {
		case <-time.After(every):
		case <-said:
			every, soon = 0, toldLooks
		case <-ctx.Done():
			return nil, 0, context.Cause(ctx)
		}
		// A failed look does not count: the owner may fail to renew for the same
		// reason.
		now, at, err := readOwnership(ctx, o.shelf)
		switch {
		case err != nil:
			if failed++; failed >= looks && !cfg.Standby || errors.Is(err, ErrNewer) {
				return nil, 0, err
			}
		case at == rev:
			unchanged += every
		case now == nil || now.Released:
			return now, at, nil
		case !cfg.Standby:
			return nil, 0, now.refusal(cfg.Node)
		default:
			if now.Incarnation != was.Incarnation {
				tellWaiting(cfg, now)
			}
			was, rev, unchanged = now, at, 0
		}
	}
	return was, rev, nil
}

func tellWaiting(cfg *Config, on *ownership) {
	if cfg.Standby && cfg.Waiting != nil {
		cfg.Waiting(on.Node, on.Since)
	}
}

// taken records that the record is ours at rev, by a request sent at sent.
func (o *owner) taken(rev uint64, sent time.Time) {
	o.rev = rev
	o.until.Store(int64(sent.Add(o.lease).Sub(o.began)))
}

// expired reports whether another process may have the log by now.
func (o *owner) expired() bool { return time.Since(o.began) >= time.Duration(o.until.Load()) }

// renew makes a change to the record, if change is not nil, and proves that the
// log is ours: when it returns nil the log was ours during the call.
func (o *owner) renew(ctx context.Context, change func(*ownership)) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for {
		if o.lost != nil || o.gave != nil {
			return cmp.Or(o.lost, o.gave)
		}
		rec := o.rec
		rec.Renewed = time.Now().UTC()
		if change != nil {
			change(&rec)
		}
		sent := time.Now()
		rev, err := writeOwnership(ctx, o.shelf, &rec, o.rev)
		if err == nil {
			o.rec = rec
			o.taken(rev, sent)
			return nil
		}
		if !errors.Is(err, driver.ErrChanged) {
			return fmt.Errorf("renew the hold on the log: %w", err)
		}
		if err := o.refused(ctx); err != nil {
			return err
		}
		if err := driver.Pause(ctx, 10*time.Millisecond); err != nil {
			return fmt.Errorf("renew the hold on the log: %w", err)
		}
	}
}

// Keep has the record hold the cursors.
func (o *owner) Keep(list *cursor.Marks) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*driver.AskAgain) // it is tried again soon
	defer cancel()
	if err := o.renew(ctx, func(r *ownership) { r.Cursors = list }); err != nil {
		return fmt.Errorf("keep cursors: %w", err)
	}
	return nil
}

// refused finds out why the record was not changed: a change of ours had landed
// without an answer, the record is gone, or it is another's. A server that lags
// behind may name an owner before us.
func (o *owner) refused(ctx context.Context) error {
	now, rev, err := readOwnership(ctx, o.shelf)
	switch {
	case err != nil:
		return fmt.Errorf("renew the hold on the log: %w", err)
	case now == nil || now.Incarnation == o.rec.Incarnation:
		o.rev = rev
	case rev > o.rev || now.Epoch > o.rec.Epoch || o.expired():
		return o.lose(now.refusal(o.rec.Node))
	}
	return nil
}

// lose notes why the log is no longer ours. The caller holds mu.
func (o *owner) lose(err error) error {
	if o.lost == nil {
		o.lost = err
		o.until.Store(0)
		close(o.over)
	}
	return o.lost
}

// outrank raises our epoch above the epoch that the log has reached. If we have appended in
// our epoch, a higher epoch there means that the log is another's, whatever the record of
// the hold says.
func (o *owner) outrank(ctx context.Context, reached uint64, appended bool) error {
	o.mu.Lock()
	ours := o.rec.Epoch
	switch {
	case reached < ours, reached == ours && appended:
		o.mu.Unlock()
		return nil
	case appended:
		defer o.mu.Unlock()
		return o.lose(fmt.Errorf("%w: the log has reached epoch %d, our records are of epoch %d", ErrOwned, reached, ours))
	}
	o.mu.Unlock()
	return o.renew(ctx, func(r *ownership) { r.Epoch = max(r.Epoch, reached+1) })
}

// epoch returns the epoch of our records.
func (o *owner) epoch() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.rec.Epoch
}

// release lets the next owner take the log at once.
func (o *owner) release() error {
	ctx, cancel := context.WithTimeout(context.Background(), driver.AskAgain)
	defer cancel()
	err := o.renew(ctx, func(r *ownership) { r.Released = true })
	if errors.Is(err, ErrOwned) {
		return nil
	}
	return err
}

// handOver is release while the process goes on: from now on it changes the record no more.
func (o *owner) handOver(ctx context.Context) error {
	if !o.leaving() {
		close(o.leave)
	}
	if err := o.renew(ctx, func(r *ownership) { r.Released = true }); err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.gave = fmt.Errorf("%w: it was handed over", ErrOwned)
	o.until.Store(0)
	return nil
}

func (o *owner) leaving() bool {
	select {
	case <-o.leave:
		return true
	default:
		return false
	}
}

func (o *owner) lostTo() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.lost
}
