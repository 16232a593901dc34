package certs

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pingline/ingest/auth"
	"pingline/ingest/server/certs/certstest"
)

// journal is a log that may be read while it is written.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

func (j *journal) logger() *slog.Logger { return slog.New(slog.NewTextHandler(j, nil)) }

// patient is more than anything here takes.
const patient = 2 * time.Minute

// eventually waits until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for began := time.Now(); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Since(began) > patient {
			t.Fatalf("never: %s", what)
		}
	}
}

// open returns Certificates of a server whose certificate ca vouches for.
func open(t *testing.T, ca *certstest.Authority, cfg Config) (*Certificates, *journal) {
	t.Helper()
	log := new(journal)
	server := ca.Server()
	cfg.Cert, cfg.Key, cfg.Logger = ca.File("server.pem", server.Text), ca.File("server.key", server.Key), log.logger()
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s, log
}

// listen answers each connection with a byte, and keeps it open until the other end has gone.
func listen(t *testing.T, s *Certificates) (addr string, who chan *auth.Identity) {
	t.Helper()
	below, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln := s.Listener(below, true)
	who = make(chan *auth.Identity, 100)
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(patient))
				var b [1]byte
				for {
					if _, err := c.Read(b[:]); err != nil {
						return
					}
					who <- c.(*SecureConn).Identity()
					if _, err := c.Write(b[:]); err != nil {
						return
					}
				}
			}()
		}
	}()
	return ln.Addr().String(), who
}

// ask sends a byte and waits for one. In TLS 1.3 a client learns of its refusal by reading.
func ask(c net.Conn) error {
	_ = c.SetDeadline(time.Now().Add(patient))
	_, werr := c.Write([]byte("x"))
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		return fmt.Errorf("%w (write: %w)", err, werr)
	}
	return nil
}

