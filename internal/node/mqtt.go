package node

import (
	"context"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"pingline/ingest/auth"
	"pingline/ingest/kafka"
	"pingline/ingest/messages"
	"pingline/ingest/mqtt"
	"pingline/ingest/mqtt/broker"
	"pingline/ingest/mqtt/inside"
	"pingline/ingest/mqtt/subscriber"
	"pingline/internal/room"
)

// byMQTT are the ways in by MQTT; nil: off.
type byMQTT struct {
	broker     *broker.Broker
	subscriber *subscriber.Subscriber
}

// openMQTT opens the ways in by MQTT, whose messages are requests of the server.
func (n *Node) openMQTT() (err error) {
	c := &n.cfg.MQTT
	if c.Listen == "" && c.Upstream.URL == "" {
		return nil
	}
	take := inside.Take(n.server.Handler())
	if c.Upstream.URL != "" {
		n.mqtt.subscriber, err = subscriber.Open(subscriber.Config{Upstream: c.Upstream, ID: "pingline-" + n.cfg.Name, Take: take, MaxPayload: int(min(n.cfg.MaxBody, 1<<20)), Logger: n.logger})
		if err != nil {
			return err
		}
	}
	if c.Listen == "" {
		return nil
	}
	inProgress := room.Messages()
	n.mqtt.broker, err = broker.Open(broker.Config{
		Listen: c.Listen, Take: take, Gate: n.gate, TLS: n.certs,
		MaxConnections: n.maxConnections(), MaxInProgress: inProgress, MaxPayload: int(min(n.cfg.MaxBody, inProgress/8)),
		TrustedProxies: n.cfg.TrustedProxies,
	})
	if err == nil {
		n.logger.Info("taking messages of OwnTracks by MQTT", "address", n.mqtt.broker.Addr())
	}
	return err
}

// maxConnections is the most connections of a listener.
func (n *Node) maxConnections() int {
	listeners := 1
	if n.cfg.MQTT.Listen != "" {
		listeners = 2
	}
	return limitConnections(n.cfg.MaxConnections, listeners, n.certs != nil, n.logger)
}

// stats returns the counts of the ways in by MQTT.
func (m *byMQTT) stats() mqtt.Stats {
	return mqtt.Stats{Broker: m.broker.Stats(), Subscriber: m.subscriber.Stats()}
}

// takePings takes pings by all ways until ctx is cancelled or a way fails, and returns when
// none takes any more.
func (n *Node) takePings(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return n.server.Run(ctx) })
	if n.mqtt.broker != nil {
		g.Go(func() error { return n.mqtt.broker.Run(ctx) })
	}
	if n.mqtt.subscriber != nil {
		g.Go(func() error { return n.mqtt.subscriber.Run(ctx) })
	}
	if n.kafka != nil {
		g.Go(func() error { return n.kafka.Run(ctx) })
	}
	if n.sqs != nil {
		g.Go(func() error { return n.sqs.Run(ctx) })
	}
	return g.Wait()
}

// openKafka opens the way in by a topic of Kafka, whose messages are requests of the server.
func (n *Node) openKafka() (err error) {
	if n.cfg.KafkaIn.URL == "" {
		return nil
	}
	trusted := auth.NewIdentity("kafka-in", auth.Write, auth.Everyone, time.Time{}, nil)
	n.kafka, err = kafka.Open(kafka.Config{
		Topic: n.cfg.KafkaIn, Take: inside.Post(n.server.Handler(), messages.URI, messages.Address, trusted),
		Rejects: messages.KeepRejects(filepath.Join(n.cfg.DataDir, RefusedDir, "kafka"), n.cfg.DeadLettersMax), Logger: n.logger,
	})
	return err
}

// trusted are the senders for many clients: proxies, and queues whose messages come from us.
func (c *Config) trusted() []netip.Prefix {
	addr, _ := netip.AddrFromSlice(messages.Address.IP)
	return append(slices.Clip(c.TrustedProxies), netip.PrefixFrom(addr, addr.BitLen()))
}
