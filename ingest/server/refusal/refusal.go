// Package refusal has the errors by which a request is refused. A client gets the text of
// an error as it is; the status follows from its kind.
package refusal

import "time"

// Reason is an error of a kind, with its reason as text.
type Reason struct {
	Kind error // is wrapped
	Text string
}

func (e *Reason) Error() string { return e.Text }

func (e *Reason) Unwrap() error { return e.Kind }

// OverRate is the refusal of a request that is over the rate of its client or riders.
type OverRate struct {
	Text string
	Wait time.Duration // until the request may succeed

	Status int // 0 means 429
}

func (e *OverRate) Error() string { return e.Text }