func dial(addr string, cfg *tls.Config) (net.Conn, error) {
	c, err := tls.Dial("tcp", addr, cfg)
	if err != nil {
		return nil, err
	}
	if err := ask(c); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

func subject(name string) pkix.Name { return pkix.Name{CommonName: name} }

func uri(text string) []*url.URL {
	u, err := url.Parse(text)
	if err != nil {
		panic(err)
	}
	return []*url.URL{u}
}

// Which client certificates are let in, as which rider, and by which reason others are not.
// The reason is in the log and in the counts. The client learns that its certificate is bad.
func TestWhichClientCertificatesAreLetIn(t *testing.T) {
	ours, others := certstest.New(t, "ours"), certstest.New(t, "others")
	between, cut := ours.Below("between"), ours.Below("cut")
	issue := func(as x509.Certificate) certstest.Pair { return ours.Issue(as) }
	chained := func(a *certstest.Authority, name string) certstest.Pair {
		p := a.Client(name)
		p.Text = append(p.Text, a.Text()...)
		return p
	}
	revoked := ours.Client("ana")
	soon := time.Now().Add(time.Hour)
	ca := ours.File("clients.pem", ours.Text(), between.Text())
	crl := ours.File("crl.pem", ours.List(soon, revoked, certstest.Pair{Cert: cut.Cert}), between.List(soon))
	past := time.Now().Add(-time.Minute)
	for _, tt := range []struct {
		name  string
		pair  *certstest.Pair
		rider string
		cause auth.Cause // where certificates name riders
		plain auth.Cause // where they do not
	}{
		{"none", nil, "", "", auth.CertMissing},
		{"a common name", pair(ours.Client("ana")), "ana", "", ""},
		{"a DNS name, and a person's name", pair(issue(x509.Certificate{Subject: subject("Ana Lima"), DNSNames: []string{"bus-7"}})), "bus-7", "", ""},
		{"an address of e-mail", pair(issue(x509.Certificate{Subject: subject("Ana Lima"), EmailAddresses: []string{"ana@example.org"}})), "ana@example.org", "", ""},
		{"a URI alone", pair(issue(x509.Certificate{URIs: uri("spiffe://example.org/bus/7")})), "spiffe://example.org/bus/7", "", ""},
		{"two names, and the common name is one of them", pair(issue(x509.Certificate{Subject: subject("ana"), DNSNames: []string{"ana", "ben"}})), "ana", "", ""},
		{"by an authority between, which is sent along", pair(chained(between, "ana")), "ana", "", ""},
		{"by an authority between, which is known", pair(between.Client("ana")), "ana", "", ""},
		{"expired", pair(issue(x509.Certificate{Subject: subject("ana"), NotAfter: past})), "", auth.CertExpired, auth.CertExpired},
		{"not valid yet", pair(issue(x509.Certificate{Subject: subject("ana"), NotBefore: soon, NotAfter: soon.Add(time.Hour)})), "", auth.CertEarly, auth.CertEarly},
		{"of another authority", pair(others.Client("ana")), "", auth.CertAuthority, auth.CertAuthority},
		{"revoked", &revoked, "", auth.CertRevoked, auth.CertRevoked},
		{"by an authority that was revoked", pair(chained(cut, "ana")), "", auth.CertRevoked, auth.CertRevoked},
		{"of a server", pair(ours.Server()), "", auth.CertUsage, auth.CertUsage},
		{"two names, and the common name is none of them", pair(issue(x509.Certificate{Subject: subject("ana"), DNSNames: []string{"bus-7", "bus-8"}})), "", auth.CertName, ""},
		{"a name that is no rider's", pair(ours.Client(`ana\`)), "", auth.CertName, ""},
		{"a name that is too long", pair(issue(x509.Certificate{Subject: subject("ana"), DNSNames: []string{strings.Repeat("a", 300)}})), "", auth.CertName, ""},
		{"no name", pair(ours.Client("")), "", auth.CertName, ""},
	} {
		for _, riders := range []bool{true, false} {
			for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				t.Run(fmt.Sprintf("%s/riders=%v/%s", tt.name, riders, tls.VersionName(version)), func(t *testing.T) {
					s, log := open(t, ours, Config{ClientCA: ca, ClientCRL: crl, Riders: riders})
					addr, who := listen(t, s)
					client := ours.Shown()
					if tt.pair != nil {
						client = ours.Shown(*tt.pair)
					}
					client.MaxVersion = version
					want, rider := tt.plain, ""
					if riders {
						want, rider = tt.cause, tt.rider
					}
					c, err := dial(addr, client)
					if want == "" {
						if err != nil {
							t.Fatalf("refused: %v: %s", err, log)
						}
						defer c.Close()
						id := <-who
						if rider == "" && id != nil {
							t.Errorf("the client is %+v", id)
						}
						if rider != "" && (id == nil || id.Rider != rider || id.Scopes != auth.Write|auth.Read || !id.Riders.Has(rider) || id.Riders.Has("ben") || id.Riders.All()) {
							t.Errorf("the client is %+v, want %s alone", id, rider)
						}
						return
					}
					if err == nil {
						t.Fatal("let in")
					}
					alert := "tls: bad certificate"
					if want == auth.CertMissing {
						alert = map[uint16]string{tls.VersionTLS12: "tls: handshake failure", tls.VersionTLS13: "tls: certificate required"}[version]
					}
					if !strings.Contains(err.Error(), alert) {
						t.Errorf("the client learns %v, want the alert %s", err, alert)
					}
					eventually(t, "the refusal is counted", func() bool { return s.Failures().Stats()[want] == 1 })
					eventually(t, "and logged", func() bool {
						return strings.Contains(log.String(), "client=127.0.0.1 reason="+string(want))
					})
					for cause, n := range s.Failures().Stats() {
						if n > 0 && cause != want {
							t.Errorf("counted as %s, too", cause)
						}
					}
				})
			}
		}
	}
}

func pair(p certstest.Pair) *certstest.Pair { return &p }

// A session that is gone on with is verified anew.
func TestRevokedWhileASessionRests(t *testing.T) {
	ours := certstest.New(t, "ours")
	ana := ours.Client("ana")
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		crl := ours.File("crl.pem", ours.List(time.Now().Add(time.Hour)))
		s, log := open(t, ours, Config{ClientCA: ours.File("clients.pem", ours.Text()), ClientCRL: crl, Riders: true})
		addr, who := listen(t, s)
		client := ours.Shown(ana)
		client.MaxVersion, client.ClientSessionCache = version, tls.NewLRUClientSessionCache(8)
		resumed := 0
		for range 3 {
			c, err := dial(addr, client)
			if err != nil {
				t.Fatal(err)
			}
			if id := <-who; id == nil || id.Rider != "ana" {
				t.Errorf("the client is %+v", id)
			}
			if c.(*tls.Conn).ConnectionState().DidResume {
				resumed++
			}
			_ = c.Close()
		}
		if resumed != 2 {
			t.Errorf("%d sessions were gone on with, want 2", resumed)
		}
		noneHeld(t, s)
		ours.File("crl.pem", ours.List(time.Now().Add(time.Hour), ana))
		now := time.Now()
		s.look(now)
		s.look(now.Add(time.Second))
		if _, err := dial(addr, client); err == nil {
			t.Error("a revoked certificate is let in")
		}
		eventually(t, "it is counted", func() bool { return s.Failures().Stats()[auth.CertRevoked] == 1 })
		_ = log
	}
}

// When a list says so, or their time is over, open connections of a client end; others stay.
func TestOpenConnectionsOfARevokedCertificateEnd(t *testing.T) {
	ours := certstest.New(t, "ours")
	ana, ben := ours.Client("ana"), ours.Client("ben")
	short := ours.Issue(x509.Certificate{Subject: subject("short"), NotAfter: time.Now().Add(time.Hour)})
	crl := ours.File("crl.pem", ours.List(time.Now().Add(time.Hour)))
	s, log := open(t, ours, Config{ClientCA: ours.File("clients.pem", ours.Text()), ClientCRL: crl})
	addr, _ := listen(t, s)
	conns := map[string]net.Conn{}
	for name, p := range map[string]certstest.Pair{"ana": ana, "ben": ben, "short": short} {
		c, err := dial(addr, ours.Shown(p))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns[name] = c
	}
	now := time.Now()
	s.look(now)
	ours.File("crl.pem", ours.List(time.Now().Add(time.Hour), ana))
	s.look(now.Add(time.Second)) // it may be written in parts
	if err := ask(conns["ana"]); err != nil {
		t.Fatalf("cut off by a file that may not be whole: %v", err)
	}
	s.look(now.Add(2 * time.Second))
	if err := ask(conns["ana"]); err == nil {
		t.Error("ana goes on")
	}
	if err := ask(conns["short"]); err != nil {
		t.Errorf("short: %v", err)
	}
	s.look(now.Add(2 * time.Hour))
	if err := ask(conns["short"]); err == nil {
		t.Error("a certificate that has expired goes on")
	}
	if err := ask(conns["ben"]); err != nil {
		t.Errorf("ben: %v", err)
	}
	if n := s.Failures().Stats(); n[auth.CertRevoked] != 1 || n[auth.CertExpired] != 1 {
		t.Errorf("counted %v: %s", n, log)
	}
	for _, c := range conns {
		_ = c.Close()
	}
	noneHeld(t, s)
}

// noneHeld waits until no connection with a client certificate is open.
func noneHeld(t *testing.T, s *Certificates) {
	t.Helper()
	eventually(t, "no connection is held", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.held) == 0
	})
}

// Where riders have pseudonyms, a refused certificate is told by its serial number alone.
func TestNamelessRefusals(t *testing.T) {
	ours, others := certstest.New(t, "ours"), certstest.New(t, "others")
	log := new(journal)
	var told []string
	failures := auth.NewFailures(log.logger(), func(e *auth.Denied, _ netip.Addr) { told = append(told, e.Name) })
	s, _ := open(t, ours, Config{ClientCA: ours.File("clients.pem", ours.Text()), Riders: true, Nameless: true, Failures: failures})
	for cause, pair := range map[auth.Cause]certstest.Pair{
		auth.CertAuthority: others.Client("r-secret"),
		auth.CertExpired:   ours.Issue(x509.Certificate{Subject: subject("r-secret"), NotAfter: time.Now().Add(-time.Minute)}),
		auth.CertName:      ours.Issue(x509.Certificate{Subject: subject("r-secret"), DNSNames: []string{"r-secret-1", "r-secret-2"}}),
	} {
		rules := s.now.Load().clients
		_, refusal := rules.check([]*x509.Certificate{pair.Cert}, time.Now())
		if refusal == nil || refusal.Cause != cause {
			t.Fatalf("%s: %+v", cause, refusal)
		}
		failures.Tell(refusal, netip.Addr{}, time.Now())
		if !strings.Contains(log.String(), "reason="+string(cause)+` detail="client certificate with serial `+pair.Cert.SerialNumber.Text(16)) {
			t.Errorf("%s: %s", cause, log)
		}
	}
	_, refusal := s.now.Load().clients.check([]*x509.Certificate{certstest.New(t, "r-secret").Cert}, time.Now()) // signed by itself
	told = append(told, refusal.Detail)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	wrong := &x509.Certificate{SerialNumber: big.NewInt(1), URIs: []*url.URL{{Scheme: "http", Opaque: "//r-secret a"}}}
	der, err := x509.CreateCertificate(rand.Reader, wrong, wrong, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	addr, _ := listen(t, s)
	cfg := ours.Shown()
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
	}
	if c, err := dial(addr, cfg); err == nil {
		_ = ask(c)
		_ = c.Close()
	}
	eventually(t, "a certificate that cannot be read is logged", func() bool { return strings.Contains(log.String(), "reason=handshake") })
	if strings.Contains(log.String()+fmt.Sprint(told), "r-secret") {
		t.Errorf("a name is told: %s %q", log, told)
	}
}

// Other peers than those of TLS: what the log says of them, and that they get no answer.
func TestPeersThatDoNotSpeakAsWeDo(t *testing.T) {
	ours := certstest.New(t, "ours")
	for _, tt := range []struct {
		name, said, logged string
		cfg                *tls.Config
	}{
		{"plain HTTP", "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", "plain HTTP was sent to a port that speaks TLS", nil},
		{"another protocol", "\x00\x01\x02\x03\x04\x05\x06\x07\x08", "something else than TLS was sent", nil},
		{"only an old version", "", "unsupported versions", &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}},
		{"only another protocol within", "", "unsupported application protocols", &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}},
		{"a client that does not trust us", "", "bad certificate", &tls.Config{RootCAs: x509.NewCertPool()}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, log := open(t, ours, Config{})
			addr, _ := listen(t, s)
			if tt.cfg != nil {
				if _, err := dial(addr, tt.cfg); err == nil {
					t.Error("let in")
				}
			} else {
				c, err := net.Dial("tcp", addr)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(patient))
				if _, err := io.WriteString(c, tt.said); err != nil {
					t.Fatal(err)
				}
				if got, _ := io.ReadAll(c); len(got) > 7 {
					t.Errorf("answered %q, more than an alert", got)
				}
			}
			eventually(t, "it is counted", func() bool { return s.Failures().Stats()[auth.Handshake] == 1 })
			eventually(t, "and logged", func() bool { return strings.Contains(log.String(), tt.logged) })
			if t.Failed() {
				t.Log(log)
			}
		})
	}
	t.Run("a port that is tried", func(t *testing.T) {
		s, log := open(t, ours, Config{})
		addr, who := listen(t, s)
		for _, linger := range []int{-1, 0} { // 0: the end is a reset
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			_ = c.(*net.TCPConn).SetLinger(linger)
			_ = c.Close()
		}
		if c, err := dial(addr, ours.Shown()); err != nil {
			t.Fatal(err)
		} else {
			defer c.Close()
			<-who
		}
		if n := s.Failures().Stats()[auth.Handshake]; n != 0 {
			t.Errorf("counted: %s", log)
		}
	})
}

