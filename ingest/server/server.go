package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"

	"pingline/ingest"
	"pingline/ingest/phone"
	"pingline/ingest/server/clocks"
	"pingline/ingest/server/conns"
	"pingline/ingest/server/framing"
	"pingline/ingest/server/rate"
	"pingline/ingest/server/top"
	"pingline/partition"
	"pingline/query"
)

// Config sets up a Server. Writer is required.
type Config struct {
	Listen string // host:port; port 0 picks a free one
	Writer *ingest.Writer
	Cells  partition.Cells
	Reader query.Sources // of the reading routes; State may be left to the Writer

	Protocols []phone.Protocol // in which pings may come
	Limits    phone.Limits     // of the pings of a request

	MaxBody     int // bytes of a body as it is sent; 0 means 4 MiB
	MaxInflated int // bytes of a body after decompression; 0 means 16 MiB

	// Kept, if set, returns how long pings are kept where they go to, those without
	// an event and those with one; 0: for ever, or not known. It must be quick.
	Kept func() (pings, events time.Duration)

	MaxInProgress  int64         // bytes of requests in work, beyond which they get 503; 0 means 256 MiB
	MaxReading     int64         // bytes of reads in work, until their answers have left, beyond which reads get 503; 0 means 64 MiB
	MaxConnections int           // beyond which one that waits for its client is closed for each that comes; 0 means 10,000
	HeadTimeout    time.Duration // for a request's header and the first 8 KiB of its body to arrive; 0 means 10 s
	WriteTimeout   time.Duration // for an answer to be taken; 0 means 30 s
	IdleTimeout    time.Duration // between requests of a connection; 0 means 2 m
	Grace          time.Duration // for requests in flight when told to stop; 0 means 15 s

	RiderRate      float64        // pings/s of one rider; 0: no limit
	RiderBurst     float64        // pings of one rider that may come at once
	ClientRate     float64        // pings/s of one client, a minute's worth at once; 0: no limit
	NewRidersRate  float64        // tracks/s of one client that the filter does not know, two minutes' worth at once; 0: no limit
	ReadRate       float64        // reads/s of one client, ten seconds' worth at once; 0: no limit
	TrustedProxies []netip.Prefix // whose X-Forwarded-For says who the client is

	Version     string       // of the program, for people
	Logger      *slog.Logger // is told of pings that are refused; nil: nobody is
	CORSOrigins []string     // of pages in browsers that may send and read; "*" is all

	pace       minRate // of bodies; the zero one means slowestPhone
	taker      minRate // of answers; the zero one means slowestReader
	clientNeed float64 // requests/s of a client in need; 0 means clientNeedRate

	// Notes, if set, adds what an operator must know to the answer of /readyz.
	Notes func() []string
	// ObserveRequest, if set, is told of each request.
	ObserveRequest func(route string, status int, took time.Duration)
}

// ConnectionBytes is what a connection takes at most, besides its requests in work:
// its goroutine, its buffers, and what fasthttp keeps of the longest head. One that
// is between short requests takes a third.
const ConnectionBytes = 80 << 10

// Server answers HTTP. It is safe for concurrent use.
type Server struct {
	cfg      Config
	app      *fiber.App
	ln       *conns.Listener
	over     *ingest.Overload
	pool     sync.Pool     // of *request that were in use for little
	large    sync.Pool     // of *request that were not
	routes   []string      // METHOD /path/{parameter}
	leaves   atomic.Bool   // Leave was called
	inflates chan struct{} // held while inflating: bounds what that takes
	reads    *reads
	senders  senders
	dates    dates
	budget   budget // bytes of requests
	reserve  budget // bytes of requests in need

	riders, clients    *rate.Buckets
	newRiders          *rate.Buckets // of a client
	bringers           top.Bringers
	clocks             clocks.Clocks
	top                top.Senders
	held               sharesHeld
	refused            refused
	needs, clientNeeds *rate.Buckets // requests of those who say they are in need, in all and of a client

	mu    sync.Mutex // guards stats; nothing else is locked under it
	stats Stats
}

