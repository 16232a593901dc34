// Package conns accepts connections, bounds how many are open, and shares the places
// among clients.
//
// When no place is left, a new connection takes the place of a connection that waits for
// its client, from the client that has most. If all have requests in work, the new
// connection is told to come back. Bytes are passed on only as far as package framing
// lets them. With TLS a connection has its place from the first byte of its handshake on,
// during which it waits for its client, and framing sees the bytes within.
//
// The package does not bound how long a connection may wait, and does not limit what
// its requests cost.
package conns

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"

	"pingline/ingest/server/certs"
)

// Config sets up a Listener. Most, Ours and RetryAfter are required.
type Config struct {
	Most       int                   // most open connections
	Ours       func(netip.Addr) bool // reports whether an address is of a trusted proxy
	RetryAfter func() string         // seconds after which a client that found no place may come back

	// TLS, if set, has connections speak TLS. The handshake is that of Secured.
	TLS *certs.Certificates

	// Unframed says that connections speak something else than HTTP: framing sees none of
	// their bytes, and a connection without a place is closed without a word.
	Unframed bool

	// Held, if set, is called with the client whose connections are closed to make a
	// place, unless it is trusted. It must be quick and call nothing of this package.
	Held func(client netip.Addr)
}

// Listener bounds the open connections. A connection without a place is told to come
// back, at the cost of a small write, and closed without being read. It is safe for
// concurrent use.
type Listener struct {
	net.Listener
	retryAfter func() string
	conns      connections
	refused    atomic.Uint64
	telling    chan struct{} // held while a refusal is being delivered
}

// New returns a Listener whose connections come from ln.
func New(ln net.Listener, cfg Config) *Listener {
	return &Listener{
		Listener:   ln,
		retryAfter: cfg.RetryAfter,
		conns: connections{
			most: cfg.Most, ours: cfg.Ours, tls: cfg.TLS, unframed: cfg.Unframed, held: cfg.Held, peers: make(map[peerKey]*peer),
		},
		telling: make(chan struct{}, 64),
	}
}

// Stats are counts of connections.
type Stats struct {
	Open      int64  // open now
	Refused   uint64 // refused for lack of a place
	Displaced uint64 // closed while they waited for their client, to make a place for another
}

// Stats returns the counts so far.
func (l *Listener) Stats() Stats {
	open, displaced := l.conns.count()
	return Stats{Open: open, Refused: l.refused.Load(), Displaced: displaced}
}

// Waiting returns how many connections wait for their client, and how many of them are
// within a request. It looks at each connection, so it is for drills and tests only.
func (l *Listener) Waiting() (all, within int) { return l.conns.waiting() }

// Accept returns the next connection that has a place. It waits while the system lacks a
// resource such as open files: at an error Fiber would stop for good.
func (l *Listener) Accept() (net.Conn, error) {
	for wait := 5 * time.Millisecond; ; {
		c, err := l.Listener.Accept()
		switch {
		case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.ENOBUFS), errors.Is(err, syscall.ENOMEM):
			time.Sleep(wait)
			wait = min(2*wait, time.Second)
			continue
		case err != nil:
			return nil, err
		}
		if own := l.conns.add(c); own != nil {
			return own.layered(), nil
		}
		l.refuse(c)
	}
}

// refuse tells c to come back. When many refusals are being delivered it just closes c.
func (l *Listener) refuse(c net.Conn) {
	l.refused.Add(1)
	if l.conns.unframed {
		_ = c.Close()
		return
	}
	select {
	case l.telling <- struct{}{}:
	default:
		_ = c.Close()
		return
	}
	go func() {
		defer func() { <-l.telling }()
		_ = c.SetDeadline(time.Now().Add(lingerFor))
		if l.conns.tls != nil {
			if _, err := c.Write(tooMany); err == nil {
				linger(c)
			}
			_ = c.Close()
			return
		}
		const text = `{"error":"too many connections: not stored, send again"}`
		if _, err := fmt.Fprintf(c, "HTTP/1.1 503 Service Unavailable\r\nDate: %s\r\nConnection: close\r\nRetry-After: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
			time.Now().UTC().Format(http.TimeFormat), l.retryAfter(), len(text), text); err == nil {
			linger(c)
		}
		_ = c.Close()
	}()
}

// tooMany is the alert internal_error of TLS 1.2 (RFC 5246, 7.2; RFC 8446, 6.2), which may
// come before a handshake: an answer in HTTP would need one.
var tooMany = []byte{21, 3, 3, 0, 2, 2, 80}

const (
	lingerFor   = time.Second
	lingerBytes = 8 << 20
)

// linger closes c for writing, and throws away bytes that still come, until the deadline:
// a connection closed with bytes unread is reset, and a reset can overtake the answer.
func linger(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok && tcp.CloseWrite() == nil {
		_, _ = io.CopyN(io.Discard, tcp, lingerBytes)
	}
}
