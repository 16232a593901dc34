// Package subscriber takes the messages of OwnTracks from a broker of others, by a
// subscription of MQTT 5.
//
// The broker has a session for the node, and keeps messages of QoS 1 while the node or the
// connection is away, as far as its own limits go. Each is acknowledged once its pings are
// durable. While the server takes none, none is acknowledged; the broker stops at the 64th and
// sends all of them again on another connection, which makes duplicates of those that were
// taken. Messages of a rider stay in order; those of many riders are taken at once.
//
// The package trusts the broker: whoever may publish there sends for the rider of the topic.
package subscriber

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"hash/maphash"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"

	"pingline/ingest/auth"
	"pingline/ingest/mqtt"
)

// Config sets up a Subscriber. Upstream, ID and Take are required.
type Config struct {
	Upstream
	ID         string // of the session at the broker
	Take       mqtt.Take
	MaxPayload int // bytes of a message, beyond which the broker throws it away; 0 means 1 MiB
	Logger     *slog.Logger
}

// Bounds of messages from the broker, and how they are taken.
const (
	inFlight     = 64 // most messages without an acknowledgement
	lanes        = 16 // of riders, in which messages are taken one after the other
	headBytes    = 8 << 10
	sessionLasts = 7 * 24 * time.Hour
	keepAlive    = 30 * time.Second
	acksEvery    = 10 * time.Millisecond
	wait         = 10 * time.Second // for an answer of the broker
)

// Subscriber takes messages from a broker. It is safe for concurrent use.
type Subscriber struct {
	cfg    Config
	url    *url.URL
	tls    *tls.Config // nil: plain TCP
	broker *auth.Identity
	seed   maphash.Seed
	lanes  [lanes]chan received
	stop   chan struct{} // closed when no further message is taken

	remote    atomic.Pointer[net.Addr] // of the broker
	connected atomic.Bool              // the subscription stands
	trouble   atomic.Pointer[string]   // why it does not, or nil
	count     mqtt.Counter
}

// received is a message, and the connection that it came by.
type received struct {
	*paho.Publish
	by *paho.Client
}

// Open reads the settings. It does not connect before Run.
func Open(cfg Config) (*Subscriber, error) {
	cfg.MaxPayload = cmp.Or(cfg.MaxPayload, 1<<20)
	cfg.Logger = cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))
	s := &Subscriber{cfg: cfg, seed: maphash.MakeSeed(), stop: make(chan struct{})}
	var err error
	if s.url, err = cfg.parse(); err != nil {
		return nil, fmt.Errorf("--mqtt-broker: %w", err)
	}
	if s.tls, err = cfg.secured(s.url); err != nil {
		return nil, err
	}
	if _, err := cfg.password(); err != nil {
		return nil, err
	}
	s.broker = auth.NewIdentity("mqtt-broker", auth.Write, auth.Everyone, time.Time{}, nil)
	for i := range s.lanes {
		s.lanes[i] = make(chan received, inFlight)
	}
	return s, nil
}

// Run takes messages until ctx is cancelled, then finishes those that are being taken, and
// returns nil. It connects again and again if need be.
func (s *Subscriber) Run(ctx context.Context) error {
	manager, err := autopaho.NewConnection(context.WithoutCancel(ctx), s.settings())
	if err != nil {
		return fmt.Errorf("--mqtt-broker: %w", err)
	}
	var taking sync.WaitGroup
	for _, lane := range s.lanes {
		taking.Go(func() { s.work(lane) })
	}
	<-ctx.Done()
	close(s.stop)
	taking.Wait()
	time.Sleep(5 * acksEvery) // acknowledgements leave by a ticker; one that does not is a duplicate later
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), wait)
	defer cancel()
	s.connected.Store(false)
	_ = manager.Disconnect(ending)
	return nil
}

// settings returns those of the connections.
func (s *Subscriber) settings() autopaho.ClientConfig {
	most, size := uint16(inFlight), uint32(s.cfg.MaxPayload+headBytes)
	return autopaho.ClientConfig{
		ServerUrls:            []*url.URL{{Scheme: s.url.Scheme, Host: s.url.Host}}, // errors quote it
		KeepAlive:             uint16(keepAlive.Seconds()),
		SessionExpiryInterval: uint32(sessionLasts.Seconds()),
		ConnectTimeout:        wait,
		ReconnectBackoff:      backoff,
		AttemptConnection:     s.dial,
		ConnectPacketBuilder: func(c *paho.Connect, _ *url.URL) (*paho.Connect, error) {
			c.Properties.ReceiveMaximum, c.Properties.MaximumPacketSize = &most, &size
			if c.Username = s.url.User.Username(); c.Username == "" {
				return c, nil
			}
			c.UsernameFlag = true
			password, err := s.cfg.password()
			c.Password, c.PasswordFlag = password, password != nil
			return c, err
		},
		OnConnectionUp: func(m *autopaho.ConnectionManager, _ *paho.Connack) { go s.subscribe(m) },
		OnConnectionDown: func() bool {
			s.fails("the connection has ended")
			return true
		},
		OnConnectError: func(err error) { s.fails(err.Error()) },
		ClientConfig: paho.ClientConfig{
			ClientID:                   s.cfg.ID,
			OnPublishReceived:          []func(paho.PublishReceived) (bool, error){s.receive},
			EnableManualAcknowledgment: true,
			SendAcksInterval:           acksEvery,
			PacketTimeout:              wait,
		},
	}
}

