package queue

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"pingline/queue/cursor"
	"pingline/queue/driver"
	"pingline/queue/scan"
)

// takeOver makes a log on servers ours, and with it its cursors.
func (l *Log) takeOver(ctx context.Context) error {
	if l.cfg.embedded() || l.cfg.unowned {
		return nil
	}
	file := l.cursorsFile()
	mine, err := file.Read()
	if err != nil {
		mine = cursor.Marks{} // openCursors has said it
	}
	owner, was, err := takeOver(ctx, l.stream, &l.cfg, mine)
	if err != nil {
		return err
	}
	l.owner = owner
	l.cursors.Open(owner, *owner.rec.Cursors)
	if was.ownership != nil && !was.own {
		l.cfg.Logger.Info("the log was another node's", "node", was.Node, "since", was.Since, "released", was.Released, "with_cursors", was.Cursors != nil)
	}
	return file.Remove() // an earlier version's
}

// holdLog returns nil if the log is ours: for certain with proof, else as far as
// our clock tells. An embedded log is ours by its lock file.
func (l *Log) holdLog(ctx context.Context, proof bool) error {
	if l.owner == nil || !proof && !l.owner.expired() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, l.cfg.AppendTimeout)
	defer cancel()
	err := l.owner.renew(ctx, nil)
	l.tellOwner(err)
	return err
}

// Claim makes sure, before a caller reads the log to its end, that an earlier owner
// appends nothing behind it, though that owner may not know yet that the log is ours:
// it appends a record that holds payload, as Settle does, in our own epoch. Call it
// before the first Append; later it does nothing, nor does it to an embedded log, which
// the lock file claims.
func (l *Log) Claim(ctx context.Context, payload []byte) error {
	l.mu.Lock()
	claimed := l.owner == nil || l.appended
	if !claimed {
		l.damage = nil // Settle finds it anew, this time by servers that know the end
	}
	l.mu.Unlock()
	if claimed {
		return nil
	}
	if _, _, err := l.Settle(ctx, payload); err != nil {
		return fmt.Errorf("claim the log: %w", err)
	}
	return nil
}

// outrank has our epoch be above the epoch that the log has reached by v, or returns an error
// wrapping ErrOwned if another owner has raised it.
func (l *Log) outrank(ctx context.Context, v survey) error {
	if l.owner == nil {
		return nil
	}
	l.mu.Lock()
	appended := l.appended
	l.mu.Unlock()
	reached := v.Epoch
	if v.Last != nil {
		reached = max(reached, v.Last.Epoch)
	}
	if v.Last != nil || reached > 0 {
		if err := l.owner.outrank(ctx, reached, appended); err != nil {
			l.tellOwner(err)
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.epoch = l.owner.epoch()
	return nil
}

// heed takes note of how far the last owner lets records go, if the record of the hold
// does not say it: they may be deleted at any time.
func (l *Log) heed(ctx context.Context, v survey) error {
	if l.owner == nil || v.Last == nil || v.Last.Trimmed <= l.cursors.Trimmed().Next {
		return nil
	}
	r, err := scan.Find(ctx, l.stream.Next, v.Numbering.Seq(v.Last.Trimmed), v.LastSeq)
	if err == nil && r != nil {
		l.cursors.SetTrimmed(Cursor{Next: v.Last.Trimmed, Totals: r.Before})
	}
	return err
}

// sign gives r our epoch, and says how far records may go. The caller holds mu.
func (l *Log) sign(r *Record) {
	if l.epoch > 0 {
		r.Epoch, r.Trimmed = l.epoch, l.cursors.Trimmed().Next
	}
}

// tellOwner sets or clears the trouble of a renewal.
func (l *Log) tellOwner(err error) {
	switch {
	case errors.Is(err, ErrOwned):
		l.say(&l.trouble.Gone, err)
	case err == nil:
		l.say(&l.trouble.Unheld, nil)
	case l.owner.expired():
		l.say(&l.trouble.Unheld, err)
	}
}

// keepHold renews the record until the log is closed, or another node's.
func (l *Log) keepHold() {
	every := l.owner.lease / renewals
	for {
		select {
		case <-l.life.Done():
			return
		case <-l.owner.over:
			l.tellOwner(l.owner.lostTo())
			return
		case <-time.After(every):
		}
		ctx, cancel := context.WithTimeout(l.life, max(every, driver.AskAgain))
		err := l.owner.renew(ctx, nil)
		cancel()
		if l.life.Err() == nil {
			l.tellOwner(err)
		}
	}
}

// mayTrim returns once the record says, for the next owner, that records before at
// may be gone, however late our request to delete them arrives.
func (l *Log) mayTrim(ctx context.Context, at Cursor) error {
	if l.owner == nil {
		return nil
	}
	err := l.owner.renew(ctx, func(r *ownership) { r.Trimmed = at })
	l.tellOwner(err)
	return err
}

// Attended reports whether another node has read a log on servers along, and waits to go on with it.
func (l *Log) Attended(ctx context.Context) bool {
	st, ok := l.session().(interface{ Attended(context.Context) bool })
	return ok && l.owner != nil && st.Attended(ctx)
}

// HandOver lets the next owner take a log on servers at once, while its readers here come to their
// end: cursors are kept for the last time, and nothing is appended or trimmed any more. After an
// error, and for an embedded log, only Close lets it go.
func (l *Log) HandOver(ctx context.Context) error {
	if l.owner == nil {
		return nil
	}
	err := l.KeepCursors()
	if err == nil {
		err = l.owner.handOver(ctx)
	}
	if err != nil {
		return fmt.Errorf("hand the log over: %w", err)
	}
	_, _ = l.trouble.Set(&l.trouble.Gone, l.owner.gave)
	return nil
}

// WaitLost waits until ctx is done and returns nil, or until this process finds
// that another node has taken the log over. Then nothing is stored any more, and
// the error, which wraps ErrOwned, names that node.
func (l *Log) WaitLost(ctx context.Context) error {
	if l.owner == nil {
		<-ctx.Done()
		return nil
	}
	select {
	case <-ctx.Done():
		return nil
	case <-l.owner.over:
		return l.owner.lostTo()
	}
}

// Leaving returns a channel that is closed once HandOver has begun; nil for an embedded log.
func (l *Log) Leaving() <-chan struct{} {
	if l.owner == nil {
		return nil
	}
	return l.owner.leave
}

// HeldFor returns for how long no other process can have the log yet, by our clock: from the begin of
// HandOver on not at all.
func (l *Log) HeldFor() time.Duration {
	switch {
	case l.owner == nil:
		return math.MaxInt64
	case l.owner.leaving():
		return 0
	}
	return time.Duration(l.owner.until.Load()) - time.Since(l.owner.began)
}
