package server

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pingline/dedupe"
	"pingline/ingest"
	"pingline/ingest/server/framing/framingtest"
	"pingline/ingest/server/minrate"
	"pingline/ingest/server/share"
	"pingline/queue"
)

// localhost makes the test one of ours, whose share is all there is.
var localhost = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// wire is a connection on which a test says what it likes.
type wire struct {
	t testing.TB
	net.Conn
	r *bufio.Reader
}

func dial(t testing.TB, s *Server) *wire {
	t.Helper()
	return dialFrom(t, s, "127.0.0.1")
}

// dialFrom dials from an address of this host, 127.x.x.x, so that a test can be
// several clients.
func dialFrom(t testing.TB, s *Server, host string) *wire {
	t.Helper()
	from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(host)}}
	c, err := from.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(10 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	if s.cfg.TLS != nil {
		c = tls.Client(c, &tls.Config{InsecureSkipVerify: true})
	}
	return &wire{t, c, bufio.NewReader(c)}
}

// tcp returns the connection below.
func (w *wire) tcp() *net.TCPConn {
	if secure, ok := w.Conn.(*tls.Conn); ok {
		return secure.NetConn().(*net.TCPConn)
	}
	return w.Conn.(*net.TCPConn)
}

func (w *wire) say(format string, args ...any) {
	w.t.Helper()
	if _, err := fmt.Fprintf(w, format, args...); err != nil {
		w.t.Fatalf("say: %v", err)
	}
}

// hear reads one answer, and fails the test if there is none.
func (w *wire) hear() answer {
	w.t.Helper()
	return w.hearTo(false)
}

// hearTo is hear, of an answer to HEAD or another.
func (w *wire) hearTo(head bool) answer {
	w.t.Helper()
	req := &http.Request{Method: http.MethodGet}
	if head {
		req.Method = http.MethodHead
	}
	resp, err := http.ReadResponse(w.r, req)
	if err != nil {
		w.t.Fatalf("hear: %v", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatalf("hear: %v", err)
	}
	if resp.Close {
		resp.Header.Set("Connection", "close")
	}
	return answer{resp.StatusCode, resp.Header, string(body)}
}

// ended reports whether the other side has closed, saying nothing more.
func (w *wire) ended() bool {
	_, err := w.r.ReadByte()
	return err == io.EOF
}

const post = framingtest.Post

// use takes n of a budget for others, or gives them back if n is negative.
func use(b *share.Budget, n int64) {
	others := b.Claim(0, true)
	others.Settle(n)
}

// mimeGeoJSON is what a client asks for to get GeoJSON.
const mimeGeoJSON = "application/geo+json"

// until waits until ok holds, for as long as a busy machine may take.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for limit := time.Now().Add(10 * time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("never: %s", what)
		}
	}
}

// What is in work is charged as it comes in, before there is memory for it, and
// a crowd of bodies that are announced and do not come costs what has come.
func TestBodiesAreChargedAsTheyCome(t *testing.T) {
	s, url := testServer(t, Config{MaxInProgress: 1 << 20, TrustedProxies: localhost})
	body := append([]byte(onePing("r", 1)), bytes.Repeat([]byte(" "), 600<<10)...)
	w := dial(t, s)
	w.say(post+"Content-Length: %d\r\n\r\n", len(body))
	if _, err := w.Write(body[:prefetched]); err != nil {
		t.Fatal(err)
	}
	until(t, "the request is in work", func() bool { return s.budget.Used() > 0 })
	if n := s.budget.Used(); n != requestBytes+firstBytes {
		t.Errorf("%d bytes in work for a body of which 8 KiB have come, want %d", n, requestBytes+firstBytes)
	}
	if _, err := w.Write(body[prefetched : 500<<10]); err != nil {
		t.Fatal(err)
	}
	until(t, "what comes is charged", func() bool { return s.budget.Used() > 500<<10 })
	if a := send(t, "POST", url+"/v1/pings", body); a.status != 503 || a.header.Get("Retry-After") == "" {
		t.Errorf("a second one that does not fit: %d %s", a.status, a.body)
	}
	if a := send(t, "POST", url+"/v1/pings", []byte(onePing("q", 1))); a.status != 200 {
		t.Errorf("a small one that fits: %d %s", a.status, a.body)
	}
	if _, err := w.Write(body[500<<10:]); err != nil {
		t.Fatal(err)
	}
	if a := w.hear(); a.status != 200 {
		t.Errorf("the first one, now all there: %d %s", a.status, a.body)
	}
	if n := s.budget.Used(); n != 0 {
		t.Errorf("%d bytes are in work when none are", n)
	}
	gone := dial(t, s)
	gone.say("%s", post+"Content-Length: 100000\r\n\r\n"+strings.Repeat(" ", prefetched))
	until(t, "the request is in work", func() bool { return s.budget.Used() > 0 })
	_ = gone.Close()
	until(t, "a broken one is given back", func() bool { return s.budget.Used() == 0 })
}

