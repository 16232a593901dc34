// Package leaving sends large answers to clients that take them no slower than a least
// rate, and tells when an answer has left, so that its memory counts until then.
package leaving

import (
	"io"
	"net"
	"sync"
	"time"

	"pingline/ingest/server/conns"
	"pingline/ingest/server/minrate"
)

// Slowest is the least rate by default. It allows for a phone that reads ten thousand
// points at the edge of its radio cell.
var Slowest = minrate.Rate{Grace: 10 * time.Second, PerSecond: 16 << 10, Limit: 5 * time.Minute}

// Whole is the most bytes of an answer that is copied into the connection's own buffer, and
// does not count any more.
const Whole = 4 << 10

// body is a body on its way to a client. Its memory is given back when the client has
// taken it, or the connection is gone.
type body struct {
	from io.Reader
	conn net.Conn
	pace minrate.Rate
	sent int
	once sync.Once
	done func()
}

// Body returns from as the body of an answer to the client of conn, which takes it at pace
// or faster. It calls done once, when the body has left or the connection is gone.
func Body(conn net.Conn, pace minrate.Rate, from io.Reader, done func()) io.ReadCloser {
	conns.LimitBuffer(conn)
	return &body{from: from, conn: conn, pace: pace, done: done}
}

// Read is called for each piece when the piece before has been written.
func (b *body) Read(p []byte) (int, error) {
	if err := b.conn.SetWriteDeadline(b.pace.Due(b.sent)); err != nil {
		return 0, err
	}
	n, err := b.from.Read(p)
	b.sent += n
	return n, err
}

// Close is called even if not all was written.
func (b *body) Close() error {
	b.once.Do(b.done)
	return nil
}
