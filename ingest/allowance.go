package ingest

import "math"

// Allowance limits how many tracks that the filter does not know a request may
// bring: only the writer learns how many it has brought. Its methods are called on
// the writer's goroutine and must not block.
type Allowance interface {
	Room() int      // how many may be new; asked when the request is judged
	Pay(n int)      // n were new
	Refusal() error // the answer to a request of which nothing was judged, as Room was 0
}

// room returns how many new tracks j may bring.
func (j *Job) room() int {
	j.New, j.Over = 0, j.Over[:0]
	if j.Allowance == nil {
		return math.MaxInt
	}
	return j.Allowance.Room()
}

// refused returns the refusal of a job if none of its pings was judged.
func (j *Job) refused() error {
	if j.Allowance == nil || len(j.Pings) == 0 || len(j.Over) < len(j.Pings) {
		return nil
	}
	return j.Allowance.Refusal()
}

// brought notes that n tracks were new.
func (j *Job) brought(n int) {
	if j.New = n; n > 0 && j.Allowance != nil {
		j.Allowance.Pay(n)
	}
}
