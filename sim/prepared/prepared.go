// Package prepared sends the pings of simulated phones in requests that are made
// before they are due, so that a load costs a fraction of the CPU time that a server
// spends on it. Its pings are those of sim's phones, and like sim.Load it is an open
// loop where a rate is set: latency counts from the moment at which a request was due.
//
// It is made to measure a server that takes all it is sent. Nothing is sent again,
// no phone has faults, and answers are counted by status: what became of the pings,
// the server's own counters say.
package prepared

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"pingline/internal/pause"
	"pingline/sim"
)

// Config says which pings to send where. Stock and Addr are required.
type Config struct {
	Stock       *Stock     // the pings
	Addr        string     // of the server, host:port, or of several, in a list: the connections take turns
	Path        string     // "" means /v1/pings
	Format      sim.Format // of the bodies; "" means JSON
	Batch       int        // pings in a request; 0 means 100
	Connections int        // 0 means 64; a connection has one request under way
	Begin       int64      // ts of the first pings, ms since 1970
	Most        int        // pings in all, about; 0 means no end, but compressed pings cannot be given new times: it says how many are made
	Again       bool       // compressed requests are sent again when all were; else the load ends with them
}

// Phase is a part of a load.
type Phase struct {
	Rate  float64       // pings/s over all connections; 0 means as fast as the answers come
	Warm  time.Duration // before the window in which is measured
	For   time.Duration // how long the window is; without a rate it lasts until the first answer at least
	Began func()        // called when the window begins, and
	Ended func()        // when it ends; nil means nothing
}

// Measured counts the events in the window of a phase.
type Measured struct {
	Lasts    time.Duration   // how long it was: less than Phase.For if the requests ran out
	Requests uint64          // answered with a 2xx
	Pings    uint64          // in those
	Latency  []time.Duration // of each answered request, in order of length
	Refused  map[int]uint64  // requests of the whole phase by status, but 2xx
	Unsent   uint64          // requests that were due and not sent when the phase had ended
}

// Quantile returns how long the share q of the requests took at most, 0 if there
// were none.
func (m *Measured) Quantile(q float64) time.Duration {
	if len(m.Latency) == 0 {
		return 0
	}
	return m.Latency[min(len(m.Latency)-1, int(q*float64(len(m.Latency))))]
}

// Generator is a load, connected to its server. Its methods are not safe for
// concurrent use.
type Generator struct {
	cfg   Config
	conns []*connection
}

// patience is how long after the end of a phase its last answers are waited for.
const patience = 20 * time.Second

// New makes the requests and connects.
func New(ctx context.Context, cfg Config) (*Generator, error) {
	if cfg.Format == "" {
		cfg.Format = sim.JSON
	}
	if cfg.Batch == 0 {
		cfg.Batch = 100
	}
	if cfg.Connections == 0 {
		cfg.Connections = 64
	}
	switch {
	case cfg.Batch < 1 || cfg.Connections < 1 || cfg.Most < 0:
		return nil, fmt.Errorf("load of %s: negative limit", cfg.Addr)
	case cfg.Batch*cfg.Connections > cfg.Stock.riders:
		return nil, fmt.Errorf("load of %s: %d riders are too few for %d connections and batches of %d", cfg.Addr, cfg.Stock.riders, cfg.Connections, cfg.Batch)
	}
	if cfg.Path == "" {
		cfg.Path = "/v1/pings"
	}
	g, addrs := &Generator{cfg: cfg, conns: make([]*connection, cfg.Connections)}, strings.Split(cfg.Addr, ",")
	var work sync.WaitGroup
	failed := make([]error, cfg.Connections)
	turn := make(chan struct{}, 2) // encoding holds memory, and a core each
	for i := range g.conns {
		work.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			g.conns[i] = &connection{addr: addrs[i%len(addrs)]}
			failed[i] = g.conns[i].make(&g.cfg, i)
		})
	}
	work.Wait()
	for i, c := range g.conns { // now, since servers give up on connections that are silent
		if failed[i] == nil {
			failed[i] = c.dial(ctx)
		}
	}
	if err := errors.Join(failed...); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return g, nil
}

// Close closes the connections.
func (g *Generator) Close() (failure error) {
	for _, c := range g.conns {
		if c != nil && c.conn != nil {
			failure = errors.Join(failure, c.conn.Close())
		}
	}
	return failure
}

