package server

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"pingline/ingest"
	"pingline/ingest/auth"
	"pingline/ingest/server/certs"
	"pingline/ingest/server/certs/certstest"
	"pingline/ingest/server/minrate"
	"pingline/queue"
)

// With -tls all tests of the package run over TLS.
var overTLS = flag.Bool("tls", false, "run the servers of all tests over TLS")

// tlsOfAll returns the certificates of servers, and has http.DefaultClient trust them.
func tlsOfAll(t testing.TB) *certs.Certificates {
	t.Helper()
	http.DefaultTransport.(*http.Transport).TLSClientConfig = &tls.Config{InsecureSkipVerify: true} // of all servers of a test
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	return openCerts(t, certstest.New(t, "all"), certs.Config{})
}

// openCerts returns the certificates of a server that ca vouches for. Files are read again
// until the test ends.
func openCerts(t testing.TB, ca *certstest.Authority, cfg certs.Config) *certs.Certificates {
	t.Helper()
	server := ca.Server()
	cfg.Cert, cfg.Key = ca.File("server.pem", server.Text), ca.File("server.key", server.Key)
	s, err := certs.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(t.Context()) }()
	t.Cleanup(func() { <-ended })
	return s
}

// certifiedClients returns certificates of a server which asks clients for theirs, by which
// riders are let in beside a gate, and a client for each rider; "" has none.
func certifiedClients(t testing.TB, gate *auth.Gate, riders ...string) (*certs.Certificates, map[string]*http.Client) {
	t.Helper()
	ca := certstest.New(t, "ours")
	clients := map[string]*http.Client{}
	for _, rider := range riders {
		cfg := ca.Shown()
		if rider != "" {
			cfg = ca.Shown(ca.Client(rider))
		}
		transport := &http.Transport{TLSClientConfig: cfg}
		t.Cleanup(transport.CloseIdleConnections)
		clients[rider] = &http.Client{Transport: transport}
	}
	return openCerts(t, ca, certs.Config{ClientCA: ca.File("clients.pem", ca.Text()), Riders: true, Failures: gate.Failures()}), clients
}

// secureWire is a wire of TLS to a server that ca vouches for.
func secureWire(t testing.TB, s *Server, ca *certstest.Authority) (*wire, *tls.Conn) {
	t.Helper()
	c, err := tls.Dial("tcp", s.Addr().String(), ca.Shown())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Minute))
	return &wire{t, c, bufio.NewReader(c)}, c
}

// Certificates are replaced while clients send, on connections that stay and on new ones: no
// request fails, a new connection has the new certificate, and open connections live on.
func TestCertificatesAreReplacedUnderLoad(t *testing.T) {
	ca := certstest.New(t, "ours")
	secured := openCerts(t, ca, certs.Config{})
	s, url := testServer(t, Config{TLS: secured})
	serialOf := func(c *tls.Conn) string { return c.ConnectionState().PeerCertificates[0].SerialNumber.Text(16) }
	old, below := secureWire(t, s, ca)
	first := serialOf(below)

	var ended atomic.Bool
	var sent, opened atomic.Int64
	var senders sync.WaitGroup
	failures := make(chan error, 1000)
	for n := range 8 {
		senders.Go(func() {
			cfg := ca.Shown()
			cfg.ClientSessionCache = tls.NewLRUClientSessionCache(8)
			transport := &http.Transport{TLSClientConfig: cfg, DisableKeepAlives: n%2 == 0, DialContext: (&net.Dialer{}).DialContext}
			defer transport.CloseIdleConnections()
			client := &http.Client{Transport: transport}
			for i := 0; !ended.Load(); i++ {
				resp, err := client.Post(url+"/v1/pings", "application/json", strings.NewReader(onePing(fmt.Sprintf("r-%d-%d", n, i), 60)))
				if err == nil {
					_, _ = io.Copy(io.Discard, resp.Body)
					if _ = resp.Body.Close(); resp.StatusCode != 200 {
						err = fmt.Errorf("status %d", resp.StatusCode)
					}
				}
				if err != nil {
					failures <- err
					return
				}
				sent.Add(1)
				if n%2 == 0 {
					opened.Add(1)
				}
			}
		})
	}
	// enough waits until more requests have been answered.
	enough := func() {
		from := sent.Load()
		until(t, "requests go on", func() bool { return sent.Load() > from+50 || len(failures) > 0 })
	}
	rename := func(name string, text []byte) {
		if err := os.Rename(ca.File(name+".next", text), ca.Path(name)); err != nil {
			t.Error(err)
		}
	}
	inPlace := func(name string, text []byte) {
		f, err := os.OpenFile(ca.Path(name), os.O_WRONLY|os.O_TRUNC, 0o600)
		if err != nil {
			t.Error(err)
			return
		}
		defer f.Close()
		for _, part := range [][]byte{text[:len(text)/2], text[len(text)/2:]} { // as a slow writer does
			if _, err := f.Write(part); err != nil {
				t.Error(err)
			}
			enough()
		}
	}
	enough()
	for _, by := range []struct {
		name  string
		write func(name string, text []byte)
		files []string
	}{
		{"replaced, the certificate first", rename, []string{"server.pem", "server.key"}},
		{"replaced, the key first", rename, []string{"server.key", "server.pem"}},
		{"written in place, the certificate first", inPlace, []string{"server.pem", "server.key"}},
		{"written in place, the key first", inPlace, []string{"server.key", "server.pem"}},
	} {
		next := ca.Server()
		texts := map[string][]byte{"server.pem": next.Text, "server.key": next.Key}
		for _, file := range by.files {
			by.write(file, texts[file])
			enough()
		}
		want := next.Cert.SerialNumber.Text(16)
		until(t, by.name+": a new connection has the new certificate", func() bool {
			_, c := secureWire(t, s, ca)
			defer c.Close()
			return serialOf(c) == want
		})
		if notes := secured.Notes(); len(notes) > 0 {
			t.Errorf("%s: %q", by.name, notes)
		}
	}
	enough()
	ended.Store(true)
	senders.Wait()
	close(failures)
	for err := range failures {
		t.Errorf("a request failed: %v", err)
	}
	if old.healthy(); serialOf(below) != first {
		t.Error("an open connection has another certificate")
	}
	if sent.Load() < 200 || opened.Load() < 50 {
		t.Errorf("%d requests were sent, %d of them on connections of their own", sent.Load(), opened.Load())
	}
	if n := secured.Failures().Stats()[auth.Handshake]; n > 0 {
		t.Errorf("%d handshakes failed", n)
	}
	t.Logf("%d requests, %d of them on connections of their own; none failed", sent.Load(), opened.Load())
}