// backoff returns how long to wait before the nth attempt to connect: a second at first, and
// up to half a minute, with some chance in it.
func backoff(n int) time.Duration {
	most := min(time.Second<<min(n, 5), 30*time.Second)
	return most/2 + rand.N(most/2)
}

// dial connects to the broker.
func (s *Subscriber) dial(ctx context.Context, _ autopaho.ClientConfig, u *url.URL) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	if s.tls == nil {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", u.Host)
		if err == nil {
			at := c.RemoteAddr()
			s.remote.Store(&at)
		}
		return c, err
	}
	c, err := (&tls.Dialer{Config: s.tls}).DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return nil, err
	}
	at := c.RemoteAddr()
	s.remote.Store(&at)
	return packets.NewThreadSafeConn(c), nil
}

// subscribe subscribes on a new connection. It tries until it succeeds or the connection ends.
func (s *Subscriber) subscribe(m *autopaho.ConnectionManager) {
	for n := 0; ; n++ {
		ctx, cancel := context.WithTimeout(context.Background(), wait)
		_, err := m.Subscribe(ctx, subscriptions())
		cancel()
		if err == nil {
			s.trouble.Store(nil)
			s.connected.Store(true)
			s.cfg.Logger.Info("subscribed at the broker of --mqtt-broker", "broker", s.url.Host, "topics", mqtt.Filters)
			return
		}
		if err == autopaho.ConnectionDownError || err == paho.ErrConnectionLost { //nolint:errorlint // neither is wrapped
			return
		}
		s.fails(fmt.Sprintf("subscribe to %v: %v", mqtt.Filters, err))
		select {
		case <-time.After(backoff(n)):
		case <-s.stop:
			return
		}
	}
}

// subscriptions are those to the topics of the app. Retained messages come once, with the
// session.
func subscriptions() *paho.Subscribe {
	to := new(paho.Subscribe)
	for _, filter := range mqtt.Filters {
		to.Subscriptions = append(to.Subscriptions, paho.SubscribeOptions{Topic: filter, QoS: 1, RetainHandling: 1})
	}
	return to
}

// fails notes why there is no subscription, and logs it when that begins or changes.
func (s *Subscriber) fails(why string) {
	s.connected.Store(false)
	select {
	case <-s.stop:
		return
	default:
	}
	if was := s.trouble.Swap(&why); was == nil || *was != why {
		s.cfg.Logger.Warn("not subscribed at the broker of --mqtt-broker; it is tried again", "broker", s.url.Host, "reason", why)
	}
}

// receive hands a message to the lane of its rider. It blocks while the lane is full, so that
// nothing more is read; but a message of QoS 0 is lost then, lest the broker take the
// connection for dead.
func (s *Subscriber) receive(p paho.PublishReceived) (bool, error) {
	rider, _, _ := mqtt.Names(p.Packet.Topic)
	lane, m := s.lanes[maphash.String(s.seed, rider)%lanes], received{p.Packet, p.Client}
	select {
	case lane <- m:
		return true, nil
	default:
	}
	var late <-chan time.Time
	if m.QoS == 0 {
		late = time.After(wait)
	}
	select {
	case lane <- m:
	case <-late:
		s.count.Add(mqtt.Lost)
	case <-s.stop: // left to the session
	}
	return true, nil
}

// work takes the messages of a lane until the subscriber stops.
func (s *Subscriber) work(lane <-chan received) {
	for {
		select {
		case <-s.stop:
			return
		case m := <-lane:
			s.take(&m)
		}
	}
}

// take has a message taken, and acknowledges it. It tries until that succeeds or, where the
// broker sends the message again, the connection ends.
func (s *Subscriber) take(m *received) {
	rider, device, ok := mqtt.Names(m.Topic)
	if !ok {
		s.count.Add(mqtt.Ignored)
		s.acknowledge(m)
		return
	}
	msg := mqtt.Message{Rider: rider, Device: device, Payload: m.Payload, From: *s.remote.Load(), Identity: s.broker}
	ended, left := m.by.Done(), mqtt.Again
	if m.QoS == 0 {
		ended, left = nil, mqtt.Lost
	}
	for {
		select {
		case <-ended: // it comes again
			s.count.Add(left)
			return
		default:
		}
		result := s.cfg.Take(&msg)
		if result.Done() {
			s.count.Add(mqtt.Taken)
			s.acknowledge(m)
			return
		}
		select {
		case <-time.After(result.Pause()):
		case <-ended:
		case <-s.stop:
			s.count.Add(left)
			return
		}
	}
}

// acknowledge lets the acknowledgement of a message leave, behind those of the messages before
// it. If its connection has ended there is none: the message comes again.
func (s *Subscriber) acknowledge(m *received) { _ = m.by.Ack(m.Publish) }

// Stats returns the counts so far, or nil if s is nil.
func (s *Subscriber) Stats() *mqtt.SubscriberStats {
	if s == nil {
		return nil
	}
	return &mqtt.SubscriberStats{Connected: s.connected.Load(), Messages: s.count.Messages()}
}

// Notes returns a sentence if there is no subscription.
func (s *Subscriber) Notes() []string {
	if s == nil {
		return nil
	}
	why := s.trouble.Load()
	if why == nil {
		return nil
	}
	return []string{fmt.Sprintf("--mqtt-broker: not subscribed at %s: %s", s.url.Host, *why)}
}
