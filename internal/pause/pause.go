// Package pause waits for a time that can be cut short.
package pause

import (
	"context"
	"time"
)

// For returns nil after d, or ctx's error as soon as ctx ends. It does not wait if d is
// 0 or less.
func For(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil || d <= 0 {
		return err
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
