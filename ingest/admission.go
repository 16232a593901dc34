package ingest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"
)

// budget counts the bytes that requests in work take, and refuses what is too
// much. The reserve is for those in need. It is safe for concurrent use.
type budget struct {
	most, reserve int64
	used          atomic.Int64
}

// take reports whether n more bytes may be used; who took them gives them back.
func (b *budget) take(n int64, critical bool) bool {
	most := b.most
	if critical {
		most += b.reserve
	}
	if b.used.Add(n) > most {
		b.used.Add(-n)
		return false
	}
	return true
}

func (b *budget) give(n int64) { b.used.Add(-n) }

const (
	// A body of known length has come this far when Fiber hands over the request.
	prefetched = 8 << 10

	requestBytes = 16 << 10 // what a request takes besides its body: buffers, stack, the first 8 KiB
	pingBytes    = 128      // what a decoded ping takes on its way through the writer

	// A body is taken at its word up to here; beyond, memory follows what has come.
	trusted = 64 << 10
)

// Those in need are let past the crowd, as long as they are not one.
const (
	needHeader = "Pingline-Priority"
	needValue  = "critical"

	needMost  = 64 << 10 // bytes of a body
	needBytes = 16 << 20 // of the budget, beyond what the crowd may use

	needRate, needBurst             = 100, 200 // requests/s of all
	clientNeedRate, clientNeedBurst = 10, 50   // requests/s of a client
)

// admit decides by what is known before the body comes.
func (s *Server) admit(c *fiber.Ctx, x *exchange) error {
	now := time.Now()
	x.critical = false
	inNeed := c.Get(needHeader) == needValue
	if inNeed || s.clients != nil {
		client := s.client(c)
		size := c.Request().Header.ContentLength()
		x.payer = s.clients.addrKey(client)
		x.critical = inNeed && size >= 0 && size <= needMost &&
			s.clientNeeds.take(s.clientNeeds.addrKey(client), 1, now) == 0 && s.needs.take(0, 1, now) == 0
	}
	if x.critical {
		return nil
	}
	if s.over.Tight() {
		return fmt.Errorf("overloaded, memory is short: %w", ErrUnavailable)
	}
	if wait := s.clients.take(x.payer, 0, now); wait > 0 {
		return &rateError{"this client is", wait}
	}
	return nil
}

// pastAfter is how old every ping of a request has to be to be one that can wait.
const pastAfter = 5 * time.Minute

// spare refuses, by the level, what can or has to wait. A request with an event
// in it never can.
func (s *Server) spare(x *exchange, now time.Time) error {
	level := s.over.Level()
	switch {
	case level < 2 || len(x.decoded.Pings) == 0 || x.events():
		return nil
	case level == maxLevel:
		return errOnlyEvents
	case x.past(now, pastAfter):
		return errLater
	}
	return nil
}

// rate charges who sends, and takes out the pings of riders over their rate. Of
// what counts, nothing is charged if the request is refused.
func (s *Server) rate(x *exchange, now time.Time) error {
	x.shed, x.runs = x.shed[:0], x.runs[:0]
	if s.riders != nil && !x.critical {
		if wait := x.rate(s.riders, now); wait > 0 {
			return &rateError{"every rider in the request is", wait}
		}
	}
	s.clients.pay(x.payer, x.decoded.Received)
	return nil
}

// charge takes n bytes more of the budget for x.
func (s *Server) charge(x *exchange, n int64) error {
	if !s.budget.take(n, x.critical) {
		return fmt.Errorf("more than %d bytes of requests are in progress: %w", s.budget.most, ErrUnavailable)
	}
	x.held += n
	return nil
}

// receive reads the body into x: no more than MaxBody, charged before there is
// memory for it, and no slower than a phone with a bad connection sends.
func (s *Server) receive(c *fiber.Ctx, x *exchange) error {
	x.body = x.body[:0]
	size, most := c.Request().Header.ContentLength(), s.cfg.Limits.MaxBody // -1: chunked
	if size > most {
		return &bodyError{ErrTooLarge, fmt.Sprintf("body is larger than %d bytes: send it in parts", most)}
	}
	if err := s.charge(x, requestBytes); err != nil {
		return err
	}
	stream := c.Context().RequestBodyStream()
	if stream == nil || size == 0 {
		return nil
	}
	if size > 0 {
		most = size
	}
	room, pace := 0, s.cfg.pace
	pace.conn = c.Context().Conn()
	for {
		if len(x.body) == room {
			next := min(max(2*room, trusted), most+1) // one more shows the end, or that there is too much
			if err := s.charge(x, int64(next-room)); err != nil {
				return err
			}
			room = next
			x.body = grow(x.body, room)
		}
		if size < 0 || len(x.body) >= prefetched { // else it is there already
			if err := pace.next(len(x.body)); err != nil {
				return err
			}
		}
		n, err := stream.Read(x.body[len(x.body):room])
		x.body = x.body[:len(x.body)+n]
		switch {
		case len(x.body) == size, err == io.EOF && size < 0:
			return c.Request().CloseBodyStream() // all was read: the connection can go on
		case len(x.body) > most:
			return &bodyError{ErrTooLarge, fmt.Sprintf("body is larger than %d bytes: send it in parts", most)}
		case errors.Is(err, os.ErrDeadlineExceeded):
			return fiber.NewError(fiber.StatusRequestTimeout, fmt.Sprintf("body came too slowly: at least %d bytes/s, or in parts", pace.rate))
		case err != nil:
			return &bodyError{errMalformed, fmt.Sprintf("body broke off: %v", err)}
		}
	}
}

// pace cuts off a body that comes too slowly: its next byte is due when those
// before it may have taken as long as they have.
type pace struct {
	grace time.Duration // for the first byte
	rate  int           // bytes/s that follow
	limit time.Duration // for all of a body

	conn  net.Conn
	began time.Time
}

// phonePace is slow enough for a phone at the edge of its cell.
var phonePace = pace{grace: 5 * time.Second, rate: 4 << 10, limit: time.Minute}

// next sets the deadline of the byte after the first n.
func (p *pace) next(n int) error {
	if p.began.IsZero() {
		p.began = time.Now()
	}
	return p.conn.SetReadDeadline(p.began.Add(min(p.grace+time.Duration(n)*time.Second/time.Duration(p.rate), p.limit)))
}
