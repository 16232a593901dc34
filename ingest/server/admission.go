package server

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/gofiber/fiber/v2"

	"pingline/ingest"
	"pingline/ingest/phone"
	"pingline/ingest/server/inflate"
	"pingline/ingest/server/minrate"
	"pingline/ingest/server/refusal"
	"pingline/ingest/server/share"
)

const (
	// Fiber hands over a request with a body of known length when so many bytes of the
	// body have come, or all of it.
	prefetched = 8 << 10

	requestBytes = 16 << 10 // bytes of a request besides its own memory: buffers, stack, the first 8 KiB
	pingBytes    = 256      // most bytes of a ping while it is decoded
	judgedBytes  = 64       // further bytes of a ping until it is judged
	verdictBytes = 14       // most bytes of a verdict in a reply

	// The memory for a body is twice the bytes that have come, and at least firstBytes.
	firstBytes = 16 << 10
)

// Requests in need are let past the crowd, as long as they are few. A request is in
// need if it says so, is small and has an event in it. A request that only says so is
// ordinary, and its client pays for it as for lieCost requests in need.
const (
	needHeader = "Pingline-Priority"
	needValue  = "critical"

	needMost  = 64 << 10 // bytes of a body, as sent and inflated
	needPings = 100      // pings of a body
	needBytes = 16 << 20 // bytes of a budget for requests in need only

	needRate, needBurst             = 100, 200 // requests/s in need of all clients together
	clientNeedRate, clientNeedBurst = 10, 50   // requests/s in need of a client
	lieCost                         = 10       // requests that a client pays for a request that was not in need
)

// admit decides about a request before its body comes.
func (s *Server) admit(c *fiber.Ctx, x *request) error {
	now := time.Now()
	size := c.Request().Header.ContentLength()
	x.critical = c.Get(needHeader) == needValue && size >= 0 && size <= needMost &&
		s.clientNeeds.Take(x.from.Key, 1, now) == 0 && s.needs.Take(0, 1, now) == 0
	if x.critical {
		x.claim = s.reserve.Claim(x.from.Key, x.from.Ours)
		return nil
	}
	x.claim = s.budget.Claim(x.from.Key, x.from.Ours)
	return s.ordinary(x, now)
}

// ordinary refuses a request that is not in need, if there is no memory for it or its
// client is over its rate.
func (s *Server) ordinary(x *request, now time.Time) error {
	if s.over.Tight() {
		return fmt.Errorf("overloaded, memory is short: %w", ingest.ErrUnavailable)
	}
	if wait := s.clients.Take(x.from.Key, 0, now); wait > 0 {
		return &refusal.OverRate{Text: "this client is over the rate: not stored, send again", Wait: wait}
	}
	if wait := x.id.Wait(now); wait > 0 {
		return &refusal.OverRate{Text: "this key is over its rate: not stored, send again", Wait: wait}
	}
	return nil
}

// demote makes a request that is not in need an ordinary request, and returns an error
// if the ordinary request is refused.
func (s *Server) demote(x *request, now time.Time, cost int) error {
	held := x.claim.Holds()
	x.claim.Drop()
	x.critical, x.claim = false, s.budget.Claim(x.from.Key, x.from.Ours)
	s.needs.Pay(0, -1)
	s.clientNeeds.Pay(x.from.Key, cost-1)
	if err := s.charge(x, held); err != nil {
		return err
	}
	return s.ordinary(x, now)
}

// spare refuses requests that have to wait by the policy. A request with an event in it
// never has to wait.
func (s *Server) spare(x *request, now time.Time) error {
	policy := s.over.Policy()
	switch {
	case policy.Past == 0 || len(x.pings.List) == 0 || x.events() || slices.ContainsFunc(x.pings.List, s.cfg.Writer.Watches):
		return nil
	case policy.OnlyEvents:
		return ingest.ErrOnlyEvents
	case x.past(now, policy.Past):
		return errLater
	}
	return nil
}

// rate charges the client and the riders, and takes out the pings of riders over their
// rate. If the request is refused, none of them is charged.
func (s *Server) rate(x *request, now time.Time) error {
	x.shed, x.runs = x.shed[:0], x.runs[:0]
	if s.riders != nil && !x.critical {
		if wait := x.rate(s.riders, now); wait > 0 {
			return &refusal.OverRate{Text: "every rider in the request is over the rate: not stored, send again", Wait: wait}
		}
	}
	s.clients.Pay(x.from.Key, x.pings.Received)
	x.id.Pay(x.pings.Received)
	return nil
}

// charge takes n bytes more of the budget for x.
func (s *Server) charge(x *request, n int64) error {
	switch {
	case x.claim.Take(n):
		return nil
	case x.critical: // the reserve is used up: the request becomes an ordinary request
		if err := s.demote(x, time.Now(), 1); err != nil {
			return err
		}
		return s.charge(x, n)
	}
	s.held.Refused(&x.claim, n, share.OfWork, x.from.Addr)
	return fmt.Errorf("more than %d bytes of requests are in progress, or more than a quarter of that from this client: %w", s.budget.Most(), ingest.ErrUnavailable)
}

// slowestPhone allows for a phone at the edge of its radio cell.
var slowestPhone = minrate.Rate{Grace: 5 * time.Second, PerSecond: 4 << 10, Limit: time.Minute}

// receive reads the body into x. It reads no more than MaxBody, charges memory before
// it is taken, and ends if the body comes more slowly than from a phone with a bad
// connection.
func (s *Server) receive(c *fiber.Ctx, x *request) error {
	x.body = x.body[:0]
	size, most := c.Request().Header.ContentLength(), s.cfg.MaxBody // -1: chunked
	if err := s.announced(c); err != nil {
		return err
	}
	if err := s.charge(x, requestBytes+x.memory()); err != nil {
		return err
	}
	stream := c.Context().RequestBodyStream()
	if stream == nil || size == 0 {
		return nil
	}
	if size > 0 {
		most = size
	}
	room, pace := min(cap(x.body), most+1), s.cfg.pace // a byte more shows the end, or that there is too much
	conn := c.Context().Conn()
	for {
		if len(x.body) == room {
			next := min(max(2*room, firstBytes), most+1)
			if err := s.charge(x, int64(next-cap(x.body))); err != nil {
				return err
			}
			room = next
			x.body = inflate.Grow(x.body, room)
		}
		if size < 0 || len(x.body) >= prefetched { // else these bytes have come already
			if err := conn.SetReadDeadline(pace.Due(len(x.body))); err != nil {
				return err
			}
		}
		n, err := stream.Read(x.body[len(x.body):room])
		x.body = x.body[:len(x.body)+n]
		switch {
		case len(x.body) == size, err == io.EOF && size < 0:
			return c.Request().CloseBodyStream() // all was read: the connection can be used again
		case len(x.body) > most:
			return s.tooLarge()
		case errors.Is(err, os.ErrDeadlineExceeded):
			return fiber.NewError(fiber.StatusRequestTimeout, fmt.Sprintf("body came too slowly: at least %d bytes/s, or in parts", pace.PerSecond))
		case err != nil:
			// Sent again, the body may be complete, so the client gets a status without
			// a reply in its protocol.
			return fiber.NewError(fiber.StatusBadRequest, fmt.Sprintf("body broke off: %v", err))
		}
	}
}

func (s *Server) tooLarge() error {
	return &phone.Error{Kind: phone.ErrTooLarge, Text: fmt.Sprintf("body is larger than %d bytes: send it in parts", s.cfg.MaxBody)}
}
