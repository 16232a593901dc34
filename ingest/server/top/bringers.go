package top

import (
	"cmp"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"pingline/internal/unit"
)

const bringersKept = 16 // clients

// Bringers notes which clients bring most new riders. Memory is fixed: of many clients
// the clients that bring least share a count, so that a count may be too high by a
// sixteenth of all. It is safe for concurrent use. The zero value is empty.
type Bringers struct {
	mu       sync.Mutex // guards the fields below; nothing else is locked under it
	since    time.Time
	now, was [bringersKept]bringer // of this minute and of the minute before
}

type bringer struct {
	client netip.Addr
	riders int // new riders
	missed int // most of riders that other clients may have brought
	shed   int // pings shed because their riders were too many new riders
}

// Note counts the new riders that a client brought, and its pings of further new riders
// that were shed.
func (b *Bringers) Note(client netip.Addr, riders, shed int, now time.Time) {
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
func (b *Bringers) turn(now time.Time) {
	switch past := now.Sub(b.since); {
	case past < time.Minute:
		return
	case past < 2*time.Minute:
		b.was = b.now
	default:
		b.was = [bringersKept]bringer{}
	}
	b.now, b.since = [bringersKept]bringer{}, now
}

// Most returns a sentence about the client that brought more new riders than it may, or
// most in a minute, or "" if that is fewer than usual. The sentence ends with remedy.
func (b *Bringers) Most(usual int, remedy string, now time.Time) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.turn(now)
	var first bringer
	for _, p := range append(b.now[:], b.was[:]...) {
		if cmp.Or(cmp.Compare(p.shed, first.shed), cmp.Compare(p.riders-p.missed, first.riders-first.missed)) > 0 {
			first = p
		}
	}
	switch {
	case first.shed == 0 && first.riders-first.missed < usual:
		return ""
	case first.shed > 0:
		return fmt.Sprintf("client %v brings more new riders than --new-riders-rate allows: %d in a minute, and %s shed; %s, or raise the rate",
			first.client, first.riders-first.missed, unit.Plural(first.shed, "ping of others was", "pings of others were"), remedy)
	}
	return fmt.Sprintf("client %v brought %s in a minute", first.client, unit.Plural(first.riders-first.missed, "new rider", "new riders"))
}
