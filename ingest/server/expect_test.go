package server

import (
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A request that is refused whatever its body is gets its answer at once; the client
// that waits for 100 Continue need not send the body.
func TestARefusalComesInPlaceOf100(t *testing.T) {
	var counted atomic.Int64 // the last status
	s, _ := testServer(t, Config{
		MaxInProgress: 1 << 20, ClientRate: 1,
		ObserveRequest: func(_ string, status int, _ time.Duration) { counted.Store(int64(status)) },
	})
	full := func() (undo func()) {
		use(s.budget, 1<<20)
		return func() { use(s.budget, -1<<20) }
	}
	const expect = "Expect: 100-continue\r\n"
	for _, tt := range []struct {
		name, head string
		status     int
		want       string // in the answer
		while      func() (undo func())
	}{
		{"too large", post + "Content-Length: 8000000\r\n", 413, "4194304 bytes", nil},
		{"another path", "POST /v2/pings HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n", 404, "/v2/pings", nil},
		{"another method", "PUT /v1/pings HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n", 405, "error", nil},
		{"another encoding", post + "Content-Encoding: br\r\nContent-Length: 9\r\n", 415, "br", nil},
		{"another encoding in chunks", post + "Content-Encoding: br\r\nTransfer-Encoding: chunked\r\n", 415, "br", nil},
		{"no room", post + "Content-Length: 9\r\n", 503, "in progress", full},
		{"no room, and large", post + "Content-Length: 4000000\r\n", 503, "in progress", full},
		{"over the rate", post + "Content-Length: 9\r\n", 429, "rate", func() func() {
			key := s.senders.Key(netip.MustParseAddr("127.0.0.1"))
			s.clients.Take(key, 1_000_000, time.Now())
			return func() { s.clients.Pay(key, -1_000_000) }
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.while != nil {
				defer tt.while()()
			}
			for _, before := range []string{"", healthy} {
				counted.Store(0)
				w := dial(t, s)
				began := time.Now()
				w.say("%s%s%s\r\n", before, tt.head, expect)
				if before != "" {
					if a := w.hear(); a.status != 200 {
						t.Errorf("the request before: %d %s", a.status, a.body)
					}
				}
				a := w.hear()
				if a.status != tt.status || !strings.Contains(a.body, tt.want) || a.header.Get("Connection") != "close" {
					t.Errorf("%d %v %s, want %d with %q", a.status, a.header, a.body, tt.status, tt.want)
				}
				checkDate(t, a, began)
				if retry := a.header.Get("Retry-After"); (retry != "") != (tt.status == 429 || tt.status == 503) {
					t.Errorf("Retry-After %q", retry)
				}
				if !w.ended() {
					t.Error("the connection goes on")
				}
				if n := counted.Load(); n != int64(tt.status) {
					t.Errorf("%d was counted, want %d", n, tt.status)
				}
			}
		})
	}
	if n := s.budget.Used(); n != 0 {
		t.Errorf("%d bytes are in work when none are", n)
	}
}

// A client that may send its body is told so, once, and its connection goes on.
func TestABodyIsAskedFor(t *testing.T) {
	s, _ := testServer(t, Config{ClientRate: 1})
	sos := strings.Replace(onePing("sos", 1), "{", `{"event":"sos",`, 1)
	for i, tt := range []struct{ head, body string }{
		{"", onePing("r", 3)},
		{"Content-Encoding: gzip\r\n", string(gzipped(t, []byte(onePing("g", 3))))},
		{"Pingline-Priority: critical\r\n", sos},
	} {
		w := dial(t, s)
		for range 2 {
			w.say(post+"%sExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", tt.head, len(tt.body))
			if got := w.statuses(1); got[0] != 100 {
				t.Fatalf("request %d: %v, want 100", i, got)
			}
			w.say("%s", tt.body)
			if a := w.hear(); a.status != 200 || !strings.Contains(a.body, `"rejected":0`) {
				t.Errorf("request %d: %d %s", i, a.status, a.body)
			}
		}
		w.healthy()
	}
	old := dial(t, s) // it sends its body at once, and is not told to
	old.say("POST /v1/pings HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n%s", len(sos), sos)
	if a := old.hear(); a.status != 200 || !strings.Contains(a.body, `"duplicate":1`) {
		t.Errorf("HTTP/1.0: %d %s", a.status, a.body)
	}
	w := dial(t, s)
	w.say(post + "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n")
	if got := w.statuses(1); got[0] != 100 {
		t.Fatalf("chunks: %v, want 100", got)
	}
	w.say("%x\r\n%s\r\n0\r\n\r\n", len(sos), sos)
	if a := w.hear(); a.status != 200 {
		t.Errorf("chunks: %d %s", a.status, a.body)
	}
	if n := s.Stats().Received; n != 8 {
		t.Errorf("%d pings were received, want 8: none is judged twice", n)
	}
	if n := s.budget.Used() + s.reserve.Used(); n != 0 {
		t.Errorf("%d bytes are in work when none are", n)
	}
}
