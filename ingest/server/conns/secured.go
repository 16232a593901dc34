package conns

import (
	"crypto/tls"
	"net"
	"time"

	"pingline/ingest/auth"
	"pingline/ingest/server/certs"
)

// Secured is a Conn that speaks TLS. It is a type of its own because fasthttp takes every
// connection with these methods for one of TLS, and runs its handshake before the first
// request, by the deadlines of a request.
type Secured struct {
	*Conn
	tls *certs.SecureConn
}

// layered returns c as the type that fasthttp takes it for.
func (c *Conn) layered() net.Conn {
	if secure, ok := c.Conn.(*certs.SecureConn); ok {
		return &Secured{c, secure}
	}
	return c
}

// Handshake runs the handshake. Until it has ended, c waits for its client.
func (c *Secured) Handshake() error { return c.tls.Handshake() }

// ConnectionState returns the state of TLS.
func (c *Secured) ConnectionState() tls.ConnectionState { return c.tls.ConnectionState() }

// Identity returns who the client is by its certificate, or nil.
func (c *Secured) Identity() *auth.Identity { return c.tls.Identity() }

// SetReadDeadline returns nil even if c was closed to make a place: before the handshake
// fasthttp would panic at an error, and the next read returns the same error.
func (c *Secured) SetReadDeadline(t time.Time) error {
	_ = c.Conn.SetReadDeadline(t)
	return nil
}

// of returns the Conn of a connection of a Listener, or nil.
func of(c net.Conn) *Conn {
	switch c := c.(type) {
	case *Conn:
		return c
	case *Secured:
		return c.Conn
	}
	return nil
}
