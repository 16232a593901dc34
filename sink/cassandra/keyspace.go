// Package cassandra keeps pings and points in tables of Apache Cassandra 4 or later, or of a
// ScyllaDB, and reads them back.
//
// A partition has the pings of a rider and a UTC day. A write is a request for each partition
// in it, an unlogged batch where several rows are of one, sent to a node that holds the
// partition, many at once and bounded. Requests are idempotent: of a row that is written twice
// the last content stays. A write is durable as far as the consistency says. The package makes
// the keyspace and the tables, and never alters one. It retries nothing, but for a request
// whose node was lost, which goes to another node once. It keeps nothing and drops no row.
package cassandra

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"pingline/sink/store"
)

// Keyspace is a keyspace of a Cassandra. Safe for concurrent use. No error of it contains the
// password.
type Keyspace struct {
	cfg   Config
	to    *clusterURL
	where string // hosts and keyspace, for texts

	mu      sync.Mutex // guards link, dialing and closed; nothing else is locked under it
	link    *link      // nil if there is none
	dialing *dialing   // a link on its way
	closed  bool

	making  chan struct{}  // held while the tables are looked at or made
	closing sync.WaitGroup // sessions that are being made or closed
	noted   atomic.Pointer[string]
	bare    atomic.Pointer[string] // why pings are kept without attributes; "" if with them, nil if not known
	spans   spanCache
}

var (
	_ store.Store       = (*Keyspace)(nil)
	_ store.Reader      = (*Keyspace)(nil)
	_ store.PointReader = (*Keyspace)(nil)
	_ store.Eraser      = (*Keyspace)(nil)
	_ store.Retainer    = (*Keyspace)(nil)
	_ store.Noter       = (*Keyspace)(nil)
	_ store.Checker     = (*Keyspace)(nil)
)

const (
	defaultTimeout   = 10 * time.Second
	defaultBatchRows = 100

	// inFlightPerNode bounds the requests that are on their way at once, for each node.
	inFlightPerNode = 64
)

// New returns the keyspace that cfg names, or a *KeyspaceFault; it does not connect.
func New(cfg Config) (*Keyspace, error) {
	cfg.Timeout = cmp.Or(cfg.Timeout, defaultTimeout)
	cfg.BatchRows = cmp.Or(cfg.BatchRows, defaultBatchRows)
	cfg.Logger = cmp.Or(cfg.Logger, slog.Default())
	to, err := cfg.check()
	if err != nil {
		return nil, err
	}
	return &Keyspace{cfg: cfg, to: to, where: strings.Join(to.hosts, ",") + "/" + to.keyspace, making: make(chan struct{}, 1)}, nil
}

// link is a session, and the tables that it found.
type link struct {
	session *gocql.Session
	slots   chan struct{} // held by requests on their way
	nodes   int

	fits atomic.Bool // the tables are known to be there and to fit
}

// dialing is a link that is being made.
type dialing struct {
	done chan struct{} // closed when link and err are set
	link *link
	err  error
}

