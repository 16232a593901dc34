package ingest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"

	"pingline/partition"
)

// Config sets up a Server. Writer is required.
type Config struct {
	Listen string // host:port; port 0 picks a free one
	Writer *Writer
	Cells  partition.Cells
	Limits Limits
	Reader Reader // what the reading routes ask

	MaxInProgress  int64         // bytes of requests in work, beyond which they get 503; 0 means 256 MiB
	MaxConnections int           // beyond which one gets 503 and is closed; 0 means 10,000
	HeadTimeout    time.Duration // for a request's header and the first 8 KiB of its body to arrive; 0 means 10 s
	WriteTimeout   time.Duration // for an answer to be taken; 0 means 30 s
	IdleTimeout    time.Duration // between requests of a connection; 0 means 2 m
	Grace          time.Duration // for requests in flight when told to stop; 0 means 15 s

	RiderRate      float64        // pings/s of one rider; 0: no limit
	RiderBurst     float64        // pings of one rider that may come at once
	ClientRate     float64        // pings/s of one client, a minute's worth at once; 0: no limit
	TrustedProxies []netip.Prefix // whose X-Forwarded-For says who the client is

	pace       pace    // of bodies; the zero one means phonePace
	clientNeed float64 // requests/s of a client in need; 0 means clientNeedRate

	// Notes, if set, adds what an operator must know to the answer of /readyz.
	Notes func() []string
	// ObserveRequest, if set, is told of each request.
	ObserveRequest func(route string, status int, took time.Duration)
}

// Server answers HTTP. It is safe for concurrent use.
type Server struct {
	cfg      Config
	app      *fiber.App
	ln       *listener
	over     *Overload
	pool     sync.Pool     // of *exchange
	inflates chan struct{} // held while inflating: bounds what that takes
	reads    chan struct{} // held while reading back what is stored
	budget   budget

	riders, clients    *rates
	needs, clientNeeds *rates // requests of those who say they are in need, in all and of a client

	mu    sync.Mutex
	stats ServerStats
}

// ServerStats says what the server has seen since the start of the process.
type ServerStats struct {
	Received   uint64            // pings of requests answered 200, or 400 because all were rejected
	Rejected   uint64            // of those, invalid ones
	Reasons    map[string]uint64 // rejected pings by field
	Shed       uint64            // pings shed before they were judged, because their rider is over its rate
	OutOfRange map[string]uint64 // optional numbers out of range, by field

	InProgress  int64  // bytes of requests in work
	Connections int64  // open now
	TurnedAway  uint64 // connections refused, one too many each
}

// New returns a server that listens, but does not answer before Run.
func New(cfg Config) (*Server, error) {
	cfg.Limits = cfg.Limits.withDefaults()
	cfg.MaxInProgress = cmp.Or(cfg.MaxInProgress, 256<<20)
	cfg.MaxConnections = cmp.Or(cfg.MaxConnections, 10_000)
	cfg.HeadTimeout = cmp.Or(cfg.HeadTimeout, 10*time.Second)
	cfg.WriteTimeout = cmp.Or(cfg.WriteTimeout, 30*time.Second)
	cfg.IdleTimeout = cmp.Or(cfg.IdleTimeout, 2*time.Minute)
	cfg.Grace = cmp.Or(cfg.Grace, 15*time.Second)
	cfg.pace = cmp.Or(cfg.pace, phonePace)
	cfg.clientNeed = cmp.Or(cfg.clientNeed, clientNeedRate)
	ln, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	s := &Server{
		cfg:    cfg,
		ln:     newListener(ln, cfg.MaxConnections),
		over:   cfg.Writer.cfg.Overload,
		budget: budget{most: cfg.MaxInProgress, reserve: needBytes},

		riders:      newRates(cfg.RiderRate, cfg.RiderBurst, 1<<18),
		clients:     newRates(cfg.ClientRate, 60*cfg.ClientRate, 1<<16),
		needs:       newRates(needRate, needBurst, 1),
		clientNeeds: newRates(cfg.clientNeed, clientNeedBurst, 1<<12),

		inflates: make(chan struct{}, 2*runtime.GOMAXPROCS(0)),
		stats:    ServerStats{Reasons: make(map[string]uint64), OutOfRange: make(map[string]uint64)},
	}
	s.reads = make(chan struct{}, readsAtOnce)
	s.pool.New = func() any { return new(exchange) }
	s.app = fiber.New(fiber.Config{
		AppName:               "pingline",
		ReadTimeout:           cfg.HeadTimeout,
		WriteTimeout:          cfg.WriteTimeout,
		IdleTimeout:           cfg.IdleTimeout,
		DisableStartupMessage: true,
		DisableDefaultDate:    true,
		ErrorHandler:          s.refuse,
		// A request comes before its body, so that it can be refused, or its body
		// limited. Forms would be read whole, into files if they are large.
		StreamRequestBody:            true,
		DisablePreParseMultipartForm: true,
	})
	s.app.Use(s.observe)
	s.app.Post("/v1/pings", s.pings)
	s.app.Get("/healthz", s.health)
	s.app.Get("/readyz", s.ready)
	s.readRoutes()
	return s, nil
}

// Addr returns the address the server listens on.
func (s *Server) Addr() net.Addr { return s.ln.Addr() }

