// Package top finds the clients and riders that send most, and the clients that are
// refused most, during an overload.
//
// Memory is fixed for any number of names: a name that sends less than 1/32 of all may
// be missed, and no count is too high. Of a large request a sample of pings is counted.
package top

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"pingline"
)

const (
	window  = 30 * time.Second // an answer covers one to two windows
	sampled = 8                // pings of a request that are counted, by rider
	told    = 3                // names in a sentence
	every   = 10 * time.Second // least time between two lines of the log
)

// Senders counts the pings and the refused requests of clients, and the pings of riders.
// It is safe for concurrent use. The zero value is empty; Logger must be set.
type Senders struct {
	Logger *slog.Logger // logs clients over their rate

	mu       sync.Mutex // guards the fields below; nothing else is locked under it
	began    time.Time  // start of the window now
	now, was counts
	next     time.Time // time from which on another line may be logged
}

// counts are the counts of a window.
type counts struct {
	clients, refused sketch[netip.Addr]
	riders           sketch[string]
}

// Pings counts the pings of a request by client and, from a sample of them, by rider.
func (s *Senders) Pings(client netip.Addr, list []pingline.Ping, now time.Time) {
	if len(list) == 0 {
		return
	}
	stride := (len(list) + sampled - 1) / sampled
	first := rand.IntN(stride)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turn(now)
	s.now.clients.add(client, len(list), func(a netip.Addr) netip.Addr { return a })
	for i := first; i < len(list); i += stride {
		s.now.riders.add(list[i].Rider, stride, strings.Clone)
	}
}

// Refused counts a request that its client has to send again. Limit is the rate that it
// is over, for the log, or "".
func (s *Senders) Refused(client netip.Addr, limit string, now time.Time) {
	s.mu.Lock()
	s.turn(now)
	s.now.refused.add(client, 1, func(a netip.Addr) netip.Addr { return a })
	if limit == "" || now.Before(s.next) {
		s.mu.Unlock()
		return
	}
	s.next = now.Add(every)
	list, all := most(told, &s.now.refused, &s.was.refused)
	s.mu.Unlock()
	s.Logger.Warn("a client is over a rate", "client", client, "limit", limit, "refused_requests", all, "most_refused", names(list, all))
}

// turn begins another window if it is time.
func (s *Senders) turn(now time.Time) {
	switch past := now.Sub(s.began); {
	case past < window:
		return
	case past < 2*window:
		s.was = s.now
	default:
		s.was = counts{}
	}
	s.now, s.began = counts{}, now
}

// Notes returns sentences about the clients and riders that sent most, and the clients
// that were refused most, in the last minute.
func (s *Senders) Notes(now time.Time) (notes []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turn(now)
	if list, all := most(told, &s.now.clients, &s.was.clients); len(list) > 0 {
		notes = append(notes, "clients that send most of the pings: "+names(list, all))
	}
	if list, all := most(told, &s.now.riders, &s.was.riders); len(list) > 0 {
		notes = append(notes, "riders of most of the pings: "+names(list, all))
	}
	if list, all := most(told, &s.now.refused, &s.was.refused); len(list) > 0 {
		notes = append(notes, "clients with most of the refused requests: "+names(list, all))
	}
	return notes
}

// names lists names with their share of all.
func names[K comparable](list []counted[K], all int) string {
	var parts []string
	for i := range list {
		c := &list[i]
		name := fmt.Sprint(c.name)
		if _, text := any(c.name).(string); text {
			name = strconv.Quote(name)
		}
		parts = append(parts, fmt.Sprintf("%s %d (%d %%)", name, c.sure(), 100*c.sure()/all))
	}
	return strings.Join(parts, ", ")
}