// open returns a session, which it makes if there is none. Callers wait for the same one; a
// caller whose ctx ends does not wait longer.
func (k *Keyspace) open(ctx context.Context) (*link, error) {
	k.mu.Lock()
	if k.link != nil || k.closed {
		defer k.mu.Unlock()
		if k.closed {
			return nil, errClosed
		}
		return k.link, nil
	}
	d := k.dialing
	if d == nil {
		d = &dialing{done: make(chan struct{})}
		k.dialing = d
		k.closing.Go(func() { k.dial(d) })
	}
	k.mu.Unlock()
	select {
	case <-d.done:
		return d.link, d.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

var errClosed = errors.New("the store is closed")

func (k *Keyspace) dial(d *dialing) {
	d.link, d.err = k.connect()
	k.mu.Lock()
	defer k.mu.Unlock()
	defer close(d.done)
	k.dialing = nil
	switch {
	case d.err != nil:
	case k.closed:
		d.link.session.Close()
		d.link, d.err = nil, errClosed
	default:
		k.link = d.link
	}
}

// connect makes a session. It names the keyspace, which need not be there, for the driver to
// learn which nodes hold a partition of it.
func (k *Keyspace) connect() (*link, error) {
	c := gocql.NewCluster(k.to.hosts...)
	c.ProtoVersion = 4 // which every server speaks that we know
	c.NumConns = 2
	c.Timeout, c.ConnectTimeout, c.WriteTimeout = k.cfg.Timeout, k.cfg.Timeout, k.cfg.Timeout
	c.Consistency = k.to.consistency
	c.DefaultIdempotence = true
	c.RetryPolicy = otherNode{}
	c.ReconnectInterval = time.Second
	c.ReconnectionPolicy = &gocql.ConstantReconnectionPolicy{MaxRetries: 1, Interval: 100 * time.Millisecond}
	c.MaxWaitSchemaAgreement = k.cfg.Timeout
	c.Metadata.CacheMode = gocql.KeyspaceOnly
	c.Logger = silent{}
	c.HostDialer = &nodeDialer{&k.cfg, k.to}
	if k.to.user != "" {
		c.AuthProvider = func(*gocql.HostInfo) (gocql.Authenticator, error) { return k.cfg.login(k.to.user) }
	}
	fallback := gocql.RoundRobinHostPolicy()
	if k.to.datacenter != "" {
		fallback = gocql.DCAwareRoundRobinPolicy(k.to.datacenter)
	}
	c.PoolConfig.HostSelectionPolicy = gocql.TokenAwareHostPolicy(fallback, gocql.ShuffleReplicas())
	seen := &lastConnect{}
	c.ConnectObserver = seen
	session, err := c.CreateSession()
	if err != nil {
		return nil, seen.explain(err)
	}
	nodes := max(1, len(session.GetHosts()))
	return &link{session: session, slots: make(chan struct{}, inFlightPerNode*nodes), nodes: nodes}, nil
}

// forget has the next caller make a session anew, and closes l.
func (k *Keyspace) forget(l *link) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.link != l {
		return
	}
	k.link = nil
	k.closing.Go(l.session.Close)
}

// Close lets go of connections.
func (k *Keyspace) Close() error {
	k.mu.Lock()
	l := k.link
	k.link, k.closed = nil, true
	k.mu.Unlock()
	if l != nil {
		l.session.Close()
	}
	k.closing.Wait()
	return nil
}

// otherNode has a request that lost its node sent to another one, once. An answer of a
// server is passed on, whatever it is.
type otherNode struct{}

func (otherNode) Attempt(q gocql.RetryableQuery) bool { return q.Attempts() < 2 }

func (otherNode) GetRetryType(err error) gocql.RetryType {
	if errors.As(err, new(gocql.RequestError)) {
		return gocql.Rethrow
	}
	return gocql.RetryNextHost
}

// lastConnect keeps why connections were not made: the driver's own error is only a text.
type lastConnect struct {
	mu  sync.Mutex // guards err; nothing else is locked under it
	err error
}

// ObserveConnect is that of gocql.ConnectObserver.
func (l *lastConnect) ObserveConnect(c gocql.ObservedConnect) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.Err != nil {
		l.err = c.Err
	}
}

// explain returns the cause of an error of a session that was not made.
func (l *lastConnect) explain(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return fmt.Errorf("connect: %w", l.err)
	}
	return err
}

// silent is the driver's log: whatever matters is an error, too.
type silent struct{}

func (silent) Error(string, ...gocql.LogField)   {}
func (silent) Warning(string, ...gocql.LogField) {}
func (silent) Info(string, ...gocql.LogField)    {}
func (silent) Debug(string, ...gocql.LogField)   {}

var newestStamp atomic.Int64

// stamp returns a time of writing, µs since 1970, later than all before it: of two writes of
// the same row by this process the second wins, though the clock may have been set back.
func stamp() int64 {
	for {
		last := newestStamp.Load()
		next := max(time.Now().UnixMicro(), last+1)
		if newestStamp.CompareAndSwap(last, next) {
			return next
		}
	}
}

// Notes tells of a schema that does not fit, as store.Noter wants it.
func (k *Keyspace) Notes() []string {
	if note := k.noted.Load(); note != nil && *note != "" {
		return []string{*note}
	}
	return nil
}

func (k *Keyspace) note(text string) { k.noted.Store(&text) }
