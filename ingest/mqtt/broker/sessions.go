package broker

import (
	"hash/maphash"
	"sync"
	"time"
)

// sessionLasts is how long a session is remembered behind its begin.
const sessionLasts = 24 * time.Hour

// sessions remembers which clients have a session. There is nothing else in one: messages are
// acknowledged or sent again, and a second one is a duplicate. But a client of MQTT 5 throws
// its unacknowledged messages away when its session is gone (MQTT 5.0, 3.2.2.1.1).
//
// Memory is bounded: of more than most sessions the older half is forgotten, and a client is
// known by its hash.
type sessions struct {
	most int
	seed maphash.Seed

	mu       sync.Mutex // guards now and was; nothing else is locked under it
	now, was map[uint64]time.Time
}

// begin notes that a client has a session, and reports whether it had one.
func (s *sessions) begin(client string, at time.Time) (resumed bool) {
	key := maphash.String(s.seed, client)
	s.mu.Lock()
	defer s.mu.Unlock()
	began, known := s.now[key]
	if !known {
		if len(s.now) >= max(1, s.most/2) || s.now == nil {
			s.now, s.was = make(map[uint64]time.Time), s.now
		}
		began, known = s.was[key]
	}
	s.now[key] = at
	return known && at.Sub(began) < sessionLasts
}

// end forgets a session.
func (s *sessions) end(client string) {
	key := maphash.String(s.seed, client)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.now, key)
	delete(s.was, key)
}
