package driver

import (
	"context"
	"time"
)

// Pause returns nil after d, or the cause for which ctx ends before.
func Pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Listen returns a channel that has a token once r has told of a value for which fits is true, until
// stop is called. If r tells of none there is never a token.
func Listen(r Register, fits func(value []byte) bool) (said <-chan struct{}, stop func()) {
	ch := make(chan struct{}, 1)
	if t, ok := r.(Teller); ok {
		stop, err := t.Tell(func(value []byte) {
			if fits(value) {
				select {
				case ch <- struct{}{}:
				default:
				}
			}
		})
		if err == nil {
			return ch, stop
		}
	}
	return ch, func() {}
}
