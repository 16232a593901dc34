package server

import (
	"time"

	"pingline/ingest/server/rate"
	"pingline/ingest/server/refusal"
)

// newcomers is a client's allowance of tracks that the filter does not know.
type newcomers struct {
	rates  *rate.Buckets // nil: no limit
	client uint64
}

// Room returns the number of tracks that may be new.
func (n *newcomers) Room() int { return n.rates.Left(n.client, time.Now()) }

// Pay charges the client for added new tracks, also beyond the allowance: several nodes may have
// judged requests of the client at the same time.
func (n *newcomers) Pay(added int) {
	if n.rates.Take(n.client, added, time.Now()) > 0 {
		n.rates.Pay(n.client, added)
	}
}

// Refusal is the answer to a request of which no ping was judged.
func (n *newcomers) Refusal() error {
	wait := n.rates.Take(n.client, 0, time.Now())
	return &refusal.OverRate{Text: "this client is over the rate of new riders: not stored, send again", Wait: max(wait, time.Second)}
}

// refund gives back the charge for added tracks, which are new again when sent again.
func (n *newcomers) refund(added int) { n.rates.Pay(n.client, -added) }

const (
	newRidersBurst = 120  // seconds' worth of new riders that a client may bring at once
	usualNewRiders = 1000 // new riders/s from which on a note names the client, if there is no limit
)
