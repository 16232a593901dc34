package ingest

import "math"

// Allowance limits the new tracks of a request: tracks that the filter does not know.
// Only the writer finds out how many tracks are new. It calls the methods on its own
// goroutine, so they must not block.
type Allowance interface {
	Room() int      // most tracks that may be new; called when the request is judged
	Pay(n int)      // charges n new tracks
	Refusal() error // the answer if no ping was judged because Room was 0
}

// room returns the most new tracks that j may bring.
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
