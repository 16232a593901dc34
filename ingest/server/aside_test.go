package server

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"pingline/ingest/auth"
	"pingline/ingest/phone"
	"pingline/ingest/phone/native"
	"pingline/ingest/server/aside"
)

// beside has a server listen on a second address, where / is that of our own pings.
func beside(cfg Config) Config {
	cfg.Aside = aside.Config{Flag: "x-listen", Listen: "127.0.0.1:0", Path: "/v1/pings"}
	return cfg
}

// dialAside connects to the second address.
func dialAside(t *testing.T, s *Server) *wire {
	t.Helper()
	c, err := net.Dial("tcp", s.aside.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if s.cfg.TLS != nil {
		c = tls.Client(c, &tls.Config{InsecureSkipVerify: true})
	}
	return &wire{t, c, bufio.NewReader(c)}
}

// At the second address / is the path of a protocol, and there is nothing else; the first
// stays as it is. Requests share a connection.
func TestSecondAddress(t *testing.T) {
	s, base := testServer(t, beside(Config{}))
	w := dialAside(t, s)
	for _, tt := range []struct {
		line, body string
		status     int
		want       string
	}{
		{"POST /", onePing("r-1", 1), 200, `"accepted":1`},
		{"POST /?verdicts=1", onePing("r-2", 1), 200, `"verdicts":["accepted"]`},
		{"GET /", "", 405, "GET is not for /v1/pings: use POST"},
		{"POST /v1/pings", onePing("r-3", 1), 404, `there is only / here, which is /v1/pings elsewhere`},
		{"GET /healthz", "", 404, "there is only / here"},
		{"GET /v1/riders/r-1", "", 404, "there is only / here"},
		{"POST //", onePing("r-3", 1), 404, "there is only / here"},
		{"POST /", onePing("r-4", 1), 200, `"accepted":1`},
	} {
		w.say("%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", tt.line, len(tt.body), tt.body)
		if a := w.hear(); a.status != tt.status || !strings.Contains(a.body, tt.want) || a.header.Get("Date") == "" {
			t.Errorf("%s: %d %s, want %d with %s", tt.line, a.status, a.body, tt.status, tt.want)
		}
	}
	if a := send(t, "GET", base+"/healthz", nil); a.status != 200 {
		t.Errorf("%d %s at the first address", a.status, a.body)
	}
	if a := send(t, "POST", base+"/", nil); a.status != 405 {
		t.Errorf("POST / is %d %s at the first address", a.status, a.body)
	}
	if st := s.Stats(); st.Received != 3 || st.Connections < 1 {
		t.Errorf("%+v", st)
	}
}

// A client that waits for 100 Continue is told by the path that / is.
func TestSecondAddressContinues(t *testing.T) {
	s, _ := testServer(t, beside(Config{}))
	w := dialAside(t, s)
	body := onePing("r-1", 1)
	for range 2 {
		w.say("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", len(body))
		if a := w.hear(); a.status != http.StatusContinue {
			t.Fatalf("%d %s, want 100", a.status, a.body)
		}
		w.say("%s", body)
		if a := w.hear(); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	w.say("POST /x HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
	if a := w.hear(); a.status != 404 {
		t.Errorf("%d %s, want 404", a.status, a.body)
	}
}

// The second address asks for the same keys, has the same places and the same limits.
func TestSecondAddressIsGuarded(t *testing.T) {
	path, secrets := keysOf(t, keyFor("phone", "write", "r-1"))
	s, _ := testServer(t, beside(Config{Gate: gateOf(t, path, auth.Config{}), MaxBody: 1000, MaxConnections: 2}))
	for _, tt := range []struct {
		query, body string
		status      int
	}{
		{"", onePing("r-1", 1), 401},
		{"?key=pl_wrong", onePing("r-1", 1), 401},
		{"?key=" + secrets["phone"], onePing("r-1", 1), 200},
		{"?key=" + secrets["phone"], onePing("r-2", 1), 400},
		{"?key=" + secrets["phone"], strings.Repeat(" ", 1001), 413},
	} {
		w := dialAside(t, s)
		w.say("POST /%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", tt.query, len(tt.body), tt.body)
		if a := w.hear(); a.status != tt.status {
			t.Errorf("%s: %d %s, want %d", tt.query, a.status, a.body, tt.status)
		}
	}
	for range 4 { // the places are of both addresses
		dialAside(t, s).say("POST / HTTP/1.1\r\n")
		dial(t, s).say("POST /v1/pings HTTP/1.1\r\n")
	}
	until(t, "connections are displaced", func() bool { return s.Stats().Displaced >= 6 })
	if st := s.Stats(); st.Connections > 2 {
		t.Errorf("%d connections are open, want 2 at most", st.Connections)
	}
}

// A second address that is taken is told by the name of its flag, and frees the first.
func TestSecondAddressThatIsTaken(t *testing.T) {
	s, _ := testServer(t, Config{})
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	first := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	cfg := beside(Config{Listen: first, Writer: s.cfg.Writer, Cells: testCells, Protocols: []phone.Protocol{native.Protocol}})
	cfg.Aside.Listen = s.Addr().String()
	if _, err := New(cfg); err == nil || !strings.Contains(fmt.Sprint(err), "--x-listen: ") {
		t.Errorf("error %v, want one that names the flag", err)
	}
	again, err := net.Listen("tcp", first)
	if err != nil {
		t.Fatalf("the first address was not freed: %v", err)
	}
	_ = again.Close()
}