// timed is an end of a pipe that knows how far ahead the furthest deadline of a write was.
type timed struct {
	net.Conn
	ahead time.Duration
}

func (c *timed) SetWriteDeadline(t time.Time) error {
	c.ahead = max(c.ahead, time.Until(t))
	return c.Conn.SetWriteDeadline(t)
}

// A client that takes nothing holds back nobody who closes its connection.
func TestCloseWaitsForNobody(t *testing.T) {
	ours := certstest.New(t, "ours")
	s, _ := open(t, ours, Config{})
	here, there := net.Pipe()
	end := &timed{Conn: here}
	server := s.Wrap(end, true)
	client := tls.Client(there, &tls.Config{RootCAs: ours.Pool(), ServerName: "localhost", SessionTicketsDisabled: true})
	greeted := make(chan error, 1)
	go func() { greeted <- client.Handshake() }()
	if err := errors.Join(server.Handshake(), <-greeted); err != nil {
		t.Fatal(err)
	}
	_ = server.Close() // nobody reads the alert
	if end.ahead <= 0 || end.ahead > lingerFor {
		t.Errorf("the last alert has %v", end.ahead)
	}
}

// A peer that says much before it is let in is cut off: crypto/tls would keep all of it.
func TestHandshakesAreBounded(t *testing.T) {
	ca := certstest.New(t, "ours")
	hello := func(version uint16) []byte {
		here, there := net.Pipe()
		defer func() { _, _ = here.Close(), there.Close() }()
		go func() { _ = tls.Client(here, &tls.Config{InsecureSkipVerify: true, MaxVersion: version}).Handshake() }() //nolint:gosec // it is not finished
		said := make([]byte, 16<<10)
		n, err := there.Read(said)
		if err != nil {
			t.Fatal(err)
		}
		return said[:n]
	}
	// long is a message of so many bytes that has no end yet.
	long := func(kind byte, said, of int) (text []byte) {
		message := append([]byte{kind, byte(of >> 16), byte(of >> 8), byte(of)}, make([]byte, said)...)
		for part := range slices.Chunk(message, 16<<10) {
			text = append(append(text, 22, 3, 3, byte(len(part)>>8), byte(len(part))), part...)
		}
		return text
	}
	for _, tt := range []struct {
		name string
		said []byte
	}{
		{"a long greeting", long(1, 60_000, 65_536)},
		{"a certificate nobody has asked for", append(hello(tls.VersionTLS12), long(11, 200_000, 262_144)...)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, log := open(t, ca, Config{})
			addr, _ := listen(t, s)
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			_, _ = c.Write(tt.said) // it may be cut off
			_ = c.(*net.TCPConn).CloseWrite()
			eventually(t, "it is logged", func() bool { return strings.Contains(log.String(), "reason=handshake") })
			if !strings.Contains(log.String(), "longer than 32 KiB") || s.Failures().Stats()[auth.Handshake] != 1 {
				t.Error(log)
			}
		})
	}
}

