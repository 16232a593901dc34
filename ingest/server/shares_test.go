package server

import (
	"strings"
	"testing"
	"time"

	"pingline/ingest/server/conns"
	"pingline/ingest/server/minrate"
	"pingline/ingest/server/share"
)

// A client that is held to a share is named in /readyz, with the remedy, for a
// minute; one that is refused because there is no more for anybody is not.
func TestSharesAreNoted(t *testing.T) {
	slow := minrate.Rate{Grace: time.Minute, PerSecond: 1, Limit: time.Minute}
	s, url := testServer(t, Config{MaxInProgress: 1 << 20, MaxConnections: 30, Reader: longTrack(10), pace: slow})
	notes := func() string { return send(t, "GET", url+"/readyz", nil).body }
	use(s.budget, 1<<20)
	if a := send(t, "POST", url+"/v1/pings", []byte(onePing("r", 1))); a.status != 503 || strings.Contains(notes(), "share") {
		t.Errorf("where there is no more: %d %s, %s", a.status, a.body, notes())
	}
	use(s.budget, -1<<20)
	for range 20 { // more than half, of one
		dialFrom(t, s, "127.0.0.9").say(post+"Content-Length: 4000000\r\n\r\n%s", strings.Repeat(" ", prefetched))
	}
	until(t, "the share of work is noted", func() bool {
		return strings.Contains(notes(), "client 127.0.0.9 is held to its share of --max-in-progress: "+share.IfProxy)
	})
	key := s.senders.Key(conns.HostOf(dialFrom(t, s, "127.0.0.8").LocalAddr()))
	own, most := s.reads.Slots.Claim(key, false), s.reads.Slots.Most()
	own.Settle(most / 4)
	use(s.reads.Slots, most-1-most/4)
	w := dialFrom(t, s, "127.0.0.8")
	w.say("GET /v1/riders/r HTTP/1.1\r\nHost: x\r\n\r\n")
	if a := w.hear(); a.status != 503 || !strings.Contains(notes(), "client 127.0.0.8 is held to its share of what reads may take") {
		t.Errorf("%d %s, %s", a.status, a.body, notes())
	}
	for range 40 {
		dialFrom(t, s, "127.0.0.7")
	}
	until(t, "the share of connections is noted", func() bool {
		return strings.Contains(notes(), "client 127.0.0.7 is held to its share of --max-connections")
	})
	if later := s.held.Notes(time.Now().Add(2 * time.Minute)); len(later) != 0 {
		t.Errorf("two minutes later: %v", later)
	}
}