// Stats says what the server has seen since the start of the process.
type Stats struct {
	Received   uint64            // pings of requests answered 200, or 400 because all were rejected
	Rejected   uint64            // of those, invalid ones
	Reasons    map[string]uint64 // rejected pings by field
	Shed       uint64            // pings shed before they were judged, because their rider is over its rate
	Corrected  uint64            // pings whose time was out of its limits and was given another
	OutOfRange map[string]uint64 // optional numbers out of range, by field

	InProgress  int64  // bytes of requests in work
	Reading     int64  // bytes of reads in work, until their answers have left
	Connections int64  // open now
	TurnedAway  uint64 // connections refused, one too many each
	Displaced   uint64 // connections closed while they waited for their client, for others to have their place

	MaxInProgress, MaxReading, MaxConnections int64 // as far as they go
}

// New returns a server that listens, but does not answer before Run.
func New(cfg Config) (*Server, error) {
	if err := phone.Check(cfg.Protocols); err != nil {
		return nil, err
	}
	cfg.Limits = cfg.Limits.WithDefaults()
	cfg.Logger = cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))
	cfg.MaxBody = cmp.Or(cfg.MaxBody, 4<<20)
	cfg.MaxInflated = cmp.Or(cfg.MaxInflated, 16<<20)
	cfg.MaxInProgress = cmp.Or(cfg.MaxInProgress, 256<<20)
	cfg.MaxReading = cmp.Or(cfg.MaxReading, 64<<20)
	cfg.MaxConnections = cmp.Or(cfg.MaxConnections, 10_000)
	cfg.HeadTimeout = cmp.Or(cfg.HeadTimeout, 10*time.Second)
	cfg.WriteTimeout = cmp.Or(cfg.WriteTimeout, 30*time.Second)
	cfg.IdleTimeout = cmp.Or(cfg.IdleTimeout, 2*time.Minute)
	cfg.Grace = cmp.Or(cfg.Grace, 15*time.Second)
	cfg.pace = cmp.Or(cfg.pace, slowestPhone)
	cfg.taker = cmp.Or(cfg.taker, slowestReader)
	cfg.clientNeed = cmp.Or(cfg.clientNeed, clientNeedRate)
	ln, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("--listen: %w", err)
	}
	if cfg.Reader.State == nil {
		cfg.Reader.State = cfg.Writer.RiderState
	}
	if cfg.Reader.Line == nil {
		cfg.Reader.Line = cfg.Writer.RiderLine
	}
	s := &Server{
		cfg:     cfg,
		over:    cfg.Writer.Overload(),
		budget:  budget{most: cfg.MaxInProgress},
		reserve: budget{most: needBytes},
		senders: senders{trusted: cfg.TrustedProxies, seed: maphash.MakeSeed()},

		riders:      rate.New(cfg.RiderRate, cfg.RiderBurst, 1<<18),
		clients:     rate.New(cfg.ClientRate, 60*cfg.ClientRate, 1<<16),
		needs:       rate.New(needRate, needBurst, 1),
		clientNeeds: rate.New(cfg.clientNeed, clientNeedBurst, 1<<12),
		newRiders:   rate.New(cfg.NewRidersRate, newRidersBurst*cfg.NewRidersRate, 1<<12),

		inflates: make(chan struct{}, 2*runtime.GOMAXPROCS(0)),
		refused:  refused{logger: cfg.Logger},
		top:      top.Senders{Logger: cfg.Logger},
		stats:    Stats{Reasons: make(map[string]uint64), OutOfRange: make(map[string]uint64)},
	}
	s.reads = &reads{
		reader: &query.Reader{Sources: cfg.Reader}, senders: &s.senders, over: s.over, held: &s.held,
		maxAhead: cfg.Limits.Times.MaxAhead, taker: cfg.taker,
		slots: budget{most: readsAtOnce}, answers: budget{most: cfg.MaxReading},
		rates:  rate.New(cfg.ReadRate, readsBurst*cfg.ReadRate, readersTracked),
		recent: recentAreas{list: make(map[area]*areaAnswer)},
	}
	s.ln = conns.New(ln, conns.Config{
		Most: cfg.MaxConnections, Ours: s.senders.trusts, RetryAfter: retryAfter,
		Held: func(client netip.Addr) { s.held.note(shareOfConnections, client, time.Now()) },
	})
	s.over.LeaveOut(s.reads.answers.used.Load)
	s.pool.New = func() any { return new(request) }
	s.large.New = s.pool.New
	s.app = fiber.New(fiber.Config{
		AppName:               "pingline",
		ReadTimeout:           cfg.HeadTimeout,
		WriteTimeout:          cfg.WriteTimeout,
		IdleTimeout:           cfg.IdleTimeout,
		ReadBufferSize:        framing.HeadBytes,
		DisableStartupMessage: true,
		DisableDefaultDate:    true,
		ErrorHandler:          s.unreadable,
		JSONEncoder:           plainJSON,
		// A request comes before its body, so that it can be refused, or its body
		// limited. Forms would be read whole, into files if they are large.
		StreamRequestBody:            true,
		DisablePreParseMultipartForm: true,
	})
	s.app.Server().ContinueHandler = s.mayContinue
	s.app.Server().HeaderReceived = forgetExpect
	s.app.Use(s.observe)
	if len(cfg.CORSOrigins) > 0 {
		s.app.Use(cors(cfg.CORSOrigins))
	}
	s.app.Get("/healthz", s.health)
	s.app.Get("/readyz", s.ready)
	if err := s.phoneRoutes(append(s.reads.routes(s.app), "/healthz", "/readyz")); err != nil {
		_ = ln.Close()
		return nil, err
	}
	for _, path := range append(s.reads.served, "/healthz", "/readyz") {
		s.routes = append(s.routes, "GET "+params.ReplaceAllString(path, "{$1}"))
	}
	s.app.Get("/", index(cfg.Version, s.routes, func() (string, int) { return s.unready(), s.over.Level() }))
	s.app.Use(noRoute)
	return s, nil
}

