package copying

import (
	"context"
	"time"

	"pingline/internal/pause"
)

// Pace bounds how fast rows are written: to a rate, and to half of the time, so that a target
// which answers slowly has as long to itself as it took. A nil Pace bounds nothing.
type Pace struct {
	every time.Duration // for a row
	next  time.Time     // no write begins before it
}

// NewPace returns a Pace of so many rows a second; 0 is no limit but half of the time.
func NewPace(rate float64) *Pace {
	p := &Pace{}
	if rate > 0 {
		p.every = time.Duration(float64(time.Second) / rate)
	}
	return p
}

// Wait waits until n rows may be written.
func (p *Pace) Wait(ctx context.Context, n int) error {
	if p == nil {
		return ctx.Err()
	}
	if err := pause.For(ctx, time.Until(p.next)); err != nil {
		return err
	}
	p.next = time.Now().Add(time.Duration(n) * p.every)
	return nil
}

// took notes how long the target took for a write, which has just ended.
func (p *Pace) took(d time.Duration) {
	if p == nil {
		return
	}
	if rest := time.Now().Add(d); rest.After(p.next) {
		p.next = rest
	}
}
