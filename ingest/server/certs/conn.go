package certs

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"pingline/ingest/auth"
)

// SecureConn is the server's end of a connection that speaks TLS. As with tls.Conn, a Read
// and a Write may go on at the same time.
type SecureConn struct {
	*tls.Conn
	raw     net.Conn
	below   *below
	all     *Certificates
	clients bool
	once    sync.Once
	err     error          // of the handshake
	failed  atomic.Bool    // the handshake did
	id      *auth.Identity // set by the handshake
	closed  bool           // guarded by all.mu
}

// Wrap returns the server's end of a connection that speaks TLS. With clients it is asked for
// a certificate, if there are authorities of such.
func (s *Certificates) Wrap(c net.Conn, clients bool) *SecureConn {
	g := s.now.Load()
	cfg := g.alone
	if clients {
		cfg = g.asking
	}
	b := &below{Conn: c, left: mostUnheard}
	return &SecureConn{Conn: tls.Server(b, cfg), raw: c, below: b, all: s, clients: clients && g.clients != nil}
}

// Handshake runs the handshake, unless it was run before, and tells why the connection is not
// let in. The deadlines of the connection hold.
func (c *SecureConn) Handshake() error {
	c.once.Do(func() {
		if c.err = c.Conn.Handshake(); c.err == nil && c.clients {
			c.err = c.enter(time.Now())
		}
		if c.err != nil {
			c.failed.Store(true)
			c.all.tell(c)
		}
	})
	return c.err
}

// enter notes who the client is. The files may have changed since the connection was
// accepted, and so whether the certificate is let in.
func (c *SecureConn) enter(now time.Time) error {
	chain := c.ConnectionState().PeerCertificates
	if len(chain) == 0 {
		return nil
	}
	c.all.mu.Lock()
	if !c.closed {
		c.all.held[c] = chain
	}
	c.all.mu.Unlock()
	g := c.all.now.Load()
	if g.clients == nil {
		return nil
	}
	rider, refusal := g.clients.check(chain, now)
	if refusal != nil {
		return refusal
	}
	if rider == "" {
		return nil
	}
	riders, err := auth.ExactRiders(rider)
	if err != nil {
		return err
	}
	c.id = auth.NewIdentity(rider, auth.Write|auth.Read, riders, chain[0].NotAfter, nil)
	return nil
}

// Identity returns who the client is by its certificate, or nil if that is not known. It is
// called behind Handshake.
func (c *SecureConn) Identity() *auth.Identity { return c.id }

// Read runs the handshake first.
func (c *SecureConn) Read(p []byte) (int, error) {
	if err := c.Handshake(); err != nil {
		return 0, err
	}
	c.below.left = mostUnheard
	return c.Conn.Read(p)
}

// below is the connection below TLS.
type below struct {
	net.Conn
	leaving atomic.Bool
	left    int // bytes that may be read until some are passed on; used by the reader alone
}

// mostUnheard is the most bytes that are read while none of them is passed on: a handshake,
// or a record and what TLS says between records. It is enough for long chains of certificates.
// Without it crypto/tls keeps up to 256 KiB of a message until all of it has come, whoever
// sends it.
const mostUnheard = 32 << 10

var errLong = fmt.Errorf("the handshake is longer than %d KiB", mostUnheard>>10)

func (b *below) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, errLong
	}
	n, err := b.Conn.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// SetWriteDeadline keeps the deadline short when the connection is being closed: crypto/tls
// gives the last alert five seconds, and when the server stops, connections of clients that
// take nothing are closed one after the other.
func (b *below) SetWriteDeadline(t time.Time) error {
	if b.leaving.Load() {
		t = time.Now().Add(leaveFor)
	}
	return b.Conn.SetWriteDeadline(t)
}

const (
	leaveFor    = 5 * time.Millisecond
	lingerFor   = time.Second
	lingerBytes = 1 << 20
)

// Close closes the connection. A peer that is refused may have sent its request behind the
// handshake already: a connection closed with bytes unread is reset, and a reset can overtake
// the alert that tells of the refusal.
func (c *SecureConn) Close() error {
	if c.clients {
		c.all.mu.Lock()
		c.closed = true
		delete(c.all.held, c)
		c.all.mu.Unlock()
	}
	if tcp, ok := c.raw.(*net.TCPConn); ok && c.failed.Load() {
		_ = tcp.SetDeadline(time.Now().Add(lingerFor))
		if tcp.CloseWrite() == nil {
			_, _ = io.CopyN(io.Discard, tcp, lingerBytes)
		}
	}
	c.below.leaving.Store(true)
	return c.Conn.Close()
}

// unreadable is in the error of crypto/tls of a certificate that is no X.509, or a wrong one.
const unreadable = "failed to parse client certificate"

// tell tells why the handshake of c has failed, unless the peer left without a word, as checks
// of balancers do, or the connection was closed here.
func (s *Certificates) tell(c *SecureConn) {
	now, from := time.Now(), hostOf(c.raw)
	if refusal, ok := errors.AsType[*auth.Denied](c.err); ok {
		s.failures.Tell(refusal, from, now)
		return
	}
	cause, why := auth.Handshake, c.err.Error()
	header, alien := errors.AsType[tls.RecordHeaderError](c.err)
	switch {
	case c.err == io.EOF, errors.Is(c.err, syscall.ECONNRESET), errors.Is(c.err, net.ErrClosed):
		return
	case alien && isMethod(header.RecordHeader[:]):
		why = "plain HTTP was sent to a port that speaks TLS: the client has to use https://"
	case alien:
		why = "something else than TLS was sent"
	case errors.Is(c.err, os.ErrDeadlineExceeded):
		why = "the handshake took too long"
	case strings.Contains(why, "didn't provide a certificate"): // the error has no type
		cause, why = auth.CertMissing, "the client has sent no certificate"
	case s.cfg.Nameless && strings.Contains(why, unreadable): // why may quote a name
		why = unreadable
	}
	s.failures.Tell(&auth.Denied{Cause: cause, Text: "the handshake failed", Detail: fmt.Sprintf("%.300s", why)}, from, now)
}

// isMethod reports whether bytes begin as a request of HTTP does.
func isMethod(b []byte) bool {
	for _, c := range b[:3] {
		if c < 'A' || c > 'Z' {
			return false
		}
	}
	return true
}

// hostOf returns the IP address of the other end, without port and zone.
func hostOf(c net.Conn) (addr netip.Addr) {
	if tcp, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		addr, _ = netip.AddrFromSlice(tcp.IP)
	}
	return addr.Unmap()
}
