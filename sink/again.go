package sink

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"pingline/queue"
	"pingline/sink/limit"
	"pingline/sink/route"
	"pingline/sink/store"
)

// Points of our own are written again with other content, and the last write stays: none may
// overtake a newer one, be it of this process or of the next that has the log.

// maxWrites returns the most writes at once of a lane.
func maxWrites(kind route.LaneKind, to store.Store) int {
	if kind == route.Own {
		return 1
	}
	return limit.MaxWrites(to)
}

// whileFirst returns a context that also ends, for a write of points of our own, when another
// process may have the log by our clock. The caller calls end.
func whileFirst(ctx context.Context, log *queue.Log, kind route.LaneKind) (held context.Context, end func()) {
	left := log.HeldFor()
	if kind != route.Own || left == math.MaxInt64 {
		return ctx, func() {}
	}
	held, cancel := context.WithCancelCause(ctx)
	if left <= 0 {
		cancel(errUnheld)
	}
	go func() {
		for ; left > 0; left = log.HeldFor() {
			select {
			case <-held.Done():
				return
			case <-log.Leaving():
			case <-time.After(left):
			}
		}
		cancel(errUnheld)
	}()
	return held, func() { cancel(nil) }
}

// whileHeld calls write, and returns its error, or errUnheld if it was not called or ended when
// another process may have the log.
func whileHeld(ctx context.Context, log *queue.Log, kind route.LaneKind, write func(context.Context) error) error {
	held, end := whileFirst(ctx, log, kind)
	defer end()
	if errors.Is(context.Cause(held), errUnheld) {
		return errUnheld
	}
	err := write(held)
	if said := new(store.Refusal); err != nil && !errors.As(err, &said) && errors.Is(context.Cause(held), errUnheld) {
		return errUnheld
	}
	return err
}

// errUnheld ends a write, or says that none was tried, until the log is held again. For the
// breaker we broke it off ourselves: the store is not to blame.
var errUnheld = fmt.Errorf("the hold on the log is not renewed: %w", errors.Join(limit.ErrOpen, context.Canceled))
