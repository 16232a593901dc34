package server

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"

	"pingline/ingest"
	"pingline/ingest/phone"
	"pingline/ingest/server/inflate"
)

// headerLevel says how much is given up, so that a phone can send less often
// before it has to.
var headerLevel = []byte("Pingline-Shed-Level")

var levelDigits = [...][]byte{[]byte("0"), []byte("1"), []byte("2"), []byte("3"), []byte("4")}

// params are the parameters in a path of a route, as Fiber has them.
var params = regexp.MustCompile(`:([a-z]+)`)

// phoneRoutes serves the table of protocols, or returns an error if a protocol
// would take requests that are GET of one of the paths in own.
func (s *Server) phoneRoutes(own []string) error {
	for i := range s.cfg.Protocols {
		p := &s.cfg.Protocols[i]
		for _, route := range p.Routes {
			for _, o := range own {
				if o = "GET " + params.ReplaceAllString(o, "{$1}"); phone.Overlap(route, o) {
					return fmt.Errorf("protocol %s: route %s takes requests of the server's own %s", p.Name, route, o)
				}
			}
			method, path := phone.Route(route)
			path = strings.NewReplacer("{", ":", "}", "").Replace(path)
			s.routes = append(s.routes, route)
			if method == "*" {
				s.app.All(path, s.phone(p))
			} else {
				s.app.Add(method, path, s.phone(p))
			}
		}
	}
	return nil
}

// phone takes in requests of pings in a protocol.
func (s *Server) phone(p *phone.Protocol) fiber.Handler {
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
		if err != nil && phone.Status(err) == 0 { // the client has to send again
			s.top.Refused(x.sender, limitOf(err), time.Now())
			s.put(x)
			return err
		}
		s.refused.tell(x.sender, p.Name, &x.pings, err, time.Now())
		x.answer(c, err)
		if out := x.reply.Body; len(out) > wholeAnswer {
			leave(c, s.cfg.taker, bytes.NewReader(out), len(out), func() { s.put(x) })
			return nil
		}
		c.Response().SetBody(x.reply.Body) // copies
		s.put(x)
		return nil
	}
}

// answer has the protocol word the reply to a request that is done, or was refused
// for good.
func (x *request) answer(c *fiber.Ctx, err error) {
	got := &x.got
	if got.Err = err; err != nil {
		x.pings.Clear()
		x.shed = x.shed[:0]
		x.job.Verdicts, x.job.Over = x.job.Verdicts[:0], x.job.Over[:0]
	}
	got.Pings, got.Judged, got.Shed, got.Over = &x.pings, x.job.Verdicts[:len(x.pings.List)], x.shed, x.job.Over
	got.MaxError, got.AccuracyCap = x.job.Bound.MaxError, x.job.Bound.AccuracyCap
	x.reply = phone.Reply{Status: fiber.StatusOK, Body: x.reply.Body[:0]}
	x.protocol.Reply(&x.reply, &x.in, got)
	c.Status(x.reply.Status)
	if x.reply.ContentType != "" {
		c.Set(fiber.HeaderContentType, x.reply.ContentType)
	}
}

// request returns one for c, with as much memory as it is going to need, not as the
// largest needed: what it has is charged.
func (s *Server) request(c *fiber.Ctx, p *phone.Protocol) *request {
	pool := &s.pool
	if size := c.Request().Header.ContentLength(); size < 0 || size > smallBytes/4 {
		pool = &s.large
	}
	x := pool.Get().(*request)
	x.protocol, x.head.of = p, &c.Request().Header
	x.in = phone.Request{
		Method: c.Method(), Path: c.Path(), Query: utils.UnsafeString(c.Request().URI().QueryString()), Header: &x.head,
	}
	addr, ours := s.senders.client(c)
	x.sender, x.client, x.ours, x.claim = addr, s.senders.keyOf(addr), ours, claim{}
	return x
}

// take has the request's pings judged and stored. What can be refused is refused
// before it costs more: who sends before what is sent, the body before what it
// inflates to, all before the writer.
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
	if s.over.Level() > 0 { // else nobody asks
		s.top.Pings(x.sender, x.pings.List, now)
	}
	if err := s.spare(x, now); err != nil {
		return err
	}
	if err := s.rate(x, now); err != nil {
		return err
	}
	x.cells(s.cfg.Cells)
	x.job.Urgent = x.critical
	x.fresh, x.job.Allowance = newcomers{client: x.client}, &x.fresh
	if !x.critical && !x.ours {
		x.fresh.rates = s.newRiders
	}
	if err := s.cfg.Writer.Submit(&x.job); err != nil {
		if len(x.job.Over) > 0 {
			s.bringers.Note(x.sender, 0, len(x.job.Over), now)
		}
		x.refund(s.riders, s.clients)
		return err
	}
	s.count(x)
	if x.job.New+len(x.job.Over) > 0 {
		s.bringers.Note(x.sender, x.job.New, len(x.job.Over), now)
	}
	return nil
}

// decode reads the pings in the body. A request in need is held to less, and is an
// ordinary one if it is more, or has no event.
func (s *Server) decode(c *fiber.Ctx, x *request, now time.Time) error {
	x.in.Limits, x.in.Now = s.limits(), now
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
		x.in.Limits = s.limits()
		return s.read(c, x, s.cfg.MaxInflated)
	}
	return nil
}

// limits returns those that hold now.
func (s *Server) limits() phone.Limits {
	limits := s.cfg.Limits
	if s.cfg.Kept != nil {
		limits.Times.Kept, limits.KeptEvents = s.cfg.Kept()
	}
	return limits
}

// read inflates and decodes the body, and charges the memory for it before it is
// there.
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
	x.pings.Correct(func(rider, device string, newest int64) int64 {
		return s.clocks.Behind(rider, device, newest, x.in.Now)
	})
	x.claim.settle(requestBytes + x.memory() + int64(copied) + int64(len(x.pings.List))*judgedBytes + int64(x.pings.Received)*verdictBytes)
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

// put gives back what x was charged, and keeps it for a request like the last.
func (s *Server) put(x *request) {
	x.claim.drop()
	x.in, x.head = phone.Request{}, header{}
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
