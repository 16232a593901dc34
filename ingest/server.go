package ingest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
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

	MaxInProgress int64         // bytes of bodies in work, beyond which requests get 503; 0 means 256 MiB
	ReadTimeout   time.Duration // for a whole request to arrive; 0 means 30 s
	WriteTimeout  time.Duration // for an answer to be taken; 0 means 30 s
	IdleTimeout   time.Duration // between requests of a connection; 0 means 2 m
	Grace         time.Duration // for requests in flight when told to stop; 0 means 15 s

	// Notes, if set, adds what an operator must know to the answer of /readyz.
	Notes func() []string
	// ObserveRequest, if set, is told of each request.
	ObserveRequest func(route string, status int, took time.Duration)
}

// Server answers HTTP. It is safe for concurrent use.
type Server struct {
	cfg      Config
	app      *fiber.App
	ln       net.Listener
	pool     sync.Pool     // of *exchange
	inflates chan struct{} // held while inflating: bounds what that takes
	bytes    atomic.Int64  // of bodies in work

	mu    sync.Mutex
	stats ServerStats
}

// ServerStats says what the server has seen since the start of the process.
type ServerStats struct {
	Received   uint64            // pings of requests answered 200, or 400 because all were rejected
	Rejected   uint64            // of those, invalid ones
	Reasons    map[string]uint64 // rejected pings by field
	OutOfRange map[string]uint64 // optional numbers out of range, by field
}

// New returns a server that listens, but does not answer before Run.
func New(cfg Config) (*Server, error) {
	cfg.Limits = cfg.Limits.withDefaults()
	cfg.MaxInProgress = cmp.Or(cfg.MaxInProgress, 256<<20)
	cfg.ReadTimeout = cmp.Or(cfg.ReadTimeout, 30*time.Second)
	cfg.WriteTimeout = cmp.Or(cfg.WriteTimeout, 30*time.Second)
	cfg.IdleTimeout = cmp.Or(cfg.IdleTimeout, 2*time.Minute)
	cfg.Grace = cmp.Or(cfg.Grace, 15*time.Second)
	ln, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	s := &Server{
		cfg:      cfg,
		ln:       ln,
		inflates: make(chan struct{}, 2*runtime.GOMAXPROCS(0)),
		stats:    ServerStats{Reasons: make(map[string]uint64), OutOfRange: make(map[string]uint64)},
	}
	s.pool.New = func() any { return new(exchange) }
	s.app = fiber.New(fiber.Config{
		AppName:               "pingline",
		BodyLimit:             cfg.Limits.MaxBody,
		ReadTimeout:           cfg.ReadTimeout,
		WriteTimeout:          cfg.WriteTimeout,
		IdleTimeout:           cfg.IdleTimeout,
		DisableStartupMessage: true,
		DisableDefaultDate:    true,
		ErrorHandler:          s.refuse,
	})
	s.app.Use(s.observe)
	s.app.Post("/v1/pings", s.pings)
	s.app.Get("/healthz", s.health)
	s.app.Get("/readyz", s.ready)
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
	return st
}

// pings takes in one request of pings.
func (s *Server) pings(c *fiber.Ctx) error {
	body := c.Request().Body() // as it was sent: c.Body() would inflate without a limit
	held := int64(len(body))
	if s.bytes.Add(held) > s.cfg.MaxInProgress {
		s.bytes.Add(-held)
		return fmt.Errorf("more than %d bytes of requests are in progress: %w", s.cfg.MaxInProgress, ErrUnavailable)
	}
	defer func() { s.bytes.Add(-held) }()

	x := s.pool.Get().(*exchange)
	if encoding := c.Request().Header.ContentEncoding(); len(encoding) > 0 {
		var err error
		if body, err = s.inflate(x, string(encoding), body); err != nil {
			s.put(x)
			return err
		}
		held += int64(len(body))
		s.bytes.Add(int64(len(body)))
	}
	if err := x.decoded.Decode(body, s.cfg.Limits, time.Now()); err != nil {
		s.put(x)
		return err
	}
	x.cells(s.cfg.Cells)
	err := s.cfg.Writer.Submit(&x.job)
	if errors.Is(err, errWithdrawn) {
		return err // the writer may still look at the job: x is not used again
	}
	if err == nil {
		s.count(&x.decoded)
		x.answer(c)
	}
	s.put(x)
	return err
}

func (s *Server) inflate(x *exchange, encoding string, body []byte) ([]byte, error) {
	s.inflates <- struct{}{}
	defer func() { <-s.inflates }()
	var err error
	x.inflated, err = inflate(x.inflated[:0], encoding, body, s.cfg.Limits.MaxInflated)
	return x.inflated, err
}

func (s *Server) put(x *exchange) {
	if x.small() {
		s.pool.Put(x)
	}
}

func (s *Server) count(d *Decoded) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Received += uint64(d.Received)
	s.stats.Rejected += uint64(d.Received - len(d.Pings))
	d.eachReason(func(field string, n int) { s.stats.Reasons[field] += uint64(n) })
	d.eachOutOfRange(func(field string, n int) { s.stats.OutOfRange[field] += uint64(n) })
}

func (s *Server) health(c *fiber.Ctx) error {
	return c.SendString("ok\n")
}

// ready answers 200 while pings are being accepted.
func (s *Server) ready(c *fiber.Ctx) error {
	notes := []string{}
	if s.cfg.Notes != nil {
		notes = append(notes, s.cfg.Notes()...)
	}
	state := fiber.Map{"ready": true, "level": 0, "notes": notes}
	if reason := s.cfg.Writer.Unready(); reason != "" {
		state["ready"], state["reason"] = false, reason
		c.Status(fiber.StatusServiceUnavailable)
		c.Set(fiber.HeaderRetryAfter, retryAfter())
	}
	return c.JSON(state)
}

// refuse turns an error into its status and a body that says why.
func (s *Server) refuse(c *fiber.Ctx, err error) error {
	status := fiber.StatusInternalServerError
	var httpErr *fiber.Error
	switch {
	case errors.Is(err, ErrUnavailable):
		status = fiber.StatusServiceUnavailable
		c.Set(fiber.HeaderRetryAfter, retryAfter())
	case errors.Is(err, ErrTooLarge):
		status = fiber.StatusRequestEntityTooLarge
	case errors.Is(err, errUnknownEncoding):
		status = fiber.StatusUnsupportedMediaType
	case errors.Is(err, errMalformed):
		status = fiber.StatusBadRequest
	case errors.As(err, &httpErr):
		status = httpErr.Code
		if status == fiber.StatusRequestEntityTooLarge {
			err = fmt.Errorf("body is larger than %d bytes: send it in parts", s.cfg.Limits.MaxBody)
		}
	}
	return c.Status(status).JSON(fiber.Map{"error": err.Error()})
}

// retryAfter spreads those who come back over seconds 5 to 15, so that a crowd
// refused in one second does not return in one.
func retryAfter() string { return strconv.Itoa(5 + rand.IntN(11)) }

func (s *Server) observe(c *fiber.Ctx) error {
	if s.cfg.ObserveRequest == nil {
		return c.Next()
	}
	began := time.Now()
	err := c.Next()
	if err != nil { // answered here, so that the status is known
		err = s.refuse(c, err)
	}
	s.cfg.ObserveRequest(c.Route().Path, c.Response().StatusCode(), time.Since(began))
	return err
}
