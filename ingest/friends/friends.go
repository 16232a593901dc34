// Package friends tells a phone where its rider's friends are: the riders that its key names.
//
// It asks the writer's memory, with a single question for all of them, and no store. It shows what
// is kept: no position that a private zone withheld, and none of a rider who was removed, or of whom the
// writer knows nothing more. It promises no more than the newest ping that the filter has seen.
package friends

import (
	"iter"
	"net"
	"net/netip"
	"sync"
	"time"

	"pingline/ingest"
	"pingline/ingest/auth"
	"pingline/ingest/phone"
	"pingline/ingest/privacy"
)

// Config sets up a Friends. States is required.
type Config struct {
	States func(riders []string) ([]ingest.RiderState, error) // as ingest.Writer.RiderStates
	Names  *privacy.Pseudonyms                                // by which riders are stored; nil: by their own names

	// Read, if set, is told whose position is shown to whom, of each pair once a minute.
	Read func(id *auth.Identity, rider string, client netip.Addr)
}

// Friends finds the friends of those who send. A nil Friends finds nobody. It is safe for concurrent use.
type Friends struct {
	cfg Config

	mu   sync.Mutex // guards told
	told map[pair]time.Time
}

// pair is who is shown whom: names of a key and of a rider.
type pair struct{ key, friend string }

// tellAgain is how often Read is told of a pair; mostTold is how many are remembered.
const (
	tellAgain = time.Minute
	mostTold  = 50_000
)

// New returns Friends.
func New(cfg Config) *Friends { return &Friends{cfg: cfg, told: make(map[pair]time.Time)} }

// Of returns the friends of a sender, of whom a position is known; nil if its key names none, or if
// the request came by no connection to the server, such as a message of MQTT. It waits for the
// commit that is on its way to disk. While the log takes no pings it has nobody.
func (c *Friends) Of(id *auth.Identity, client netip.Addr, by net.Conn) iter.Seq[phone.Friend] {
	if c == nil || len(id.Friends) == 0 || by == nil || by.LocalAddr() == nil {
		return nil
	}
	return func(yield func(phone.Friend) bool) {
		riders := make([]string, len(id.Friends))
		for i, friend := range id.Friends {
			riders[i] = c.cfg.Names.Of(friend)
		}
		states, err := c.cfg.States(riders)
		if err != nil || id.Ended(time.Now()) { // the body may have been long on its way
			return // the phone asks again with its next position
		}
		for i, friend := range id.Friends {
			if friend == id.Rider {
				continue
			}
			f, known := newest(friend, &states[i])
			f.Rider, f.Known = friend, known
			if known && c.cfg.Read != nil && c.tells(pair{id.Name, friend}, time.Now()) {
				c.cfg.Read(id, friend, client)
			}
			if !yield(f) {
				return
			}
		}
	}
}

// tells reports whether Read is to be told of a pair. Else a phone that repeats a position could
// fill the trail, until the lines of others are gone from it.
func (c *Friends) tells(p pair, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Sub(c.told[p]) < tellAgain {
		return false
	}
	if len(c.told) >= mostTold {
		clear(c.told)
	}
	c.told[p] = now
	return true
}

// newest returns the newest position of a rider's tracks, false if there is none.
func newest(rider string, s *ingest.RiderState) (f phone.Friend, known bool) {
	for i := range s.Tracks {
		if k := &s.Tracks[i]; !known || k.Fix.At > f.Fix.At {
			f, known = phone.Friend{Rider: rider, Device: k.Device, Fix: k.Fix}, true
		}
	}
	return f, known
}
