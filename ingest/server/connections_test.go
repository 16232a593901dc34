package server

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pingline/ingest/server/framing/framingtest"
	"pingline/ingest/server/minrate"
	"pingline/query"
)

const healthy = framingtest.Healthy

func waiting(s *Server) int {
	all, _ := s.ln.Waiting()
	return all
}

func withinRequests(s *Server) int {
	_, within := s.ln.Waiting()
	return within
}

func (w *wire) healthy() {
	w.t.Helper()
	w.say(healthy)
	if a := w.hear(); a.status != 200 {
		w.t.Errorf("%d %s", a.status, a.body)
	}
}

// Silent connections of one client, as many as there may be, keep out neither an
// SOS nor those who have been there before, and not even their own client.
func TestAnSOSAtTheLimitOfConnections(t *testing.T) {
	s, _ := testServer(t, Config{MaxConnections: 50})
	honest := dialFrom(t, s, "127.0.0.2")
	honest.healthy()
	for i := range 80 {
		w := dialFrom(t, s, "127.0.0.9")
		if i%2 == 0 {
			w.say("POST /v1/pings HTTP/1.1\r\nContent-Le")
		}
	}
	until(t, "all have come", func() bool { st := s.Stats(); return st.Connections == 50 && st.Displaced == 31 })
	for i, from := range []string{"127.0.0.3", "127.0.0.9", "127.0.0.4"} {
		body := strings.Replace(onePing(fmt.Sprint("r-", i), 1), "{", `{"event":"sos",`, 1)
		w := dialFrom(t, s, from)
		w.say(post+"Pingline-Priority: critical\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		if a := w.hear(); a.status != 200 || !strings.Contains(a.body, `"accepted":1`) {
			t.Errorf("an SOS from %s: %d %s", from, a.status, a.body)
		}
	}
	honest.healthy()
	if st := s.Stats(); st.TurnedAway != 0 || st.Connections != 50 {
		t.Errorf("%+v, want none turned away", st)
	}
}

// A connection whose place is taken while its body comes ends, and nothing else.
func TestPlaceTakenWithinABody(t *testing.T) {
	s, _ := testServer(t, Config{MaxConnections: 4, pace: minrate.Rate{Grace: time.Minute, PerSecond: 1, Limit: time.Minute}})
	for range 4 {
		w := dialFrom(t, s, "127.0.0.9")
		w.say(post+"Content-Length: 4000000\r\n\r\n%s", strings.Repeat(" ", prefetched))
	}
	until(t, "their bodies come", func() bool { return s.budget.Used() > 0 && waiting(s) == 4 })
	for range 4 {
		dialFrom(t, s, "127.0.0.2").healthy()
	}
	until(t, "what they had is given back", func() bool {
		return s.budget.Used() == (requestBytes+firstBytes)*int64(withinRequests(s))
	})
	if st := s.Stats(); st.Displaced < 2 || st.TurnedAway != 0 {
		t.Errorf("%+v, want some displaced and none turned away", st)
	}
}

// A crowd behind one address, with more connections than there may be, loses
// connections between requests; a request that comes slowly is answered.
func TestACrowdBehindOneAddressLosesNoRequest(t *testing.T) {
	const most = 40
	s, _ := testServer(t, Config{MaxConnections: most})
	body := onePing("r", 1) + strings.Repeat(" ", 100)
	var half []*wire
	for i := range most / 2 {
		w := dialFrom(t, s, "127.0.0.9")
		switch i % 3 {
		case 0:
			w.say(post)
		case 1:
			w.say(post+"Content-Length: %d\r\n\r\n%s", len(body), body[:50])
		case 2:
			w.say("%sPOST", healthy)
			if a := w.hear(); a.status != 200 {
				t.Errorf("%d %s", a.status, a.body)
			}
		}
		half = append(half, w)
	}
	until(t, "they have begun", func() bool { return withinRequests(s) == most/2 })
	for range most {
		dialFrom(t, s, "127.0.0.9").healthy()
	}
	for i, w := range half {
		switch i % 3 {
		case 0:
			w.say("Content-Length: %d\r\n\r\n%s", len(body), body)
		case 1:
			w.say("%s", body[50:])
		case 2:
			w.say("%sContent-Length: %d\r\n\r\n%s", strings.TrimPrefix(post, "POST"), len(body), body)
		}
		if a := w.hear(); a.status != 200 {
			t.Errorf("one that had begun: %d %s", a.status, a.body)
		}
	}
	if st := s.Stats(); st.TurnedAway != 0 || st.Displaced == 0 {
		t.Errorf("%+v, want some displaced and none turned away", st)
	}
}

