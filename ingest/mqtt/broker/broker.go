// Package broker is a broker of MQTT 3.1, 3.1.1 and 5, by which phones with OwnTracks send
// without another server between.
//
// It takes messages, and hands none on: subscriptions are granted and stay silent, nothing is
// retained, and of a session only that there is one is remembered, until a restart. A message of QoS 1 or 2 is acknowledged
// once its pings are durable. While the server takes none, the broker tries again for a
// minute, and then ends the connection without an acknowledgement, so that the phone sends the
// message again. A message of QoS 0 is tried as long, and then lost, as its sender accepts.
//
// A sender is let in by the rider as user name and a key or token as password, or by a client
// certificate. It may publish for the riders of its key only.
package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"sync"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"

	"pingline/ingest/auth"
	"pingline/ingest/mqtt"
	"pingline/ingest/mqtt/link"
	"pingline/ingest/server/certs"
	"pingline/ingest/server/conns"
	"pingline/ingest/server/sender"
	"pingline/ingest/server/share"
)

// Config sets up a Broker. Take, MaxConnections and MaxPayload are required.
type Config struct {
	Listen string // host:port; port 0 picks a free one
	Take   mqtt.Take
	Gate   *auth.Gate          // lets senders in; nil: everybody may send
	TLS    *certs.Certificates // nil: plain TCP

	MaxConnections int            // beyond which each new connection closes one that waits for its client
	MaxPayload     int            // bytes of a message, beyond which it is acknowledged and lost
	MaxInProgress  int64          // bytes of packets in work, beyond which connections end; 0 means 32 MiB
	TrustedProxies []netip.Prefix // whose connections are of many clients
	Grace          time.Duration  // for messages in work when told to stop; 0 means 15 s

	patience time.Duration // how long a message is tried; 0 means a minute
}

// Broker takes messages of phones. It is safe for concurrent use.
type Broker struct {
	cfg     Config
	ln      *conns.Listener
	server  *mochi.Server
	limits  link.Caps
	senders *sender.Finder
	stop    chan struct{} // closed when no message is tried again

	mu    sync.Mutex                   // guards links; nothing else is locked under it
	links map[*link.Link]*mochi.Client // nil before CONNECT

	sessions sessions
	count    mqtt.Counter
}

// Open listens.
func Open(cfg Config) (*Broker, error) {
	cfg.MaxInProgress = cmp.Or(cfg.MaxInProgress, 32<<20)
	cfg.Grace = cmp.Or(cfg.Grace, 15*time.Second)
	cfg.patience = cmp.Or(cfg.patience, time.Minute)
	b := &Broker{cfg: cfg, senders: sender.New(cfg.TrustedProxies), stop: make(chan struct{}), links: make(map[*link.Link]*mochi.Client), sessions: sessions{most: 2 * cfg.MaxConnections, seed: maphash.MakeSeed()}}
	b.limits = link.Caps{MaxPayload: cfg.MaxPayload, Budget: share.New(cfg.MaxInProgress)}
	capabilities := mochi.NewDefaultServerCapabilities()
	capabilities.MaximumSessionExpiryInterval = uint32(sessionLasts.Seconds())
	capabilities.MaximumClientWritesPending = 1 // nothing is handed on
	capabilities.TopicAliasMaximum = 0
	capabilities.SharedSubAvailable = 0
	b.server = mochi.New(&mochi.Options{
		Capabilities: capabilities, ClientNetReadBufferSize: 512,
		Logger:                 slog.New(slog.DiscardHandler), // it logs packets, with passwords and positions
		SysTopicResendInterval: math.MaxInt32,
	})
	if err := b.server.AddHook(&hook{b: b}, nil); err != nil {
		return nil, fmt.Errorf("--mqtt-listen: %w", err)
	}
	ln, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("--mqtt-listen: %w", err)
	}
	b.ln = conns.New(ln, conns.Config{Most: cfg.MaxConnections, Ours: b.senders.Trusts, TLS: cfg.TLS, Unframed: true})
	return b, nil
}

// Addr returns the address that the broker listens on, or nil if b is nil.
func (b *Broker) Addr() net.Addr {
	if b == nil {
		return nil
	}
	return b.ln.Addr()
}

// Close closes the listener of a broker that does not run.
func (b *Broker) Close() error { return b.ln.Close() }

// Run takes messages until ctx is cancelled, then waits up to Grace for those in work, and
// returns nil. Any other return is a failure.
func (b *Broker) Run(ctx context.Context) error {
	var open sync.WaitGroup
	stopped := context.AfterFunc(ctx, func() { _ = b.ln.Close() })
	defer stopped()
	for {
		c, err := b.ln.Accept()
		if errors.Is(err, net.ErrClosed) && ctx.Err() != nil {
			break
		}
		if err != nil {
			return fmt.Errorf("--mqtt-listen: %w", err)
		}
		open.Go(func() { b.serve(c) })
	}
	close(b.stop)
	b.each((*link.Link).Leave)
	ended := make(chan struct{})
	go func() { open.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(b.cfg.Grace):
		b.each(func(l *link.Link) { _ = l.Close() })
		<-ended
	}
	return nil
}

// each calls f with each open link.
func (b *Broker) each(f func(*link.Link)) {
	b.mu.Lock()
	all := make([]*link.Link, 0, len(b.links))
	for l := range b.links {
		all = append(all, l)
	}
	b.mu.Unlock()
	for _, l := range all {
		f(l)
	}
}

// serve serves a connection until it ends. The library's own loop of sessions, expiries and
// system topics does not run, as there are none.
func (b *Broker) serve(c net.Conn) {
	addr := conns.HostOf(c.RemoteAddr())
	l := link.New(c, &b.limits, b.senders.Key(conns.NetworkOf(addr)), b.senders.Trusts(addr))
	b.mu.Lock()
	b.links[l] = nil
	b.mu.Unlock()
	select {
	case <-b.stop: // each may have missed l
		l.Leave()
	default:
	}
	_ = b.server.EstablishConnection(listener, l) // why it ended is told where it is known
	_ = l.Close()
	l.Free()
	b.mu.Lock()
	cl := b.links[l]
	delete(b.links, l)
	b.mu.Unlock()
	if cl == nil {
		return
	}
	// The library keeps a client whose connection ends before its CONNACK has left.
	if known, _ := b.server.Clients.Get(cl.ID); known == cl {
		b.server.Clients.Delete(cl.ID)
	}
}

// listener is the name of the only listener.
const listener = "mqtt"

// Stats returns the counts so far, or nil if b is nil.
func (b *Broker) Stats() *mqtt.BrokerStats {
	if b == nil {
		return nil
	}
	open := b.ln.Stats()
	return &mqtt.BrokerStats{Open: open.Open, Displaced: open.Displaced, Messages: b.count.Messages()}
}