// Run serves until ctx is cancelled, then refuses new requests, waits up to
// Grace for those in flight, and returns nil. Any other return is a failure.
func (s *Server) Run(ctx context.Context) error {
	served := make(chan error, 1)
	go func() { served <- s.app.Listener(s.ln) }()
	select {
	case err := <-served: // Fiber reports a dead listener as nil
		return fmt.Errorf("serve %v: %w", s.ln.Addr(), cmp.Or(err, net.ErrClosed))
	case <-ctx.Done():
	}
	// ctx is spent: stopping needs a deadline of its own.
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Grace)
	defer cancel()
	err := s.app.ShutdownWithContext(grace)
	if cerr := s.ln.Close(); cerr != nil && !errors.Is(cerr, net.ErrClosed) { // frees a server cancelled before it began to accept
		err = errors.Join(err, cerr)
	}
	return errors.Join(err, <-served)
}

// Stats returns the counts so far.
func (s *Server) Stats() ServerStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.Reasons = make(map[string]uint64, len(s.stats.Reasons))
	for k, v := range s.stats.Reasons {
		st.Reasons[k] = v
	}
	st.OutOfRange = make(map[string]uint64, len(s.stats.OutOfRange))
	for k, v := range s.stats.OutOfRange {
		st.OutOfRange[k] = v
	}
	st.InProgress, st.Connections, st.TurnedAway = s.budget.used.Load(), s.ln.open.Load(), s.ln.refused.Load()
	return st
}

// headerLevel says how much is given up, so that a phone can send less often
// before it has to.
var headerLevel = []byte("Pingline-Shed-Level")

var levelDigits = [...][]byte{[]byte("0"), []byte("1"), []byte("2"), []byte("3"), []byte("4")}

// pings takes in one request of pings.
func (s *Server) pings(c *fiber.Ctx) error {
	c.Response().Header.SetCanonical(headerLevel, levelDigits[s.over.Level()])
	x := s.pool.Get().(*exchange)
	err := s.take(c, x)
	s.budget.give(x.held)
	if errors.Is(err, errWithdrawn) {
		return err // the writer may still look at the job: x is not used again
	}
	if err == nil {
		x.answer(c)
	}
	s.put(x)
	return err
}

// take has the request's pings judged and stored. What can be refused is refused
// before it costs more: who sends before what is sent, the body before what it
// inflates to, all before the writer.
func (s *Server) take(c *fiber.Ctx, x *exchange) error {
	x.held = 0
	if err := s.admit(c, x); err != nil {
		return err
	}
	if err := s.receive(c, x); err != nil {
		return err
	}
	body, err := s.inflate(c, x)
	if err != nil {
		return err
	}
	now := time.Now()
	if err := x.decoded.Decode(body, s.cfg.Limits, now); err != nil {
		return err
	}
	if err := s.charge(x, int64(len(x.decoded.Pings))*pingBytes); err != nil {
		return err
	}
	if err := s.spare(x, now); err != nil {
		return err
	}
	if err := s.rate(x, now); err != nil {
		return err
	}
	x.cells(s.cfg.Cells)
	x.job.Urgent = x.critical
	if err := s.cfg.Writer.Submit(&x.job); err != nil {
		x.refund(s.riders, s.clients)
		return err
	}
	s.count(x)
	return nil
}

// inflate returns the body as it was before it was compressed.
func (s *Server) inflate(c *fiber.Ctx, x *exchange) ([]byte, error) {
	encoding := c.Request().Header.ContentEncoding()
	if len(encoding) == 0 {
		return x.body, nil
	}
	s.inflates <- struct{}{} // whoever holds one waits for nothing
	defer func() { <-s.inflates }()
	var err error
	if x.inflated, err = inflate(x.inflated[:0], string(encoding), x.body, s.cfg.Limits.MaxInflated); err != nil {
		return nil, err
	}
	return x.inflated, s.charge(x, int64(len(x.inflated)))
}

func (s *Server) put(x *exchange) {
	if x.small() {
		s.pool.Put(x)
	}
}

func (s *Server) count(x *exchange) {
	d := &x.decoded
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Received += uint64(d.Received)
	s.stats.Shed += uint64(len(x.shed))
	s.stats.Rejected += uint64(d.Received - len(d.Pings) - len(x.shed))
	d.eachReason(func(field string, n int) { s.stats.Reasons[field] += uint64(n) })
	d.eachOutOfRange(func(field string, n int) { s.stats.OutOfRange[field] += uint64(n) })
}

func (s *Server) health(c *fiber.Ctx) error {
	return c.SendString("ok\n")
}

// ready answers 200 while pings are being accepted.
func (s *Server) ready(c *fiber.Ctx) error {
	notes := append([]string{}, s.over.Notes()...)
	if s.cfg.Notes != nil {
		notes = append(notes, s.cfg.Notes()...)
	}
	state := fiber.Map{"ready": true, "level": s.over.Level(), "notes": notes}
	if reason := s.cfg.Writer.Unready(); reason != "" {
		state["ready"], state["reason"] = false, reason
		c.Status(fiber.StatusServiceUnavailable)
		c.Set(fiber.HeaderRetryAfter, retryAfter())
	}
	return c.JSON(state)
}
