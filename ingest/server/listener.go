package server

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"
)

// listener lets only so many connections in. One too many is told so, at the
// cost of a small write, and closed: nothing of it is read.
type listener struct {
	net.Listener
	conns   connections
	refused atomic.Uint64
	telling chan struct{} // held while a refusal is being delivered
}

func newListener(ln net.Listener, most int, ours func(netip.Addr) bool) *listener {
	return &listener{
		Listener: ln,
		conns:    connections{most: most, ours: ours, peers: make(map[netip.Addr]*peer)},
		telling:  make(chan struct{}, 64),
	}
}

// Accept returns the next connection there is room for. That the system lacks
// something at the moment, such as open files, is waited out: Fiber would stop
// for good.
func (l *listener) Accept() (net.Conn, error) {
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
			return own, nil
		}
		l.refuse(c)
	}
}

// refuse tells c to come back. When many are being told already it just closes.
func (l *listener) refuse(c net.Conn) {
	l.refused.Add(1)
	select {
	case l.telling <- struct{}{}:
	default:
		_ = c.Close()
		return
	}
	go func() {
		defer func() { <-l.telling }()
		const text = `{"error":"too many connections: not stored, send again"}`
		_ = c.SetDeadline(time.Now().Add(lingerFor))
		if _, err := fmt.Fprintf(c, "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
			retryAfter(), len(text), text); err == nil {
			linger(c)
		}
		_ = c.Close()
	}()
}

const (
	lingerFor   = time.Second
	lingerBytes = 8 << 20
)

// linger says that nothing more will be said and throws away what still comes,
// until the deadline: a connection closed with bytes unread is reset, and a
// reset can overtake the answer.
func linger(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok && tcp.CloseWrite() == nil {
		_, _ = io.CopyN(io.Discard, tcp, lingerBytes)
	}
}
