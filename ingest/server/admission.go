package server

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/gofiber/fiber/v2"

	"pingline/ingest"
	"pingline/ingest/phone"
	"pingline/ingest/server/inflate"
)

const (
	// A body of known length has come this far when Fiber hands over the request.
	prefetched = 8 << 10

	requestBytes = 16 << 10 // what a request takes besides its memory: buffers, stack, the first 8 KiB
	pingBytes    = 256      // what a ping takes at most while it is decoded
	judgedBytes  = 64       // what it takes besides until it is judged
	verdictBytes = 14       // what its verdict may take in a reply

	// The memory for a body is twice what has come of it, and at least this.
	firstBytes = 16 << 10
)

// Clients in need are let past the crowd, as long as they are not one. A request
// is in need if it says so, is small and has an event in it; one that only says
// so is an ordinary one, and its client is believed less often.
const (
	needHeader = "Pingline-Priority"
	needValue  = "critical"

	needMost  = 64 << 10 // bytes of a body, as sent and inflated
	needPings = 100      // pings of a body
	needBytes = 16 << 20 // of a budget that the crowd has no part in

	needRate, needBurst             = 100, 200 // requests/s of all
	clientNeedRate, clientNeedBurst = 10, 50   // requests/s of a client
	lieCost                         = 10       // requests that a client pays for one that was not in need
)

// admit decides by what is known before the body comes.
func (s *Server) admit(c *fiber.Ctx, x *request) error {
	now := time.Now()
	size := c.Request().Header.ContentLength()
	x.critical = c.Get(needHeader) == needValue && size >= 0 && size <= needMost &&
		s.clientNeeds.Take(x.client, 1, now) == 0 && s.needs.Take(0, 1, now) == 0
	if x.critical {
		x.claim = s.reserve.claim(x.client, x.ours)
		return nil
	}
	x.claim = s.budget.claim(x.client, x.ours)
	return s.ordinary(x, now)
}

// ordinary refuses a request that is not in need if there is no memory for it or
// its client is over its rate.
func (s *Server) ordinary(x *request, now time.Time) error {
	if s.over.Tight() {
		return fmt.Errorf("overloaded, memory is short: %w", ingest.ErrUnavailable)
	}
	if wait := s.clients.Take(x.client, 0, now); wait > 0 {
		return &rateError{"this client is over the rate: not stored, send again", wait}
	}
	return nil
}

// demote makes a request that is not in need an ordinary one, and returns an error
// if that is refused.
func (s *Server) demote(x *request, now time.Time, cost int) error {
	held := x.claim.held
	x.claim.drop()
	x.critical, x.claim = false, s.budget.claim(x.client, x.ours)
	s.needs.Pay(0, -1)
	s.clientNeeds.Pay(x.client, cost-1)
	if err := s.charge(x, held); err != nil {
		return err
	}
	return s.ordinary(x, now)
}

// spare refuses, by the policy, what can or has to wait. A request with an event
// in it never can.
func (s *Server) spare(x *request, now time.Time) error {
	policy := s.over.Policy()
	switch {
	case policy.Past == 0 || len(x.pings.List) == 0 || x.events():
		return nil
	case policy.OnlyEvents:
		return ingest.ErrOnlyEvents
	case x.past(now, policy.Past):
		return errLater
	}
	return nil
}

// rate charges who sends, and takes out the pings of riders over their rate. Of
// what counts, nothing is charged if the request is refused.
func (s *Server) rate(x *request, now time.Time) error {
	x.shed, x.runs = x.shed[:0], x.runs[:0]
	if s.riders != nil && !x.critical {
		if wait := x.rate(s.riders, now); wait > 0 {
			return &rateError{"every rider in the request is over the rate: not stored, send again", wait}
		}
	}
	s.clients.Pay(x.client, x.pings.Received)
	return nil
}

// charge takes n bytes more of the budget for x.
func (s *Server) charge(x *request, n int64) error {
	switch {
	case x.claim.take(n):
		return nil
	case x.critical: // the reserve is in use: it goes with the crowd
		if err := s.demote(x, time.Now(), 1); err != nil {
			return err
		}
		return s.charge(x, n)
	}
	if x.claim.byShare(n) {
		s.held.note(shareOfWork, x.sender, time.Now())
	}
	return fmt.Errorf("more than %d bytes of requests are in progress, or more than a quarter of that from this client: %w", s.budget.most, ingest.ErrUnavailable)
}

// receive reads the body into x: no more than MaxBody, charged before there is
// memory for it, and no slower than a phone with a bad connection sends.
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
	room, pace := min(cap(x.body), most+1), s.cfg.pace // one more shows the end, or that there is too much
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
		if size < 0 || len(x.body) >= prefetched { // else it is there already
			if err := conn.SetReadDeadline(pace.due(len(x.body))); err != nil {
				return err
			}
		}
		n, err := stream.Read(x.body[len(x.body):room])
		x.body = x.body[:len(x.body)+n]
		switch {
		case len(x.body) == size, err == io.EOF && size < 0:
			return c.Request().CloseBodyStream() // all was read: the connection can go on
		case len(x.body) > most:
			return s.tooLarge()
		case errors.Is(err, os.ErrDeadlineExceeded):
			return fiber.NewError(fiber.StatusRequestTimeout, fmt.Sprintf("body came too slowly: at least %d bytes/s, or in parts", pace.rate))
		case err != nil:
			// Sent again, it may be whole: no protocol is asked for a reply.
			return fiber.NewError(fiber.StatusBadRequest, fmt.Sprintf("body broke off: %v", err))
		}
	}
}

func (s *Server) tooLarge() error {
	return &phone.Error{Kind: phone.ErrTooLarge, Text: fmt.Sprintf("body is larger than %d bytes: send it in parts", s.cfg.MaxBody)}
}