// Bodies that inflate to much count by that, and not all of them get in.
func TestInflatedBodiesAreCharged(t *testing.T) {
	s, url := testServer(t, Config{MaxInProgress: 1 << 20, MaxInflated: 4 << 20, TrustedProxies: localhost})
	a := send(t, "POST", url+"/v1/pings", gzipped(t, bytes.Repeat([]byte(" "), 2<<20)), "Content-Encoding", "gzip")
	if a.status != 503 {
		t.Errorf("two mebibytes with room for one: %d %s", a.status, a.body)
	}
	if n := s.budget.Used(); n != 0 {
		t.Errorf("%d bytes are in work when none are", n)
	}
}

// Whatever part of a body was not read is never taken for a request.
func TestUnreadBodiesAreNoRequests(t *testing.T) {
	s, _ := testServer(t, Config{MaxBody: 1 << 20})
	const trap = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
	fill := strings.Repeat(trap, 1<<20/len(trap)+1)
	for _, tt := range []struct {
		name, head string
		body       string
		full       bool // no more room
		status     int
		goesOn     bool
	}{
		{"too large", post + "Content-Length: 2000000\r\n\r\n", fill, false, 413, false},
		{"no such route, small", "POST /v2/pings HTTP/1.1\r\nHost: x\r\nContent-Length: 34\r\n\r\n", trap, false, 404, true},
		{"no such route, large", "POST /v2/pings HTTP/1.1\r\nHost: x\r\nContent-Length: 700000\r\n\r\n", fill[:700_000], false, 404, false},
		{"wrong method", "PUT /v1/pings HTTP/1.1\r\nHost: x\r\nContent-Length: 20000\r\n\r\n", fill[:20_000], false, 405, true},
		{"refused, small", post + "Content-Length: 34\r\n\r\n", trap, true, 503, true},
		{"refused, all there", post + "Content-Length: 100000\r\n\r\n", fill[:100_000], true, 503, true},
		{"refused, large", post + "Content-Length: 900000\r\n\r\n", fill[:900_000], true, 503, false},
		{"refused, not all there", post + "Content-Length: 100000\r\n\r\n", fill[:50_000], true, 503, false},
		{"refused, in chunks", post + "Transfer-Encoding: chunked\r\n\r\n", "22\r\n" + trap + "\r\n0\r\n\r\n", true, 503, false},
		{"too large in chunks", post + "Transfer-Encoding: chunked\r\n\r\n", "110000\r\n" + fill + "\r\n0\r\n\r\n", false, 413, false},
		{"broken chunks", post + "Transfer-Encoding: chunked\r\n\r\n", "zz\r\n" + trap, false, 400, false},
		{"a form", post + "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 34\r\n\r\n", trap, false, 400, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.full {
				use(s.budget, s.budget.Most())
				defer use(s.budget, -s.budget.Most())
			}
			w := dial(t, s)
			w.say("%s", tt.head)
			go func() { _, _ = io.WriteString(w, tt.body) }()
			if a := w.hear(); a.status != tt.status || (a.header.Get("Connection") == "close") == tt.goesOn {
				t.Fatalf("%d %s %v, want %d, and the connection goes on: %v", a.status, a.body, a.header, tt.status, tt.goesOn)
			}
			if !tt.goesOn {
				if !w.ended() {
					t.Error("something follows the answer")
				}
				return
			}
			w.say("GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
			if a := w.hear(); a.status != 200 || !strings.Contains(a.body, "ready") {
				t.Errorf("what follows: %d %s", a.status, a.body)
			}
		})
	}
}

