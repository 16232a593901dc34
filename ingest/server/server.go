package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"pingline/ingest"
	"pingline/ingest/auth"
	"pingline/ingest/friends"
	"pingline/ingest/phone"
	"pingline/ingest/privacy"
	"pingline/ingest/server/aside"
	"pingline/ingest/server/certs"
	"pingline/ingest/server/clocks"
	"pingline/ingest/server/conns"
	"pingline/ingest/server/framing"
	"pingline/ingest/server/guard"
	"pingline/ingest/server/leaving"
	"pingline/ingest/server/manners"
	"pingline/ingest/server/minrate"
	"pingline/ingest/server/outcomes"
	"pingline/ingest/server/pages"
	"pingline/ingest/server/rate"
	"pingline/ingest/server/reads"
	"pingline/ingest/server/sender"
	"pingline/ingest/server/share"
	"pingline/ingest/server/top"
	"pingline/internal/plainjson"
	"pingline/partition"
	"pingline/query"
	"pingline/query/stream"
)

// Config sets up a Server. Writer is required.
type Config struct {
	Listen string       // host:port; port 0 picks a free one
	Aside  aside.Config // a second address, for apps that know no path
	Writer *ingest.Writer
	Submit func(*ingest.Job) error                          // has a request's pings judged; nil: the Writer's
	Pass   func(*fasthttp.RequestCtx, string) (bool, error) // see reads.Config; nil: all riders are this node's
	Cells  partition.Cells
	Gate   *auth.Gate          // lets senders in; nil: everybody may send and read
	TLS    *certs.Certificates // nil: plain HTTP
	Reader query.Sources       // for the routes of reads; nil State and Line are the Writer's

	Streams     *stream.Hub // nil: none
	Resolutions []int       // of the cells that streams may tell of

	Protocols []phone.Protocol // protocols of pings
	Limits    phone.Limits     // limits of the pings of a request
	Friends   *friends.Friends // of those who send; nil: none
	Door      *privacy.Door    // changes pings before all else sees them; nil: as its zero value

	MaxBody     int // bytes of a body as it is sent; 0 means 4 MiB
	MaxInflated int // bytes of a body after decompression; 0 means 16 MiB

	// Kept, if set, returns the retention of the stores for pings without an event, and
	// for pings with an event; 0: for ever, or not known. It must be quick.
	Kept func() (pings, events time.Duration)

	MaxInProgress  int64         // bytes of requests in work, beyond which they get 503; 0 means 256 MiB
	MaxReading     int64         // bytes of reads in work, until their answers have left, beyond which reads get 503; 0 means 64 MiB
	MaxConnections int           // beyond which each new connection closes a connection that waits for its client; 0 means 10,000
	HeadTimeout    time.Duration // for a request's header and the first 8 KiB of its body to arrive; 0 means 10 s
	WriteTimeout   time.Duration // for an answer to be taken; 0 means 30 s
	IdleTimeout    time.Duration // between requests of a connection; 0 means 2 m
	Grace          time.Duration // for requests in flight when told to stop; 0 means 15 s

	RiderRate      float64        // pings/s of a rider; 0: no limit
	RiderBurst     float64        // pings of a rider that may come at once
	ClientRate     float64        // pings/s of a client, a minute's worth at once; 0: no limit
	NewRidersRate  float64        // tracks/s of a client that the filter does not know, two minutes' worth at once; 0: no limit
	ReadRate       float64        // reads/s of a client, ten seconds' worth at once; 0: no limit
	TrustedProxies []netip.Prefix // proxies whose X-Forwarded-For tells the client

	Version string // of the program, for people

	Pages pages.Responder // for browsers; nil: none

	Logger      *slog.Logger // logs pings that are refused for good; nil: no log
	CORSOrigins []string     // origins of pages in browsers that may send and read; "*" is all

	pace       minrate.Rate // of bodies; the zero value means slowestPhone
	taker      minrate.Rate // of answers; the zero value means leaving.Slowest
	clientNeed float64      // requests/s of a client in need; 0 means clientNeedRate

	// Notes, if set, returns further notes for operators in the answer of /readyz.
	Notes func() []string
	// ObserveRequest, if set, is called for each request.
	ObserveRequest func(route string, status int, took time.Duration)
}

// ConnectionBytes is the most memory of a connection, in bytes, besides its requests in
// work: its goroutine, its buffers, and the longest head, which fasthttp keeps. A
// connection between short requests takes a third.
const ConnectionBytes = 80 << 10

// TLSBytes is the most memory that a connection takes besides, in bytes, if it speaks TLS.
const TLSBytes = 40 << 10

// Server answers HTTP. It is safe for concurrent use.
type Server struct {
	cfg      Config
	app      *fiber.App
	ln       *conns.Listener
	aside    *aside.Address // nil: none
	over     *ingest.Overload
	pool     sync.Pool     // of *request with at most smallBytes
	large    sync.Pool     // of *request with more
	routes   []string      // METHOD /path/{parameter}
	leaves   atomic.Bool   // Leave was called
	inflates chan struct{} // held while inflating: bounds the memory of decompressors
	reads    *reads.Routes
	guard    *guard.Keeper
	senders  *sender.Finder
	dates    dates
	budget   *share.Budget // bytes of requests
	reserve  *share.Budget // bytes of requests in need

	riders, clients    *rate.Buckets
	newRiders          *rate.Buckets // of a client
	bringers           top.Bringers
	clocks             clocks.Clocks
	top                top.Senders
	held               share.Held
	refused            refused
	phones             []*outcomes.Requests // of the protocols, in order
	needs, clientNeeds *rate.Buckets        // requests that say they are in need: of all clients, and of a client

	mu    sync.Mutex // guards stats; nothing else is locked under it
	stats Stats
}