// serial returns the serial number of the certificate that a new connection has.
func serial(t *testing.T, addr string, cfg *tls.Config) string {
	t.Helper()
	c, err := tls.Dial("tcp", addr, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := ask(c); err != nil { // a session to go on with comes behind the handshake
		t.Fatal(err)
	}
	return c.ConnectionState().PeerCertificates[0].SerialNumber.Text(16)
}

// Whatever is done to the files, a new connection has a certificate that works: the new one
// when both files have come, the old one until then. What cannot be used is logged once, and
// is in the notes until it can.
func TestFilesThatChange(t *testing.T) {
	ours := certstest.New(t, "ours")
	s, log := open(t, ours, Config{})
	addr, _ := listen(t, s)
	write := func(name string, text []byte) { ours.File(name, text) }
	next := func() certstest.Pair { return ours.Server() }
	second, third := next(), next()
	client := ours.Shown()
	client.ClientSessionCache = tls.NewLRUClientSessionCache(8)
	first := serial(t, addr, client)
	now := time.Now()
	for i, step := range []struct {
		name  string
		do    func()
		want  string
		notes string
		looks int
	}{
		{"nothing", func() {}, first, "", 1},
		{"the certificate alone, for a while", func() { write("server.pem", second.Text) }, first, "", 3},
		{"then its key", func() { write("server.key", second.Key) }, second.Cert.SerialNumber.Text(16), "", 2},
		{"the certificate alone, for too long", func() { write("server.pem", third.Text) }, second.Cert.SerialNumber.Text(16), "not the key of the first certificate", 20},
		{"an empty key", func() { write("server.key", nil) }, second.Cert.SerialNumber.Text(16), "no private key in PEM form", 20},
		{"no key", func() { _ = os.Remove(s.cfg.Key) }, second.Cert.SerialNumber.Text(16), "no such file", 20},
		{"its key", func() { write("server.key", third.Key) }, third.Cert.SerialNumber.Text(16), "", 2},
	} {
		step.do()
		for range step.looks {
			now = now.Add(500 * time.Millisecond)
			s.look(now)
		}
		if got := serial(t, addr, client); got != step.want {
			t.Errorf("%s: a new connection has certificate %s, want %s", step.name, got, step.want)
		}
		notes := s.Notes()
		if step.notes == "" && len(notes) > 0 || step.notes != "" && (len(notes) != 1 || !strings.Contains(notes[0], step.notes)) {
			t.Errorf("%s: the notes are %q, want %q", step.name, notes, step.notes)
		}
		if n, want := strings.Count(log.String(), "stays as it was"), max(0, min(3, i-2)); n != want {
			t.Errorf("%s: %d errors are logged, want %d", step.name, n, want)
		}
	}
	if strings.Contains(log.String(), "PRIVATE") {
		t.Error("a key is in the log")
	}
}

// A file that cannot be used holds up no other, and is told by itself until it can.
func TestEachFileIsFollowedByItself(t *testing.T) {
	ours, others := certstest.New(t, "ours"), certstest.New(t, "others")
	ana, ben, eve := ours.Client("ana"), ours.Client("ben"), others.Client("eve")
	later := time.Now().Add(time.Hour)
	list := func(a *certstest.Authority, out ...certstest.Pair) []byte {
		text, err := os.ReadFile(a.File("list", a.List(later, out...)))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	s, log := open(t, ours, Config{ClientCA: ours.File("clients.pem", ours.Text()), ClientCRL: ours.File("crl.pem", list(ours, ana))})
	addr, _ := listen(t, s)
	shown := serial(t, addr, ours.Shown(ben))
	const authorities, lists, certificate = "the authorities of client certificates stay", "the lists of revoked certificates stay", "the certificate of TLS stays"
	now := time.Now()
	for _, step := range []struct {
		name  string
		files map[string][]byte
		renew bool // the server's certificate, too
		in    []certstest.Pair
		out   []certstest.Pair
		notes []string
	}{
		{"a broken list, and a new certificate", map[string][]byte{"crl.pem": []byte("broken")}, true, []certstest.Pair{ben}, []certstest.Pair{ana, eve}, []string{lists}},
		{"beside it, another authority", map[string][]byte{"clients.pem": append(ours.Text(), others.Text()...)}, false, []certstest.Pair{ben, eve}, []certstest.Pair{ana}, []string{lists}},
		{"a list", map[string][]byte{"crl.pem": append(list(ours, ben), list(others)...)}, false, []certstest.Pair{ana, eve}, []certstest.Pair{ben}, nil},
		{"no authorities, and another list", map[string][]byte{"clients.pem": nil, "crl.pem": append(list(ours, ana), list(others)...)}, true, []certstest.Pair{ben, eve}, []certstest.Pair{ana}, []string{authorities}},
		{"one authority, and the list of another", map[string][]byte{"clients.pem": ours.Text()}, false, []certstest.Pair{ben}, []certstest.Pair{ana, eve}, []string{lists}},
		{"its list, and half a certificate", map[string][]byte{"crl.pem": list(ours), "server.pem": []byte("-----BEGIN")}, false, []certstest.Pair{ana, ben}, []certstest.Pair{eve}, []string{certificate}},
		{"the certificate", nil, true, []certstest.Pair{ana, ben}, []certstest.Pair{eve}, nil},
	} {
		for name, text := range step.files {
			ours.File(name, text)
		}
		if step.renew {
			next := ours.Server()
			ours.File("server.pem", next.Text)
			ours.File("server.key", next.Key)
			shown = next.Cert.SerialNumber.Text(16)
		}
		for range 20 {
			now = now.Add(500 * time.Millisecond)
			s.look(now)
		}
		for _, p := range step.in {
			if got := serial(t, addr, ours.Shown(p)); got != shown {
				t.Errorf("%s: %s is shown certificate %s, want %s", step.name, p.Cert.Subject, got, shown)
			}
		}
		for _, p := range step.out {
			if c, err := dial(addr, ours.Shown(p)); err == nil {
				t.Errorf("%s: %s is let in", step.name, p.Cert.Subject)
				_ = c.Close()
			}
		}
		notes := s.Notes()
		if len(notes) != len(step.notes) || len(notes) > 0 && !strings.HasPrefix(notes[0], step.notes[0]) {
			t.Errorf("%s: the notes are %q, want %q", step.name, notes, step.notes)
		}
	}
	for text, want := range map[string]int{authorities: 1, lists: 2, certificate: 1} {
		if n := strings.Count(log.String(), text); n != want {
			t.Errorf("%q is logged %d times, want %d", text, n, want)
		}
	}
}

// What is wrong with files at the start is said by flag, file and remedy, and never with a key.
func TestFilesOfNoUse(t *testing.T) {
	ours, others := certstest.New(t, "ours"), certstest.New(t, "others")
	server, other := ours.Server(), ours.Server()
	good := func(name string, text ...[]byte) string { return ours.File(name, text...) }
	cert, key := good("cert", server.Text), good("key", server.Key)
	locked := pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("secret")})
	later := time.Now().Add(time.Hour)
	delta := good("delta", others.List(later))
	for _, tt := range []struct {
		name string
		cfg  Config
		want []string
	}{
		{"no certificate", Config{Cert: cert + "x", Key: key}, []string{"--tls-cert", cert + "x", "no such file"}},
		{"a key in place of the certificate", Config{Cert: key, Key: key}, []string{"--tls-cert", "no certificate in PEM form in " + key}},
		{"a certificate in place of the key", Config{Cert: cert, Key: cert}, []string{"--tls-key", "no private key in PEM form in " + cert}},
		{"the key of another", Config{Cert: cert, Key: good("other", other.Key)}, []string{"--tls-key", "other", cert, "not the key of the first certificate"}},
		{"a key with a password", Config{Cert: cert, Key: good("locked", locked)}, []string{"--tls-key", "locked is encrypted", "openssl pkey"}},
		{"a broken key", Config{Cert: cert, Key: good("broken", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("secret")}))}, []string{"--tls-key", "broken"}},
		{"no authority", Config{Cert: cert, Key: key, ClientCA: key}, []string{"--tls-client-ca: no certificate in PEM form in " + key}},
		{"a broken authority", Config{Cert: cert, Key: key, ClientCA: good("ca", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}))}, []string{"--tls-client-ca", "certificate 1"}},
		{"no list", Config{Cert: cert, Key: key, ClientCA: cert, ClientCRL: cert}, []string{"--tls-client-crl", "no revocation list"}},
		{"a list of another authority", Config{Cert: cert, Key: key, ClientCA: good("ours", ours.Text()), ClientCRL: delta}, []string{"--tls-client-crl", "list 1", "CN=others", "add the certificate of the issuer"}},
		{"a list by another of the same name", Config{Cert: cert, Key: key, ClientCA: good("namesake", certstest.New(t, "others").Text()), ClientCRL: delta}, []string{"--tls-client-crl", "CN=others", "verification"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Open(tt.cfg)
			if err == nil {
				t.Fatal("opened")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v: want %q in it", err, want)
				}
			}
			if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "\n") {
				t.Errorf("%q", err)
			}
		})
	}
	for _, tt := range []struct {
		cfg  Config
		flag string
	}{
		{Config{Cert: "x"}, "tls-cert"}, {Config{Key: "x"}, "tls-key"}, {Config{ClientCA: "x"}, "tls-client-ca"},
		{Config{Cert: "x", Key: "x", ClientCRL: "x"}, "tls-client-crl"}, {Config{}, ""},
		{Config{Cert: "x", Key: "x", ClientCA: "x", ClientCRL: "x"}, ""},
	} {
		if flag, err := tt.cfg.Check(); flag != tt.flag || (err == nil) != (flag == "") {
			t.Errorf("%+v: %s %v", tt.cfg, flag, err)
		}
	}
}

