// Package minrate says how slowly a body may come or an answer be taken, so that a client
// that stands still does not keep memory for long.
package minrate

import "time"

// Rate cuts off a body that is sent, or an answer that is read, too slowly. The byte
// behind the first n is due at began + Grace + n/PerSecond, and at began + Limit at the
// latest. A Rate
// serves one body; a copy of a Rate that has not begun serves another.
type Rate struct {
	Grace     time.Duration // for the first byte
	PerSecond int           // bytes/s behind the first byte
	Limit     time.Duration // for all bytes

	began time.Time
}

// Due returns the time at which the byte behind the first n is due. The first call begins.
func (r *Rate) Due(n int) time.Time {
	if r.began.IsZero() {
		r.began = time.Now()
	}
	return r.began.Add(min(r.Grace+time.Duration(n)*time.Second/time.Duration(r.PerSecond), r.Limit))
}

// Restart has the next call of Due begin anew.
func (r *Rate) Restart() { r.began = time.Time{} }
