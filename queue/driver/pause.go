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
