package sink

import (
	"context"
	"math/rand/v2"
	"time"
)

// backoff returns how long to wait after attempt, which counts from 0: a random
// time up to a bound that doubles with each attempt, so that writers who failed
// together do not come back together; or a little longer than the server asked
// for.
func backoff(attempt int, most, asked time.Duration) time.Duration {
	const first = 250 * time.Millisecond
	if asked > 0 {
		return asked + rand.N(min(asked/4, time.Second)+1)
	}
	bound := most
	if attempt < 16 {
		bound = min(most, first<<attempt)
	}
	return rand.N(bound) + 1
}

// outlive returns a context that ends grace after ctx does, or when cancelled.
func outlive(ctx context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(grace, cancel) })
	return longer, func() { stop(); cancel() }
}
