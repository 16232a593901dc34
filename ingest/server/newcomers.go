package server

import (
	"cmp"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"pingline/ingest/server/rate"
)

// newcomers is a client's allowance of tracks that the filter does not know.
type newcomers struct {
	rates  *rate.Buckets // nil: no limit
	client uint64
}

// Room returns how many tracks may be new.
func (n *newcomers) Room() int { return n.rates.Left(n.client, time.Now()) }

// Pay charges the client for added new tracks.
func (n *newcomers) Pay(added int) { n.rates.Take(n.client, added, time.Now()) }

// Refusal is the answer to a request of which no ping was judged.
func (n *newcomers) Refusal() error {
	wait := n.rates.Take(n.client, 0, time.Now())
	return &rateError{"this client is over the rate of new riders: not stored, send again", max(wait, time.Second)}
}

// refund gives back the charge for added tracks: they are new again.
func (n *newcomers) refund(added int) { n.rates.Pay(n.client, -added) }

const (
	newRidersBurst = 120  // seconds' worth of new riders that a client may bring at once
	usualNewRiders = 1000 // new riders/s that are not worth a note where there is no limit
	bringersNoted  = 16
)

// bringers notes which clients bring most new riders. Memory is fixed: of many
// clients those that bring least are taken for one another, which may make a
// count too high by a sixteenth of all. It is safe for concurrent use.
type bringers struct {
	mu       sync.Mutex // guards what follows; nothing else is locked under it
	since    time.Time
	now, was [bringersNoted]bringer // of this minute and of the one before
}

type bringer struct {
	client netip.Addr
	riders int // new ones
	missed int // of riders, those that may be others'
	shed   int // pings of new riders that were too many
}

func (b *bringers) note(client netip.Addr, riders, shed int, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.turn(now)
	least := &b.now[0]
	for i := range b.now {
		p := &b.now[i]
		if p.client == client {
			least = p
			break
		}
		if p.riders < least.riders {
			least = p
		}
	}
	if least.client != client {
		*least = bringer{client: client, riders: least.riders, missed: least.riders}
	}
	least.riders += riders
	least.shed += shed
}

// turn begins another minute if it is time.
func (b *bringers) turn(now time.Time) {
	switch past := now.Sub(b.since); {
	case past < time.Minute:
		return
	case past < 2*time.Minute:
		b.was = b.now
	default:
		b.was = [bringersNoted]bringer{}
	}
	b.now, b.since = [bringersNoted]bringer{}, now
}

// most names the client that brought most in a minute, or more than it may, if
// that is worth a note: not less than usual.
func (b *bringers) most(usual int, now time.Time) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.turn(now)
	var top bringer
	for _, p := range append(b.now[:], b.was[:]...) {
		if cmp.Or(cmp.Compare(p.shed, top.shed), cmp.Compare(p.riders-p.missed, top.riders-top.missed)) > 0 {
			top = p
		}
	}
	switch {
	case top.shed == 0 && top.riders-top.missed < usual:
		return ""
	case top.shed > 0:
		return fmt.Sprintf("client %v brings more new riders than --new-riders-rate allows: %d in a minute, and %d pings of others were shed; %s, or raise the rate", top.client, top.riders-top.missed, top.shed, ifProxy)
	}
	return fmt.Sprintf("client %v brought %d new riders in a minute", top.client, top.riders-top.missed)
}
