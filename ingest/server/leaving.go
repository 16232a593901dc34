package server

import (
	"io"
	"net"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"

	"pingline/ingest/server/conns"
)

// slowestReader is slow enough for a phone that reads ten thousand points at the edge
// of its cell.
var slowestReader = minRate{grace: 10 * time.Second, rate: 16 << 10, limit: 5 * time.Minute}

const (
	// An answer up to here is copied into the connection's own buffer: nothing of
	// it counts any more.
	wholeAnswer = 4 << 10

	// leavingBuffer is what the system may keep of a large answer for a client that
	// does not take it, bytes.
	leavingBuffer = 64 << 10
)

// leaving is a body on its way to a client. What it takes is given back when the
// client has taken it, or the connection is gone.
type leaving struct {
	from io.Reader
	conn net.Conn
	pace minRate
	sent int
	once sync.Once
	done func()
}

// leave sends from as the body of an answer, of size bytes or -1 for not known, to a
// client that takes it at pace or faster, and calls done when it has left.
func leave(c *fiber.Ctx, pace minRate, from io.Reader, size int, done func()) {
	l := &leaving{from: from, conn: c.Context().Conn(), pace: pace, done: done}
	if own, ok := l.conn.(*conns.Conn); ok {
		own.LimitBuffer(leavingBuffer)
	}
	c.Response().SetBodyStream(l, size)
}

// Read is called for each piece when the one before has been written.
func (l *leaving) Read(p []byte) (int, error) {
	if err := l.conn.SetWriteDeadline(l.pace.due(l.sent)); err != nil {
		return 0, err
	}
	n, err := l.from.Read(p)
	l.sent += n
	return n, err
}

// Close is called whether or not all was written.
func (l *leaving) Close() error {
	l.once.Do(l.done)
	return nil
}
