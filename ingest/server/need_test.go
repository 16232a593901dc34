package server

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"pingline/dedupe"
	"pingline/ingest"
	"pingline/ingest/server/conns"
	"pingline/queue"
)

// crowdOf is n pings of as many riders, without an event, one a line.
func crowdOf(name string, n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(onePing(fmt.Sprint(name, i), 1) + "\n")
	}
	return b.String()
}

func sosOf(rider string) string {
	return strings.Replace(onePing(rider, 1), "{", `{"event":"sos",`, 1) + "\n"
}

// The header lifts the rates of a request that is small and has an event in it,
// and of no other.
func TestNeedIsMoreThanAHeader(t *testing.T) {
	for _, tt := range []struct {
		name, body string
		packed     bool
		believed   bool
	}{
		{"an SOS", sosOf("a"), false, true},
		{"an SOS and what led to it", crowdOf("b", 99) + sosOf("b"), false, true},
		{"packed", crowdOf("c", 99) + sosOf("c"), true, true},
		{"no event", onePing("d", 1), false, false},
		{"no ping", "[]", false, false},
		{"more than a hundred pings", crowdOf("e", 100) + sosOf("e"), false, false},
		{"a crowd, packed small", crowdOf("f", 15_000), true, false},
		{"a crowd and an SOS, packed small", crowdOf("g", 15_000) + sosOf("g"), true, false},
		{"much that is nothing, packed small", sosOf("h") + strings.Repeat(" ", needMost), true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, url := testServer(t, Config{ClientRate: 1})
			if a := send(t, "POST", url+"/v1/pings", []byte(crowdOf("first", 1000))); a.status != 200 {
				t.Fatalf("%d %s", a.status, a.body)
			}
			headers := []string{"Pingline-Priority", "critical"}
			body := []byte(tt.body)
			if tt.packed {
				body, headers = gzipped(t, body), append(headers, "Content-Encoding", "gzip")
			}
			want := map[bool]int{true: 200, false: 429}[tt.believed]
			if a := send(t, "POST", url+"/v1/pings", body, headers...); a.status != want {
				t.Errorf("of a client over its rate: %d %s, want %d", a.status, a.body, want)
			}
			until(t, "all is given back", func() bool { return s.Stats().InProgress == 0 })
		})
	}
}

// Liars take neither the reserve of those in need nor their rate, and are soon
// not believed.
func TestLiarsDoNotTakeTheReserve(t *testing.T) {
	w, _ := testWriter(t, ingest.WriterConfig{Log: testLog(t, queue.Config{}), Bound: dedupe.Bound{MaxError: 10}})
	s, _ := testServer(t, Config{Writer: w, MaxInProgress: 1 << 20})
	began := time.Now()
	use(s.budget, 1<<20)
	defer use(s.budget, -1<<20)
	lie := gzipped(t, []byte(crowdOf("x", 15_000)))
	var liars sync.WaitGroup
	for i := range 12 {
		liars.Go(func() {
			for range 50 {
				c := dialFrom(t, s, fmt.Sprint("127.0.0.", 100+i))
				c.say(post+"Pingline-Priority: critical\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s", len(lie), lie)
				if a := c.hear(); a.status != 503 {
					t.Errorf("a liar: %d %s, want what the crowd gets", a.status, a.body)
				}
				_ = c.Close()
			}
		})
	}
	done := make(chan struct{})
	go func() { liars.Wait(); close(done) }()
	for i, going := 0, true; going; i++ {
		select {
		case <-done:
			going = false
		default:
		}
		body := sosOf(fmt.Sprint("r-", i))
		c := dialFrom(t, s, fmt.Sprint("127.0.1.", 1+i%200)) // each within its own rate
		c.say(post+"Pingline-Priority: critical\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		if a := c.hear(); a.status != 200 && i < needBurst {
			t.Fatalf("an SOS among liars: %d %s", a.status, a.body)
		}
		_ = c.Close()
	}
	if n := s.clientNeeds.Take(s.senders.Key(conns.HostOf(dialFrom(t, s, "127.0.0.100").LocalAddr())), 0, began); n == 0 {
		t.Error("a client that lied 50 times is still believed")
	}
}
