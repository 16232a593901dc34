package server

import (
	"bytes"
	"errors"
	"log/slog"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"pingline/ingest/phone"
)

// lines is a log that is written by several goroutines.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Somebody who misses a phone's pings finds in the log who sent what, and what is
// wrong with it.
func TestRefusedPingsAreToldToTheLog(t *testing.T) {
	for _, tt := range []struct{ name, body, want string }{
		{"a value", "[" + onePing("r-1", 9) + `,{"rider_id":"Zoë 7","ts":1795814330,"lat":1,"lon":2},7]`,
			`level=INFO msg="pings were refused" client=127\.0\.0\.1 protocol=native refused=2 of=3 index=1 rider="Zoë 7" field=ts reason="more than 30 d behind: 1795814330 looks like s since 1970; send ms" left_out=0`},
		{"a type", `{"rider_id":"r-2","ts":1,"lat":"1","lon":2}`, `refused=1 of=1 index=0 rider=r-2 field=lat reason="not a number"`},
		{"no rider", `{"lat":1}`, `rider="" field=rider_id reason=missing`},
		{"a hostile rider", `{"rider_id":"a\\nlevel=ERROR ` + strings.Repeat("x", 1000) + `","ts":1,"lat":1,"lon":2}`, `rider="a\\\\nlevel=ERROR x{100,190}" field=rider_id`},
		{"a syntax error", `{"rider_id"`, `msg="a request was refused" client=127\.0\.0\.1 protocol=native reason="syntax error at offset 11: want :, got the end"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			log := new(lines)
			_, url := testServer(t, Config{Logger: slog.New(slog.NewTextHandler(log, nil))})
			send(t, "POST", url+"/v1/pings", []byte(tt.body))
			if got := log.String(); !regexp.MustCompile(tt.want).MatchString(got) || strings.Count(got, "\n") != 1 {
				t.Errorf("the log has %q, want %s", got, tt.want)
			}
		})
	}
	log := new(lines)
	_, url := testServer(t, Config{Logger: slog.New(slog.NewTextHandler(log, nil))})
	send(t, "POST", url+"/v1/pings", []byte(onePing("r-1", 9)))
	if got := log.String(); got != "" {
		t.Errorf("of a ping that was taken the log has %q", got)
	}
}

func TestRefusedPingsDoNotFillTheLog(t *testing.T) {
	log := new(lines)
	r := refused{logger: slog.New(slog.NewTextHandler(log, nil))}
	now := time.Now()
	for i := range 1000 {
		r.tell(netip.Addr{}, "native", new(phone.Pings), errors.New("no"), now.Add(time.Duration(i)*2*time.Millisecond))
	}
	if got := log.String(); strings.Count(got, "\n") != 2 || !strings.Contains(got, "left_out=499") {
		t.Errorf("the log has %q", got)
	}
}
