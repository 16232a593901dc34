package server

import "time"

// minRate cuts off a body that is sent, or an answer that is read, too slowly: its
// next byte is due when those before it may have taken as long as they have.
type minRate struct {
	grace time.Duration // for the first byte
	rate  int           // bytes/s that follow
	limit time.Duration // for all

	began time.Time
}

// slowestPhone is slow enough for a phone at the edge of its cell.
var slowestPhone = minRate{grace: 5 * time.Second, rate: 4 << 10, limit: time.Minute}

// due returns when the byte after the first n is due.
func (p *minRate) due(n int) time.Time {
	if p.began.IsZero() {
		p.began = time.Now()
	}
	return p.began.Add(min(p.grace+time.Duration(n)*time.Second/time.Duration(p.rate), p.limit))
}