func TestBodiesInChunks(t *testing.T) {
	s, _ := testServer(t, Config{})
	w := dial(t, s)
	for n := range 3 {
		body := onePing(fmt.Sprint("r-", n), 1)
		w.say(post+"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n%x;ext=1\r\n%s\r\n0\r\n\r\n", 10, body[:10], len(body)-10, body[10:])
		if a := w.hear(); a.status != 200 || !strings.Contains(a.body, `"accepted":1`) {
			t.Errorf("request %d: %d %s", n, a.status, a.body)
		}
	}
}

func TestSlowBodiesAreCutOff(t *testing.T) {
	s, _ := testServer(t, Config{
		HeadTimeout: 200 * time.Millisecond,
		pace:        minrate.Rate{Grace: 50 * time.Millisecond, PerSecond: 1 << 20, Limit: time.Second},
	})
	for _, tt := range []struct{ name, said string }{
		{"no request", ""},
		{"half a header", "POST /v1/pings HT"},
		{"no body", post + "Content-Length: 100000\r\n\r\n"},
		{"half a body", post + "Content-Length: 100000\r\n\r\n" + strings.Repeat(" ", 50_000)},
		{"a chunk", post + "Transfer-Encoding: chunked\r\n\r\n10000\r\n  "},
		{"half a number of a chunk", post + "Transfer-Encoding: chunked\r\n\r\n1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := dial(t, s)
			w.say("%s", tt.said)
			if a := w.hear(); a.status != 408 || !w.ended() {
				t.Errorf("%d %s, want 408 and the end", a.status, a.body)
			}
		})
	}
	until(t, "all is given back", func() bool { return s.budget.Used() == 0 && s.Stats().Connections == 0 })
}

// Someone in need is let past the crowd, as far as the reserve goes and as long
// as not everyone is.
func TestThoseInNeedPassTheCrowd(t *testing.T) {
	o := ingest.NewOverload(ingest.OverloadConfig{})
	writer, _ := testWriter(t, ingest.WriterConfig{Log: testLog(t, queue.Config{}), Overload: o, Bound: dedupe.Bound{MaxError: 10}})
	s, url := testServer(t, Config{Writer: writer, MaxInProgress: 1 << 20, RiderRate: 0.001, RiderBurst: 1, ClientRate: 0.2, clientNeed: 0.001})
	n := 0
	sos := func(more string, headers ...string) int {
		n++
		body := strings.Replace(onePing(fmt.Sprint("r-", n%2), n), "{", `{"event":"sos",`, 1)
		a := send(t, "POST", url+"/v1/pings", []byte(body+more), headers...)
		if a.status == 200 && !strings.Contains(a.body, `"accepted":1`) {
			t.Errorf("SOS %d: %s", n, a.body)
		}
		return a.status
	}
	need := []string{"Pingline-Priority", "critical"}
	crowd := func(want int) {
		t.Helper()
		if got := sos(""); got != want {
			t.Errorf("without the header: %d, want %d", got, want)
		}
	}
	use(s.budget, 1<<20)
	crowd(503)
	if got := sos("", need...); got != 200 {
		t.Errorf("with all bytes in use: %d", got)
	}
	if got := sos(strings.Repeat(" ", needMost), need...); got != 503 {
		t.Errorf("a large one: %d, want to be one of the crowd", got)
	}
	if got := sos("", "Pingline-Priority", "high"); got != 503 {
		t.Errorf("another priority: %d", got)
	}
	use(s.reserve, needBytes)
	if got := sos("", need...); got != 503 {
		t.Errorf("with the reserve in use: %d", got)
	}
	use(s.reserve, -needBytes)
	use(s.budget, -1<<20)
	o.Force(4, true, "a test")
	crowd(503)
	if got := sos("", need...); got != 200 {
		t.Errorf("with memory short: %d", got)
	}
	o.Force(0, false, "")
	for sos("") == 200 {
	}
	if got := sos("", need...); got != 200 {
		t.Errorf("over its rate: %d", got)
	}
	crowd(429)
	passed := 0
	use(s.budget, 1<<20)
	for range clientNeedBurst {
		if sos("", need...) == 200 {
			passed++
		}
	}
	if passed == 0 || passed == clientNeedBurst {
		t.Errorf("%d of %d more pass, want some", passed, clientNeedBurst)
	}
	use(s.budget, -1<<20)
}