// Addr returns the address the server listens on.
func (s *Server) Addr() net.Addr { return s.ln.Addr() }

// Leave has /readyz refuse, so that a load balancer sends its clients elsewhere. All
// else goes on.
func (s *Server) Leave() { s.leaves.Store(true) }

// unready returns why no pings should be sent here, or "".
func (s *Server) unready() string {
	if s.leaves.Load() {
		return "about to stop"
	}
	return s.cfg.Writer.Unready()
}

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
func (s *Server) Stats() Stats {
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
	st.InProgress = s.budget.used.Load() + s.reserve.used.Load()
	st.Reading = s.reads.answers.used.Load()
	open := s.ln.Stats()
	st.Connections, st.TurnedAway, st.Displaced = open.Open, open.Refused, open.Displaced
	st.MaxInProgress, st.MaxReading, st.MaxConnections = s.budget.most+s.reserve.most, s.reads.answers.most, int64(s.cfg.MaxConnections)
	return st
}

func (s *Server) health(c *fiber.Ctx) error {
	return c.SendString("ok\n")
}

// ready answers 200 while pings are being accepted.
func (s *Server) ready(c *fiber.Ctx) error {
	notes := append([]string{}, s.over.Notes()...)
	if note := s.bringers.Most(int(60*cmp.Or(s.cfg.NewRidersRate, usualNewRiders)), ifProxy, time.Now()); note != "" {
		notes = append(notes, note)
	}
	notes = append(notes, s.held.notes(time.Now())...)
	if s.over.Level() > 0 {
		notes = append(notes, s.top.Notes(time.Now())...)
	}
	if s.cfg.Notes != nil {
		notes = append(notes, s.cfg.Notes()...)
	}
	state := readiness{Ready: true, Level: s.over.Level(), Notes: notes}
	if reason := s.unready(); reason != "" {
		state.Ready, state.Reason = false, reason
		c.Status(fiber.StatusServiceUnavailable)
		c.Set(fiber.HeaderRetryAfter, retryAfter())
	}
	return c.JSON(state)
}
