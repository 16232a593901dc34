package apps

import "slices"

// Queue is the fixes that a phone has not delivered yet, of an app. T is by which the caller
// knows a fix. Times are ns since any moment. One goroutine uses it.
type Queue[T any] struct {
	app   *App
	fresh []unsent[T] // not tried yet, or in order: oldest first
	again []unsent[T] // jobs that have failed, by the time of their next attempt
	under []unsent[T] // in the request under way, in its order
	tries int         // of the request that is next, for apps that send in order
	until int64       // nothing is sent before
	hurry bool
	drawn uint64
}

// unsent is a fix.
type unsent[T any] struct {
	of    T
	at    int64 // when it was made, or of a job when it is tried again
	tries int   // of a job
}

// window is in how many of the oldest jobs the next is found.
const window = 16

// NewQueue returns an empty queue of a phone with an app.
func NewQueue[T any](app *App) *Queue[T] { return &Queue[T]{app: app} }

// Add puts a fix into the queue, which was made at a time.
func (q *Queue[T]) Add(of T, at int64) {
	q.fresh = append(q.fresh, unsent[T]{of: of, at: at})
	if q.app.OnFix {
		q.until = min(q.until, at)
	}
}

// Len returns how many fixes are not delivered, those under way included.
func (q *Queue[T]) Len() int { return len(q.fresh) + len(q.again) + len(q.under) }

// Hurry has batches leave that are not full.
func (q *Queue[T]) Hurry() { q.hurry = true }

// Ready returns when the next request leaves; false if there is none.
func (q *Queue[T]) Ready() (at int64, ok bool) {
	if len(q.again) > 0 && (len(q.fresh) == 0 || q.again[0].at < q.fresh[0].at) {
		return q.again[0].at, true
	}
	if len(q.fresh) == 0 {
		return 0, false
	}
	at = q.fresh[0].at
	switch n := q.app.Batch; {
	case len(q.fresh) >= n:
		at = q.fresh[n-1].at
	case !q.hurry:
		at += int64(q.app.Every)
	}
	return max(at, q.until), true
}

// Next returns the fixes of the next request, in its order, after Ready, and appended to dst. Current is the newest fix, of an app that sends it as well. Delivered or Failed
// comes before the next call.
func (q *Queue[T]) Next(dst []T) (fixes []T, current *T) {
	switch {
	case len(q.again) > 0 && (len(q.fresh) == 0 || q.again[0].at < q.fresh[0].at):
		q.under = append(q.under[:0], q.again[0])
		q.again = slices.Delete(q.again, 0, 1)
	case q.app.Jobs:
		q.drawn = q.drawn*6364136223846793005 + 1442695040888963407
		i := int(q.drawn>>33) % min(window, len(q.fresh))
		q.under = append(q.under[:0], q.fresh[i])
		copy(q.fresh[1:i+1], q.fresh[:i])
		q.fresh = q.fresh[1:]
	case q.app.Newest:
		n := min(q.app.Batch, len(q.fresh))
		q.under = append(q.under[:0], q.fresh[len(q.fresh)-n:]...)
		slices.Reverse(q.under)
		q.fresh = q.fresh[:len(q.fresh)-n]
	default:
		n := min(q.app.Batch, len(q.fresh))
		q.under = append(q.under[:0], q.fresh[:n]...)
		q.fresh = q.fresh[n:]
		if q.app.Current && len(q.fresh) > 0 {
			current = &q.fresh[len(q.fresh)-1].of
		}
	}
	for i := range q.under {
		dst = append(dst, q.under[i].of)
	}
	return dst, current
}

// Delivered forgets the fixes of the request under way.
func (q *Queue[T]) Delivered() { q.under, q.tries, q.until = q.under[:0], 0, 0 }

// Failed puts the fixes of the request under way back, and returns how many the app gives up
// in place of that.
func (q *Queue[T]) Failed(now int64) (dropped int) {
	if q.app.Jobs {
		job := q.under[0]
		q.under = q.under[:0]
		if job.tries++; job.tries == q.app.Attempts {
			return 1
		}
		job.at = now + int64(q.app.Wait(job.tries))
		i, _ := slices.BinarySearchFunc(q.again, job.at, func(w unsent[T], at int64) int { return int(w.at - at) })
		q.again = slices.Insert(q.again, i, job)
		return 0
	}
	q.tries++
	q.until = now + int64(q.app.Wait(q.tries))
	if q.tries == q.app.Attempts {
		dropped = len(q.under)
		q.Delivered()
		return dropped
	}
	switch {
	case q.app.Newest:
		slices.Reverse(q.under)
		q.fresh = append(q.fresh, q.under...)
	case q.app.Behind:
		q.fresh = append(q.fresh, q.under...)
	default:
		q.fresh = append(slices.Clone(q.under), q.fresh...)
	}
	q.under = q.under[:0]
	return 0
}