// An operator learns in time that a certificate expires, once a day; that a list was to be
// followed by another, while its revocations hold; and that others may read the key.
func TestOperatorsAreTold(t *testing.T) {
	ours := certstest.New(t, "ours")
	ana := ours.Client("ana")
	log := new(journal)
	server := ours.Issue(x509.Certificate{DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotAfter: time.Now().Add(20 * 24 * time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	key := ours.File("server.key", server.Key)
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	s, err := Open(Config{
		Cert: ours.File("server.pem", server.Text), Key: key, Logger: log.logger(),
		ClientCA: ours.File("clients.pem", ours.Text()), ClientCRL: ours.File("crl.pem", ours.List(time.Now().Add(-time.Hour), ana)),
	})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "others may read or write the key of TLS") {
		t.Errorf("nobody is told that others may read the key: %s", log)
	}
	if notes := s.Notes(); len(notes) != 1 || !strings.Contains(notes[0], "--tls-client-crl: the list of \"CN=ours\" was to be followed") {
		t.Errorf("notes %q", notes)
	}
	if !s.Expires().Equal(server.Cert.NotAfter) {
		t.Errorf("expires %v", s.Expires())
	}
	addr, _ := listen(t, s)
	if _, err := dial(addr, ours.Shown(ana)); err == nil {
		t.Error("an old list does not hold")
	}
	if c, err := dial(addr, ours.Shown(ours.Client("ben"))); err != nil {
		t.Errorf("an old list keeps all out: %v", err)
	} else {
		_ = c.Close()
	}
	began := time.Now()
	for day := range 30 {
		for hour := range 24 {
			s.look(began.Add(time.Duration(24*day+hour) * time.Hour))
		}
	}
	if n := strings.Count(log.String(), "--tls-cert: the certificate expires on "+server.Cert.NotAfter.UTC().Format(time.DateOnly)); n < 13 || n > 15 {
		t.Errorf("told %d times of what expires in 14 days", n)
	}
	if n := strings.Count(log.String(), "--tls-cert: the certificate has expired"); n < 9 || n > 11 {
		t.Errorf("told %d times in ten days that it has expired", n)
	}
}

// No certificate of a client makes trouble, however it is made.
func FuzzClientCertificate(f *testing.F) {
	ours := certstest.New(f, "ours")
	for _, p := range []certstest.Pair{ours.Client("ana"), ours.Server(), ours.Issue(x509.Certificate{URIs: uri("spiffe://a/b"), DNSNames: []string{"x"}})} {
		f.Add(p.Cert.Raw)
	}
	path := ours.File("clients.pem", ours.Text())
	text, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	r, err := (&rules{riders: true}).by(&file{path: path, text: text})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return
		}
		rider, refusal := r.check([]*x509.Certificate{cert}, time.Now())
		if (rider == "") == (refusal == nil) {
			t.Errorf("rider %q, refusal %v", rider, refusal)
		}
		if refusal != nil && (!slices.Contains(auth.Causes, refusal.Cause) || len(refusal.Detail) > 2000) {
			t.Errorf("refused by %+v", refusal)
		}
	})
}
