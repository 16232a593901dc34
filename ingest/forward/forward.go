// Package forward has pings judged by the node that owns their part.
//
// Riders are hashed into parts (partition.Part), and a part has a single owner, whose writer judges its pings. A
// Forwarder splits a request: the node's own pings go to its writer, the rest to their owners. It answers when all of
// them are durable. If a part has no answer, the whole request is refused by an error wrapping ingest.ErrUnavailable,
// though some of its pings may be stored; sending it again is safe. The package itself sends nothing twice. A client may
// prefer the verdicts of the other parts: then pings of a part without an answer have no verdict.
//
// Between nodes, requests that wait for the same peer share a message, in the way in which requests share a commit:
// they are gathered while earlier messages are under way. Messages are HTTP with a binary body of a numbered form; a
// peer of another form, or of another number of parts, is refused.
//
// Peers prove that they belong together by a secret, or by certificates. With a secret alone nothing is encrypted: a
// read that is heard can be asked again for as long as its stamp is valid, and pings heard again are duplicates.
package forward

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"pingline"
	"pingline/ingest"
	"pingline/partition"
)

// Config sets up a Forwarder. Parts, Local, Owner and Peer are required.
type Config struct {
	Parts int // a power of two of [2, partition.MaxParts]
	Own   int // part of this node, [0, Parts); -1 if it has none

	Local    func(*ingest.Job) error                    // has pings of the own part judged: the writer's Submit
	Owner    func(part int) string                      // host:port of a part's owner, "" if none is known; called for each request
	Name     func(part int) string                      // name of that owner, for clients and operators; nil: it has none
	Suspect  func(part int, addr string)                // told that addr did not answer, or does not own part; nil: nobody is told
	LetGo    func(part int) time.Time                   // when its owner let it go, so that the next is on its way, else zero; nil: always zero
	Answer   fasthttp.RequestHandler                    // answers reads that peers pass on; nil: 404
	Tell     func(question, dst []byte) ([]byte, error) // appends to dst the answer to another node's Ask; nil: 404
	Peer     Security
	Patience time.Duration // longest time for which pings wait for a peer's answer; 0 means 10 s
	Logger   *slog.Logger  // nil means slog.Default()

	idle time.Duration // after which unused connections to peers are closed; 0 means 10 s
}

// Forwarder has pings judged by the owners of their parts, and judges those of its own part for peers. It is safe for
// concurrent use.
type Forwarder struct {
	cfg     Config
	ln      net.Listener
	server  fasthttp.Server
	seal    *seal // nil: certificates alone
	splits  sync.Pool
	calls   sync.Pool
	mails   sync.Pool
	parcels sync.Pool
	inWork  atomic.Int64   // bytes of messages of peers
	sending sync.WaitGroup // goroutines that send messages

	refused, messages, jobs, passed atomic.Uint64
	waiting                         atomic.Int64
	moved                           [partition.MaxParts]atomic.Int64 // ns since 1970, when its node last said that a part is not its own

	mu      sync.RWMutex // guards the fields below; taken before a neighbour's
	peers   map[string]*neighbour
	stopped bool

	counts sync.Mutex // guards stats; nothing else is locked under it
	stats  Stats
}

// Stats are counts since the start of the process. For each node,
//
//	pings received + Taken + Unanswered = verdicts of the writer + rejected or shed at the door + all of Sent + Unavailable
//
// where received and rejected are those of the requests that were answered.
type Stats struct {
	Sent        [pingline.Verdicts]uint64 // pings that peers judged for us, by verdict, of requests that were answered
	Unanswered  uint64                    // pings judged here, of requests that were refused because another part was away
	Unavailable uint64                    // pings without a verdict, of requests that were answered in part
	Taken       uint64                    // pings judged here for peers
	Refused     uint64                    // requests to the listener by somebody who is not proved to be a peer
	Away        uint64                    // jobs that no peer judged: no owner, no answer, a refusal
	Messages    uint64                    // sent to peers
	Jobs        uint64                    // sent to peers, in messages
	Passed      uint64                    // reads that peers answered for us
	InProgress  int64                     // jobs that wait for the answer of a peer
}