// Where every connection has a request in work there is no place for another.
func TestTooManyConnections(t *testing.T) {
	if *overTLS {
		t.Skip("TestOneTooManyOverTLS")
	}
	release := make(chan struct{})
	s, _ := testServer(t, Config{MaxConnections: 2, TrustedProxies: localhost, Reader: query.Sources{
		Latest: func(context.Context, string) (query.Points, error) { <-release; return query.Points{}, nil },
	}})
	busy := []*wire{dial(t, s), dial(t, s)}
	for _, w := range busy {
		w.say("GET /v1/riders/r HTTP/1.1\r\nHost: x\r\n\r\n")
	}
	until(t, "both are in work", func() bool { return s.reads.Slots.Used() == 2 })
	for range 3 {
		w := dial(t, s)
		w.say(healthy)
		a := w.hear()
		if wait, err := strconv.Atoi(a.header.Get("Retry-After")); a.status != 503 || err != nil || wait < 5 || !w.ended() {
			t.Errorf("one too many: %d %s, Retry-After %q, want 503 and the end", a.status, a.body, a.header.Get("Retry-After"))
		}
	}
	close(release)
	for _, w := range busy {
		if a := w.hear(); a.status != 404 {
			t.Errorf("one in work: %d %s", a.status, a.body)
		}
	}
	until(t, "one waits for its client", func() bool { return waiting(s) > 0 })
	dial(t, s).healthy()
	if st := s.Stats(); st.TurnedAway != 3 || st.Displaced != 1 {
		t.Errorf("%d were turned away and %d displaced, want 3 and 1", st.TurnedAway, st.Displaced)
	}
	_ = busy[0].Close()
	_ = busy[1].Close()
	until(t, "places are free", func() bool { return s.Stats().Connections <= 1 })
}

// Slow bodies cost what has come of them, and those of one client leave half of
// the budget to others.
func TestSlowBodiesOfOneClientLeaveRoom(t *testing.T) {
	var refused atomic.Int64
	s, _ := testServer(t, Config{
		MaxInProgress:  8 << 20,
		pace:           minrate.Rate{Grace: time.Minute, PerSecond: 1, Limit: time.Minute},
		ObserveRequest: func(_ string, status int, _ time.Duration) { refused.Add(int64(status / 503)) },
	})
	const n, each = 400, requestBytes + firstBytes
	slow := make([]*wire, n)
	for i := range slow {
		slow[i] = dialFrom(t, s, "127.0.0.9")
		slow[i].say(post+"Content-Length: 4000000\r\n\r\n%s", strings.Repeat(" ", prefetched))
	}
	until(t, "all are in work or refused", func() bool {
		return refused.Load()+s.budget.Used()/each == n
	})
	if used := s.budget.Used(); used > 4<<20 {
		t.Errorf("%d bytes of a budget of 8 MiB are one client's", used)
	}
	big := onePing("r", 1) + strings.Repeat(" ", 1<<20)
	for i := range 3 {
		w := dialFrom(t, s, fmt.Sprint("127.0.0.", 2+i))
		w.say(post+"Content-Length: %d\r\n\r\n%s", len(big), big)
		if a := w.hear(); a.status != 200 {
			t.Errorf("another client: %d %s", a.status, a.body)
		}
	}
	if used := s.budget.Used(); used <= 4<<20-each {
		t.Errorf("%d bytes are in work: nothing is shown by that", used)
	}
}
