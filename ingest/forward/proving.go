package forward

import (
	"crypto/tls"
	"net"
	"sync/atomic"
)

// proving is a listener of TLS that counts the handshakes which fail.
type proving struct {
	net.Listener
	refused *atomic.Uint64
}

func (p *proving) Accept() (net.Conn, error) {
	c, err := p.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &proved{c.(*tls.Conn), p.refused}, nil
}

// proved is a connection of a proving listener.
type proved struct {
	*tls.Conn
	refused *atomic.Uint64
}

// Handshake is called by the server before all else.
func (c *proved) Handshake() error {
	err := c.Conn.Handshake()
	if err != nil {
		c.refused.Add(1)
	}
	return err
}