// New returns a Forwarder that serves peers at ln from Run on, or an error naming the setting that is wrong. The
// listener is the Forwarder's.
func New(cfg Config, ln net.Listener) (*Forwarder, error) {
	cfg.Patience = cmp.Or(cfg.Patience, 10*time.Second)
	cfg.Logger = cmp.Or(cfg.Logger, slog.Default())
	cfg.idle = cmp.Or(cfg.idle, 10*time.Second)
	if cfg.Suspect == nil {
		cfg.Suspect = func(int, string) {}
	}
	if cfg.LetGo == nil {
		cfg.LetGo = func(int) time.Time { return time.Time{} }
	}
	if cfg.Name == nil {
		cfg.Name = func(int) string { return "" }
	}
	switch {
	case cfg.Parts < 2 || cfg.Parts > partition.MaxParts || cfg.Parts&(cfg.Parts-1) != 0:
		return nil, fmt.Errorf("%d parts: not a power of two in [2, %d]", cfg.Parts, partition.MaxParts)
	case cfg.Own < -1 || cfg.Own >= cfg.Parts:
		return nil, fmt.Errorf("part %d: not in [0, %d), and not -1", cfg.Own, cfg.Parts)
	case cfg.Local == nil || cfg.Owner == nil:
		return nil, errors.New("a Forwarder needs Local and Owner")
	}
	if err := cfg.Peer.check(); err != nil {
		return nil, err
	}
	f := &Forwarder{cfg: cfg, ln: ln, peers: make(map[string]*neighbour)}
	if cfg.Peer.ServerTLS != nil {
		f.ln = &proving{tls.NewListener(ln, cfg.Peer.ServerTLS), &f.refused}
	}
	if len(cfg.Peer.Secret) > 0 {
		f.seal = newSeal(cfg.Peer.Secret)
	}
	f.splits.New = func() any { return new(split) }
	f.calls.New = func() any { return newCall() }
	f.mails.New = func() any { return new(mail) }
	f.parcels.New = func() any { return new(bundle) }
	f.server = fasthttp.Server{
		Handler:            f.serve,
		ReadTimeout:        bodyTimeout,
		WriteTimeout:       readTimeout,
		IdleTimeout:        2 * time.Minute, // peers close their ends before
		Concurrency:        mostConnections,
		ReadBufferSize:     headBytes,
		MaxRequestBodySize: maxBody,

		MaxIdleWorkerDuration: cfg.idle,
		NoDefaultServerHeader: true,
		NoDefaultDate:         true,
		NoDefaultContentType:  true,
		CloseOnShutdown:       true,
		// The head is looked at before the body is read, so that a stranger's is not.
		StreamRequestBody:            true,
		DisablePreParseMultipartForm: true,
		Logger:                       log.New(io.Discard, "", 0), // strangers could fill it
	}
	return f, nil
}

// Run serves peers until ctx ends, then waits for what is under way, and returns nil. Any other return is a failure.
// Afterwards no pings go to peers.
func (f *Forwarder) Run(ctx context.Context) error {
	defer f.stop()
	served := make(chan error, 1)
	go func() { served <- f.server.Serve(f.ln) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve peers at %v: %w", f.ln.Addr(), cmp.Or(err, net.ErrClosed))
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.cfg.Patience+readTimeout)
	defer cancel()
	err := f.server.ShutdownWithContext(grace)
	if cerr := f.ln.Close(); cerr != nil && !errors.Is(cerr, net.ErrClosed) { // frees a server that had not begun to accept
		err = errors.Join(err, cerr)
	}
	return errors.Join(err, <-served)
}

// stop ends the way to peers once what is under way is answered.
func (f *Forwarder) stop() {
	f.mu.Lock()
	f.stopped = true
	f.mu.Unlock()
	f.sending.Wait()
	for _, n := range f.peers {
		n.close()
	}
}

// Addr returns the address at which peers are served.
func (f *Forwarder) Addr() net.Addr { return f.ln.Addr() }

// Trouble returns a sentence for each part whose owner does not answer, or refuses, as far as is known.
func (f *Forwarder) Trouble() (list []string) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	for part := range f.cfg.Parts {
		n := f.peers[f.cfg.Owner(part)]
		if n == nil {
			continue
		}
		n.mu.Lock()
		if n.cause != "" {
			list = append(list, fmt.Sprintf("part %d, node %s: %s", part, f.cfg.Name(part), n.cause))
		}
		n.mu.Unlock()
	}
	return list
}

// Stats returns the counts so far.
func (f *Forwarder) Stats() Stats {
	f.counts.Lock()
	s := f.stats
	f.counts.Unlock()
	s.Refused, s.Messages, s.Jobs, s.Passed = f.refused.Load(), f.messages.Load(), f.jobs.Load(), f.passed.Load()
	s.InProgress = f.waiting.Load()
	return s
}
