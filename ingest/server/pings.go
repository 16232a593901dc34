package server

import (
	"bytes"
	"errors"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"

	"pingline/ingest"
	"pingline/ingest/auth"
	"pingline/ingest/phone"
	"pingline/ingest/server/guard"
	"pingline/ingest/server/inflate"
	"pingline/ingest/server/leaving"
	"pingline/ingest/server/manners"
	"pingline/ingest/server/outcomes"
	"pingline/ingest/server/share"
)

// headerLevel is the header with the shed level, so that a phone can send less often
// before it is refused.
var headerLevel = []byte("Pingline-Shed-Level")

var levelDigits = [...][]byte{[]byte("0"), []byte("1"), []byte("2"), []byte("3"), []byte("4")}

// phoneRoutes serves the table of protocols, or returns an error if a protocol
// would take requests that are GET of one of the paths in own.
func (s *Server) phoneRoutes(own []string) error {
	s.phones = outcomes.RequestsOf(s.cfg.Protocols)
	for i := range s.cfg.Protocols {
		p := &s.cfg.Protocols[i]
		if err := manners.Check(p, own); err != nil {
			return err
		}
		s.routes = append(s.routes, manners.Greet(s.app, p)...)
		for _, route := range p.Routes {
			method, path := phone.Route(route)
			path = strings.NewReplacer("{", ":", "}", "").Replace(path)
			s.routes = append(s.routes, route)
			if need := s.guard.NeedWrite(p.Accounts); method == "*" {
				s.app.All(path, need, s.phone(p, s.phones[i]))
			} else {
				s.app.Add(method, path, need, s.phone(p, s.phones[i]))
			}
		}
	}
	return nil
}

// phone returns the handler for requests of pings in a protocol, which are counted.
func (s *Server) phone(p *phone.Protocol, count *outcomes.Requests) fiber.Handler {
	return func(c *fiber.Ctx) error {
		c.Response().Header.SetCanonical(headerLevel, levelDigits[s.over.Level()])
		x := s.request(c, p)
		var err error
		body := expecting(c)
		if body == nil {
			err = s.take(c, x)
		} else if err = s.expect(c, x); err == nil {
			*body = true
			s.put(x)
			return nil
		}
		if errors.Is(err, ingest.ErrTooLarge) {
			err = &phone.Error{Kind: phone.ErrTooLarge, Text: err.Error()}
		}
		if err != nil && phone.Status(err) == 0 { // not a refusal for good: the client has to send again
			s.top.Refused(x.from.Addr, limitOf(err), time.Now())
			count.Later()
			err = manners.Later(p, &x.in, err)
			s.put(x)
			return err
		}
		s.refused.tell(x.from.Addr, p.Name, &x.pings, err, time.Now())
		x.answer(c, err)
		count.Done(err, &x.got)
		if out := x.reply.Body; len(out) > leaving.Whole {
			c.Response().SetBodyStream(leaving.Body(c.Context().Conn(), s.cfg.taker, bytes.NewReader(out), func() { s.put(x) }), len(out))
			return nil
		}
		c.Response().SetBody(x.reply.Body) // copies
		s.put(x)
		return nil
	}
}

// answer lets the protocol write the reply to a request that is done, or was refused for
// good.
func (x *request) answer(c *fiber.Ctx, err error) {
	got := &x.got
	if got.Err = err; err != nil {
		x.pings.Clear()
		x.shed = x.shed[:0]
		x.job.Verdicts, x.job.Over = x.job.Verdicts[:0], x.job.Over[:0]
	}
	got.Pings, got.Judged, got.Shed, got.Over = &x.pings, x.job.Verdicts[:len(x.pings.List)], x.shed, x.job.Over
	got.MaxError, got.AccuracyCap = x.job.Bound.MaxError, x.job.Bound.AccuracyCap
	if got.Away = nil; err == nil && x.job.Away != nil {
		got.Away = x.job.Away
		answeredInPart(c)
	}
	x.reply = phone.Reply{Status: fiber.StatusOK, Body: x.reply.Body[:0]}
	x.protocol.Reply(&x.reply, &x.in, got)
	c.Status(x.reply.Status)
	if x.reply.ContentType != "" {
		c.Set(fiber.HeaderContentType, x.reply.ContentType)
	}
}

// request returns a request for c. Its memory, which is charged, comes from an earlier
// request of similar size, not from the largest.
func (s *Server) request(c *fiber.Ctx, p *phone.Protocol) *request {
	pool := &s.pool
	if size := c.Request().Header.ContentLength(); size < 0 || size > smallBytes/4 {
		pool = &s.large
	}
	x := pool.Get().(*request)
	x.protocol, x.head.of = p, &c.Request().Header
	x.id = guard.Of(c)
	x.in = phone.Request{
		Method: c.Method(), Path: c.Path(), Query: utils.UnsafeString(c.Request().URI().QueryString()), Header: &x.head, Rider: x.id.Rider,
	}
	x.from, x.claim = s.senders.Of(c.Context().RemoteAddr(), &c.Request().Header), share.Claim{}
	x.in.Friends = s.cfg.Friends.Of(x.id, x.from.Addr, c.Context().Conn())
	return x
}