// Run sends a phase and measures it. The next phase goes on with the
// pings after its last. It fails if a connection does.
func (g *Generator) Run(ctx context.Context, p Phase) (*Measured, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	start := time.Now()
	t := &phaseClock{start: start, from: start.Add(p.Warm), until: start.Add(p.Warm + p.For), answered: make(chan struct{})}
	if p.Rate > 0 {
		t.gap = time.Duration(float64(len(g.conns)*g.cfg.Batch) / p.Rate * float64(time.Second))
	}
	window, closeWindow := context.WithCancel(ctx)
	t.stop = sync.OnceFunc(func() {
		t.ended = time.Now()
		if p.Ended != nil && t.open.Load() {
			p.Ended()
		}
		t.over.Store(true)
		closeWindow()
	})
	defer t.stop()
	deadline := t.until.Add(patience)
	var work sync.WaitGroup
	failed := make([]error, len(g.conns))
	for i, c := range g.conns {
		if err := c.begin(i, len(g.conns), deadline); err != nil {
			return nil, err
		}
	}
	for i, c := range g.conns {
		work.Go(func() {
			if failed[i] = c.run(ctx, t); failed[i] != nil {
				cancel()
			}
		})
	}
	if pause.For(window, time.Until(t.from)) == nil {
		if p.Began != nil {
			p.Began()
		}
		t.began = time.Now()
		t.open.Store(true)
		t.last(window, p.For)
	}
	t.stop()
	work.Wait()
	err := errors.Join(failed...)
	switch {
	case err != nil:
	case ctx.Err() != nil:
		err = ctx.Err()
	case !t.open.Load():
		err = errors.New("all requests were sent before the window began")
	default:
		return g.collect(t), nil
	}
	return nil, fmt.Errorf("load of %s: %w", g.cfg.Addr, err)
}

// collect adds up the measurements of the connections.
func (g *Generator) collect(t *phaseClock) *Measured {
	m := &Measured{Lasts: t.ended.Sub(t.began), Refused: make(map[int]uint64)}
	for _, c := range g.conns {
		m.Requests += uint64(len(c.took))
		m.Pings += c.pings
		m.Unsent += c.unsent
		m.Latency = append(m.Latency, c.took...)
		for status, n := range c.refused {
			m.Refused[status] += n
		}
	}
	slices.Sort(m.Latency)
	return m
}

// phaseClock is the time of a phase, which its connections share.
type phaseClock struct {
	start, from, until time.Time
	gap                time.Duration // between two requests of a connection; 0: as soon as the answer has come

	began, ended time.Time   // of the window; written before open, and by stop
	open         atomic.Bool // the window has begun
	over         atomic.Bool // nothing more is to be sent
	stop         func()      // ends the window, once

	once     sync.Once
	answered chan struct{} // closed once a request has been answered in the window
}

// last waits until the window is over, or ctx is done.
func (t *phaseClock) last(ctx context.Context, d time.Duration) {
	if t.gap > 0 {
		d = time.Until(t.until)
	}
	if pause.For(ctx, d) != nil || t.gap > 0 {
		return
	}
	select {
	case <-t.answered:
	case <-ctx.Done():
	}
}

// connection is a connection, and its requests.
type connection struct {
	addr     string
	conn     net.Conn // nil before the first
	deadline time.Time
	answers
	requests

	due     time.Time // of the next request, in an open loop
	took    []time.Duration
	pings   uint64
	unsent  uint64
	refused map[int]uint64
}

func (c *connection) dial(ctx context.Context) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", c.addr)
	if err != nil {
		return err
	}
	c.conn, c.answers = conn, newAnswers(conn)
	return conn.SetDeadline(c.deadline)
}

// begin makes the connection ready for a phase.
func (c *connection) begin(number, of int, deadline time.Time) error {
	c.took, c.pings, c.unsent, c.refused = c.took[:0], 0, 0, make(map[int]uint64)
	c.due = time.Time{}
	c.share = float64(number) / float64(of)
	c.deadline = deadline
	return c.conn.SetDeadline(deadline)
}

// run sends until the phase is over.
func (c *connection) run(ctx context.Context, t *phaseClock) error {
	c.due = t.start.Add(time.Duration(c.share * float64(t.gap)))
	for !t.over.Load() {
		due := time.Now()
		if t.gap > 0 {
			due, c.due = c.due, c.due.Add(t.gap)
			if !due.Before(t.until) {
				return nil
			}
			if err := pause.For(ctx, time.Until(due)); err != nil {
				return err
			}
		}
		text, pings := c.next()
		if text == nil {
			t.stop()
			return nil
		}
		if _, err := c.conn.Write(text); err != nil {
			return err
		}
		status, err := c.read()
		if err != nil {
			return err
		}
		now := time.Now()
		if t.open.Load() {
			t.once.Do(func() { close(t.answered) })
		}
		switch {
		case status/100 != 2:
			c.refused[status]++
		case t.gap > 0 && !due.Before(t.from), t.gap == 0 && t.open.Load() && !t.over.Load():
			c.pings += uint64(pings)
			c.took = append(c.took, now.Sub(due))
		}
		if c.closing {
			if err := errors.Join(c.conn.Close(), c.dial(ctx)); err != nil {
				return err
			}
		}
	}
	if t.gap > 0 && c.due.Before(t.until) {
		c.unsent = uint64((t.until.Sub(c.due) + t.gap - 1) / t.gap)
	}
	return nil
}