// Stats are the server's counts since the start of the process.
type Stats struct {
	Received    uint64            // pings of requests answered 200, or 400 because all were rejected
	Rejected    uint64            // received pings that are invalid
	Reasons     map[string]uint64 // rejected pings by field
	Shed        uint64            // pings shed before they were judged, because their rider is over its rate
	Corrected   uint64            // pings whose time was out of its limits and was corrected
	OutOfRange  map[string]uint64 // optional numbers out of range, by field
	Denied      map[string]uint64 // requests and connections that were not let in, by cause; nil if everybody is
	Phones      []outcomes.Count  // requests of phones by protocol and outcome
	CertExpires time.Time         // of the certificate of TLS; zero: none

	InProgress  int64  // bytes of requests in work
	Reading     int64  // bytes of reads in work, until their answers have left
	Connections int64  // open now
	TurnedAway  uint64 // connections refused for lack of a place
	Displaced   uint64 // connections closed while they waited for their client, to make a place for another

	ConnectionBytes int64 // most memory of a connection

	MaxInProgress, MaxReading, MaxConnections int64 // the limits of InProgress, Reading and Connections
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
	cfg.taker = cmp.Or(cfg.taker, leaving.Slowest)
	cfg.clientNeed = cmp.Or(cfg.clientNeed, clientNeedRate)
	ln, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("--listen: %w", err)
	}
	if cfg.Submit == nil {
		cfg.Submit = cfg.Writer.Submit
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
		budget:  share.New(cfg.MaxInProgress),
		reserve: share.New(needBytes),
		senders: sender.New(cfg.TrustedProxies),

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
	s.guard = guard.New(cfg.Gate, s.senders)
	var pass func(*fiber.Ctx, string) (bool, error)
	if cfg.Pass != nil {
		pass = func(c *fiber.Ctx, stored string) (bool, error) { return cfg.Pass(c.Context(), stored) }
	}
	s.reads = reads.New(reads.Config{
		Guard: s.guard, Names: cfg.Door.Names(), Pass: pass,
		Reader: &query.Reader{Sources: cfg.Reader}, Streams: cfg.Streams, Resolutions: cfg.Resolutions,
		MaxAhead: cfg.Limits.Times.MaxAhead,
		Senders:  s.senders, Overload: s.over, Held: &s.held,
		MaxBytes: cfg.MaxReading, Rate: cfg.ReadRate, Pace: cfg.taker,
	})
	if s.aside, err = aside.Open(cfg.Aside); err != nil {
		_ = ln.Close()
		return nil, err
	}
	s.ln = conns.New(s.aside.Join(ln), conns.Config{
		Most: cfg.MaxConnections, Ours: s.senders.Trusts, RetryAfter: retryAfter, TLS: cfg.TLS,
		Held: func(client netip.Addr) { s.held.Note(share.OfConnections, client) },
	})
	s.over.LeaveOut(s.reads.Bytes.Used)
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
		JSONEncoder:           plainjson.Marshal,
		// The handler runs before the body has come, so that it can refuse the request
		// or limit the body. Forms are not parsed: large ones would go to files.
		StreamRequestBody:            true,
		DisablePreParseMultipartForm: true,
	})
	s.app.Server().ContinueHandler = s.mayContinue
	s.app.Server().HeaderReceived = forgetExpect
	s.app.Use(s.observe)
	s.aside.Serve(s.app)
	if len(cfg.CORSOrigins) > 0 {
		s.app.Use(cors(cfg.CORSOrigins))
	}
	s.app.Get("/healthz", s.health)
	s.app.Get("/readyz", s.ready)
	all, served := s.reads.Serve(s.app)
	if err := s.phoneRoutes(append(all, "/healthz", "/readyz")); err != nil {
		_ = s.ln.Close()
		return nil, err
	}
	for _, path := range append(served, "/healthz", "/readyz") {
		s.routes = append(s.routes, manners.Route(path))
	}
	if cfg.Pages != nil {
		s.guard.Sessions(s.app)
		pages.Serve(s.app, cfg.Pages)
	}
	s.app.Get("/", index(cfg.Version, s.routes, func() (string, int) { return s.Unready(), s.over.Level() }))
	s.app.Use(noRoute)
	return s, nil
}

// Addr returns the address the server listens on.
func (s *Server) Addr() net.Addr { return s.ln.Addr() }

// Aside returns the second address that the server listens on, or nil.
func (s *Server) Aside() net.Addr { return s.aside.Addr() }

// Handler answers requests that come by no connection of the server.
func (s *Server) Handler() fasthttp.RequestHandler { return s.app.Handler() }

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
	if s.cfg.Streams != nil {
		s.cfg.Streams.Close()
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
	if st.Denied = s.guard.Denied(); st.Denied == nil && s.cfg.TLS != nil {
		st.Denied = guard.Counts(s.cfg.TLS.Failures().Stats())
	}
	st.Phones = outcomes.Counts(s.phones)
	st.CertExpires, st.ConnectionBytes = s.cfg.TLS.Expires(), ConnectionBytes
	if s.cfg.TLS != nil {
		st.ConnectionBytes += TLSBytes
	}
	st.InProgress = s.budget.Used() + s.reserve.Used()
	st.Reading = s.reads.Bytes.Used()
	open := s.ln.Stats()
	st.Connections, st.TurnedAway, st.Displaced = open.Open, open.Refused, open.Displaced
	st.MaxInProgress, st.MaxReading, st.MaxConnections = s.budget.Most()+s.reserve.Most(), s.reads.Bytes.Most(), int64(s.cfg.MaxConnections)
	return st
}