// take has the request's pings judged and stored. A request is refused before it costs
// more: by its client before its body is read, by the body's size before it is
// inflated, and in any case before the writer gets it.
func (s *Server) take(c *fiber.Ctx, x *request) error {
	if err := s.admit(c, x); err != nil {
		return err
	}
	if err := s.receive(c, x); err != nil {
		return err
	}
	now := time.Now()
	if err := s.decode(c, x, now); err != nil {
		return err
	}
	if s.over.Level() > 0 { // only then is the count asked for
		s.top.Pings(x.from.Addr, x.pings.List, now)
	}
	if err := s.spare(x, now); err != nil {
		return err
	}
	if err := s.rate(x, now); err != nil {
		return err
	}
	x.cells(s.cfg.Cells)
	x.job.Urgent, x.job.Away = x.critical, nil
	x.job.Partial = x.protocol.Unjudged && prefers(x.head.of, partial)
	x.fresh, x.job.Allowance = newcomers{client: x.from.Key}, &x.fresh
	if !x.critical && !x.from.Ours {
		x.fresh.rates = s.newRiders
	}
	if err := s.cfg.Submit(&x.job); err != nil {
		if len(x.job.Over) > 0 {
			s.bringers.Note(x.from.Addr, 0, len(x.job.Over), now)
		}
		x.refund(s.riders, s.clients)
		return err
	}
	if x.job.Away != nil {
		s.refundUnjudged(x)
	}
	x.pings.Taken(x.job.Verdicts)
	s.count(x)
	if x.job.New+len(x.job.Over) > 0 {
		s.bringers.Note(x.from.Addr, x.job.New, len(x.job.Over), now)
	}
	return manners.PassOn(x.protocol, &x.pings)
}

// decode reads the pings in the body. A request in need has lower limits: beyond them,
// or without an event, it becomes an ordinary request.
func (s *Server) decode(c *fiber.Ctx, x *request, now time.Time) error {
	x.in.Limits, x.in.Now = s.limits(x.id), now
	inflated := s.cfg.MaxInflated
	if x.critical {
		inflated, x.in.Limits.MaxPings = min(inflated, needMost), min(x.in.Limits.MaxPings, needPings)
	}
	err := s.read(c, x, inflated)
	if !x.critical || err != nil && !errors.Is(err, phone.ErrTooLarge) || err == nil && x.events() {
		return err
	}
	if derr := s.demote(x, now, lieCost); derr != nil {
		return derr
	}
	if err != nil {
		x.in.Limits = s.limits(x.id)
		return s.read(c, x, s.cfg.MaxInflated)
	}
	return nil
}

// limits returns the limits of a sender's pings that hold now.
func (s *Server) limits(id *auth.Identity) phone.Limits {
	limits := s.cfg.Limits
	if !id.Riders.All() {
		limits.Riders = &id.Riders
	}
	if s.cfg.Kept != nil {
		limits.Times.Kept, limits.KeptEvents = s.cfg.Kept()
	}
	return limits
}

// read inflates and decodes the body, and charges memory before it is taken.
func (s *Server) read(c *fiber.Ctx, x *request, inflated int) error {
	var err error
	if x.in.Body, err = s.inflate(c, x, inflated); err != nil {
		return err
	}
	pings, copied := x.protocol.Most(&x.in)
	pings = min(pings, x.in.Limits.MaxPings)
	if err := s.charge(x, int64(pings)*pingBytes+int64(copied)); err != nil {
		return err
	}
	if err := x.protocol.Read(&x.in, &x.pings); err != nil {
		return err
	}
	s.cfg.Door.Screen(&x.pings, x.id.Zones)
	x.pings.Correct(func(rider, device string, newest int64) int64 {
		return s.clocks.Behind(rider, device, newest, x.in.Now)
	})
	x.claim.Settle(requestBytes + x.memory() + int64(copied) + int64(len(x.pings.List))*judgedBytes + int64(x.pings.Received)*verdictBytes)
	return nil
}

// inflate returns the body as it was before it was compressed.
func (s *Server) inflate(c *fiber.Ctx, x *request, most int) ([]byte, error) {
	encoding := c.Request().Header.ContentEncoding()
	if len(encoding) == 0 {
		return x.body, nil
	}
	s.inflates <- struct{}{} // a holder never blocks
	defer func() { <-s.inflates }()
	var err error
	x.inflated, err = inflate.Body(x.inflated[:0], string(encoding), x.body, most, func(n int64) error { return s.charge(x, n) })
	return x.inflated, err
}

// put drops the charges of x, and keeps x for a request of similar size.
func (s *Server) put(x *request) {
	x.claim.Drop()
	x.in, x.head, x.id = phone.Request{}, header{}, nil
	switch {
	case x.memory() <= smallBytes:
		s.pool.Put(x)
	case x.small():
		s.large.Put(x)
	}
}

func (s *Server) count(x *request) {
	d := &x.pings
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Received += uint64(d.Received)
	s.stats.Shed += uint64(len(x.shed))
	s.stats.Corrected += uint64(d.Corrected)
	s.stats.Rejected += uint64(d.Received - len(d.List) - len(x.shed))
	d.EachReason(func(field string, n int) { s.stats.Reasons[field] += uint64(n) })
	d.EachOutOfRange(func(field string, n int) { s.stats.OutOfRange[field] += uint64(n) })
}