// A request over TLS is known as such: the flag Secure of a cookie follows it.
func TestARequestOverTLSIsSecure(t *testing.T) {
	ca := certstest.New(t, "ours")
	for _, secured := range []*certs.Certificates{nil, openCerts(t, ca, certs.Config{})} {
		if *overTLS && secured == nil {
			continue
		}
		_, url := testServer(t, Config{TLS: secured}, func(s *Server) {
			s.app.Get("/secure", func(c *fiber.Ctx) error {
				return c.SendString(fmt.Sprint(c.Secure(), " ", c.Protocol(), " ", c.Context().IsTLS()))
			})
		})
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: ca.Shown()}}
		defer client.CloseIdleConnections()
		want := "false http false"
		if secured != nil {
			want = "true https true"
		}
		if a := sendBy(t, client, "GET", url+"/secure", nil); a.body != want {
			t.Errorf("%s: %s, want %s", url, a.body, want)
		}
	}
}

// Connections that say nothing, or begin a handshake and stop, hold back nobody. They count as
// connections of their client, give way to others, and end by the deadline of a head.
func TestSlowHandshakes(t *testing.T) {
	ca := certstest.New(t, "ours")
	secured := openCerts(t, ca, certs.Config{})
	s, _ := testServer(t, Config{TLS: secured, MaxConnections: 20, HeadTimeout: time.Hour})
	silent := func() net.Conn {
		c, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_ = c.SetDeadline(time.Now().Add(10 * time.Minute))
		return c
	}
	var all []net.Conn
	for i := range 20 {
		c := silent()
		if i%2 == 0 {
			_, _ = c.Write([]byte{22, 3, 1, 0, 200, 1, 0}) // the head of a record, and a bit of a hello
		}
		all = append(all, c)
	}
	until(t, "they count as connections that wait for their client", func() bool { return s.Stats().Connections == 20 && waiting(s) == 20 })
	for range 10 {
		w, _ := secureWire(t, s, ca)
		w.healthy()
	}
	if st := s.Stats(); st.Displaced != 10 || st.Connections != 20 || st.TurnedAway != 0 {
		t.Errorf("%+v, want 10 of 20 connections displaced", st)
	}
	closed := 0
	for _, c := range all[:10] {
		if _, err := c.Read(make([]byte, 1)); err != nil {
			closed++
		}
	}
	if closed != 10 {
		t.Errorf("%d of the 10 oldest were closed", closed)
	}
	for _, c := range all {
		_ = c.Close()
	}

	s, _ = testServer(t, Config{TLS: secured, HeadTimeout: 50 * time.Millisecond})
	before := secured.Failures().Stats()[auth.Handshake]
	for range 5 {
		if got, err := io.ReadAll(silent()); len(got) > 0 || err != nil {
			t.Errorf("silence is answered %q, %v", got, err)
		}
	}
	until(t, "each ends, and is counted", func() bool {
		return s.Stats().Connections == 0 && secured.Failures().Stats()[auth.Handshake] == before+5
	})
}

// Plain HTTP on a port of TLS gets no answer of HTTP, and is counted.
func TestPlainHTTPToAPortOfTLS(t *testing.T) {
	ca := certstest.New(t, "ours")
	s, _ := testServer(t, Config{TLS: openCerts(t, ca, certs.Config{})})
	c, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Minute))
	if _, err := io.WriteString(c, healthy); err != nil {
		t.Fatal(err)
	}
	if got, _ := io.ReadAll(c); bytes.Contains(got, []byte("HTTP")) {
		t.Errorf("answered %q", got)
	}
	if n := s.Stats().Denied["handshake"]; n != 1 {
		t.Errorf("counted %d times", n)
	}
}

