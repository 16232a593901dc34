package server

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"pingline/ingest/server/framing"
	"pingline/query"
)

// checkDate fails the test if an answer heard just now, to what was said at began, has
// no Date of the time between.
func checkDate(t *testing.T, a answer, began time.Time) {
	t.Helper()
	date, err := http.ParseTime(a.header.Get("Date"))
	if err != nil || len(a.header.Values("Date")) != 1 {
		t.Fatalf("%d: Date %q: %v", a.status, a.header.Values("Date"), err)
	}
	if now := time.Now(); date.Before(began.Truncate(time.Second)) || date.After(now) {
		t.Errorf("%d: Date %v, and it was between %v and %v", a.status, date, began, now)
	}
}

// Every answer says when it was given: phones set their clocks by it.
func TestAnswersHaveTheDate(t *testing.T) {
	s, _ := testServer(t, Config{HeadTimeout: 100 * time.Millisecond})
	for _, tt := range []struct {
		name, said string
		status     int
	}{
		{"a request of pings", post + "Content-Length: 2\r\n\r\n[]", 200},
		{"a read", "GET /v1/riders/r HTTP/1.1\r\nHost: x\r\n\r\n", 404},
		{"HEAD", "HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 200},
		{"no such route", "GET /v2 HTTP/1.1\r\nHost: x\r\n\r\n", 404},
		{"a head that is too large", post + "Cookie: " + strings.Repeat("x", framing.HeadBytes), 431},
		{"a malformed request", "what\r\n\r\n", 400},
		{"a head that does not end", "POST /v1/pings HT", 408},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, began := dial(t, s), time.Now()
			w.say("%s", tt.said)
			a := w.hearTo(strings.HasPrefix(tt.said, "HEAD"))
			if a.status != tt.status {
				t.Errorf("%d %s, want %d", a.status, a.body, tt.status)
			}
			checkDate(t, a, began)
		})
	}
}

// The date goes on from one request of a connection to the next.
func TestTheDateGoesOn(t *testing.T) {
	s, _ := testServer(t, Config{})
	w, dates := dial(t, s), make(map[string]bool)
	until(t, "three seconds are told", func() bool {
		began := time.Now()
		w.say(healthy)
		a := w.hear()
		checkDate(t, a, began)
		dates[a.header.Get("Date")] = true
		return len(dates) == 3
	})
}

// A connection too many is told the date, too.
func TestARefusedConnectionHasTheDate(t *testing.T) {
	if *overTLS {
		t.Skip("TestOneTooManyOverTLS")
	}
	release := make(chan struct{})
	s, _ := testServer(t, Config{MaxConnections: 1, Reader: query.Sources{
		Latest: func(context.Context, string) (query.Points, error) { <-release; return query.Points{}, nil },
	}})
	defer close(release)
	dial(t, s).say("GET /v1/riders/r HTTP/1.1\r\nHost: x\r\n\r\n")
	until(t, "it is in work", func() bool { return s.reads.Slots.Used() == 1 })
	began := time.Now()
	a := dial(t, s).hear()
	if a.status != 503 {
		t.Errorf("%d %s", a.status, a.body)
	}
	checkDate(t, a, began)
}