// A connection too many is told by an alert, which costs no handshake, and ends.
func TestOneTooManyOverTLS(t *testing.T) {
	ca := certstest.New(t, "ours")
	release, in := make(chan struct{}), make(chan struct{})
	s, _ := testServer(t, Config{TLS: openCerts(t, ca, certs.Config{}), MaxConnections: 1}, func(s *Server) {
		s.app.Get("/wait", func(*fiber.Ctx) error { close(in); <-release; return nil })
	})
	defer close(release)
	w, _ := secureWire(t, s, ca)
	w.say("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
	<-in
	if _, err := tls.Dial("tcp", s.Addr().String(), ca.Shown()); err == nil || !strings.Contains(err.Error(), "tls: internal error") {
		t.Errorf("one too many gets %v, want an alert", err)
	}
	if st := s.Stats(); st.TurnedAway != 1 {
		t.Errorf("%+v", st)
	}
}

// A refusal that is given before all of the body has come reaches its client, over TLS as
// without.
func TestRefusalsBeforeTheBodyOverTLS(t *testing.T) {
	ca := certstest.New(t, "ours")
	s, _ := testServer(t, Config{
		TLS: openCerts(t, ca, certs.Config{}), MaxBody: 20_000,
		pace: minrate.Rate{Grace: 50 * time.Millisecond, PerSecond: 1 << 20, Limit: time.Minute},
	})
	for _, tt := range []struct {
		name, said string
		status     int
	}{
		{"too large, all sent", post + "Content-Length: 4000000\r\n\r\n" + strings.Repeat(" ", 4_000_000), 413},
		{"too large, announced", post + "Expect: 100-continue\r\nContent-Length: 4000000\r\n\r\n", 413},
		{"too slow", post + "Content-Length: 12000\r\n\r\n" + strings.Repeat(" ", 9000), 408},
		{"malformed", "GET /healthz HTTP/1.1\nHost: x\n\n", 400},
	} {
		w, _ := secureWire(t, s, ca)
		go func() { _, _ = io.WriteString(w, tt.said) }()
		if a := w.hear(); a.status != tt.status {
			t.Errorf("%s: %d %s, want %d", tt.name, a.status, a.body, tt.status)
		}
		if !w.ended() {
			t.Errorf("%s: the connection goes on", tt.name)
		}
	}
}

// A stream over TLS has the events as they come, and ends when the client's certificate is
// revoked.
func TestStreamOverTLS(t *testing.T) {
	ca := certstest.New(t, "ours")
	ana := ca.Client("ana")
	secured := openCerts(t, ca, certs.Config{
		ClientCA: ca.File("clients.pem", ca.Text()), ClientCRL: ca.File("crl.pem", ca.List(time.Now().Add(time.Hour))),
	})
	transport := http.DefaultTransport.(*http.Transport)
	was := transport.TLSClientConfig
	transport.TLSClientConfig = ca.Shown(ana)
	t.Cleanup(func() { transport.CloseIdleConnections(); transport.TLSClientConfig = was })
	_, hub, url := streamServer(t, Config{TLS: secured}, 10)
	send(t, "POST", url+"/v1/pings", []byte(onePing("r-1", 9)))
	w := watchAt(t, url+"/v1/stream?bbox=-9,41,-8,42&riders=1&res=8", "")
	w.until(t, `"r-1"`)
	send(t, "POST", url+"/v1/pings", []byte(onePing("r-2", 5)))
	w.until(t, `"r-2"`)
	ca.File("crl.pem", ca.List(time.Now().Add(time.Hour), ana))
	for w.Scan() { // until it ends
	}
	until(t, "the viewer's place is free", func() bool { return hub.Stats().Viewers == 0 })
	if n := secured.Failures().Stats()[auth.CertRevoked]; n == 0 {
		t.Error("not counted")
	}
}

// Without a gate, and where every connection needs a client certificate, it opens everything.
func TestCertificatesOfTheTransportAlone(t *testing.T) {
	ca := certstest.New(t, "ours")
	w, _ := testWriter(t, ingest.WriterConfig{Log: testLog(t, queue.Config{})})
	s, url := testServer(t, Config{Writer: w, TLS: openCerts(t, ca, certs.Config{ClientCA: ca.File("clients.pem", ca.Text())})})
	with := &http.Client{Transport: &http.Transport{TLSClientConfig: ca.Shown(ca.Client("gateway"))}}
	without := &http.Client{Transport: &http.Transport{TLSClientConfig: ca.Shown()}}
	defer with.CloseIdleConnections()
	if a := sendBy(t, with, "POST", url+"/v1/pings", []byte(onePing("ana", 60))); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
	if resp, err := without.Get(url + "/healthz"); err == nil {
		_ = resp.Body.Close()
		t.Errorf("without a certificate: %d", resp.StatusCode)
	}
	until(t, "it is counted", func() bool { return s.Stats().Denied["cert_missing"] == 1 })
}
