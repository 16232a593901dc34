// Package inlets opens and runs the ways in of a node that are not HTTP: a broker of MQTT, a
// subscription at another, a topic of Kafka, and a queue of SQS. Each hands its messages to the server as
// requests, so that nothing of a request is written twice.
package inlets

import (
	"context"
	"log/slog"
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
	"pingline/ingest/mqtt/subscriber"
	"pingline/ingest/server/certs"
	"pingline/ingest/sqs"
	"pingline/internal/room"
)

// Config sets up the Inlets. An address or a URL that is "" is none.
type Config struct {
	Listen   string              // of the node's own broker
	Upstream subscriber.Upstream // a broker of others
	Kafka    kafka.Topic
	SQS      sqs.Inlet

	Name           string // of the node
	MaxBody        int64  // bytes of a request
	MaxConnections int    // of the broker
	Gate           *auth.Gate
	TLS            *certs.Certificates
	TrustedProxies []netip.Prefix
	Refused        string // directory of messages that can never be taken
	MaxRefused     int64  // bytes of them, of each way
	Logger         *slog.Logger

	Take mqtt.Take                             // hands over a message of OwnTracks
	Post func(id *auth.Identity) messages.Post // returns a function that hands over pings of a sender
}

// Inlets are the ways in; nil: off. They are safe for concurrent use.
type Inlets struct {
	Broker     *broker.Broker
	Subscriber *subscriber.Subscriber
	Kafka      *kafka.Member
	SQS        *sqs.Receiver
}

// Open reads the settings, and listens. Nothing is asked of another server before Run.
func Open(cfg Config) (w Inlets, err error) {
	if cfg.Upstream.URL != "" {
		w.Subscriber, err = subscriber.Open(subscriber.Config{Upstream: cfg.Upstream, ID: "pingline-" + cfg.Name, Take: cfg.Take, MaxPayload: int(min(cfg.MaxBody, 1<<20)), Logger: cfg.Logger})
		if err != nil {
			return w, err
		}
	}
	if cfg.Kafka.URL != "" {
		w.Kafka, err = kafka.Open(kafka.Config{Topic: cfg.Kafka, Take: cfg.Post(trusted("kafka-in")), Rejects: cfg.rejects("kafka"), Logger: cfg.Logger})
		if err != nil {
			return w, err
		}
	}
	if cfg.SQS.URL != "" {
		w.SQS, err = sqs.Open(sqs.Config{Inlet: cfg.SQS, Take: cfg.Post(trusted("sqs-in")), Rejects: cfg.rejects("sqs"), Logger: cfg.Logger})
		if err != nil {
			return w, err
		}
	}
	if cfg.Listen == "" {
		return w, nil
	}
	inProgress := room.Messages()
	w.Broker, err = broker.Open(broker.Config{
		Listen: cfg.Listen, Take: cfg.Take, Gate: cfg.Gate, TLS: cfg.TLS,
		MaxConnections: cfg.MaxConnections, MaxInProgress: inProgress, MaxPayload: int(min(cfg.MaxBody, inProgress/8)),
		TrustedProxies: cfg.TrustedProxies,
	})
	if err == nil {
		cfg.Logger.Info("taking messages of OwnTracks by MQTT", "address", w.Broker.Addr())
	}
	return w, err
}

// trusted is who sends the messages of a queue: it may write for all riders.
func trusted(name string) *auth.Identity {
	return auth.NewIdentity(name, auth.Write, auth.Everyone, time.Time{}, nil)
}

// rejects is where messages of a way are kept that can never be taken.
func (c *Config) rejects(way string) *messages.Rejects {
	return messages.KeepRejects(filepath.Join(c.Refused, way), c.MaxRefused)
}

// Run takes messages until ctx is cancelled or a way fails, and returns when none is taken any
// more.
func (w *Inlets) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	if w.Broker != nil {
		g.Go(func() error { return w.Broker.Run(ctx) })
	}
	if w.Subscriber != nil {
		g.Go(func() error { return w.Subscriber.Run(ctx) })
	}
	if w.Kafka != nil {
		g.Go(func() error { return w.Kafka.Run(ctx) })
	}
	if w.SQS != nil {
		g.Go(func() error { return w.SQS.Run(ctx) })
	}
	return g.Wait()
}

// MQTT returns the counts of the ways in by MQTT.
func (w *Inlets) MQTT() mqtt.Stats {
	return mqtt.Stats{Broker: w.Broker.Stats(), Subscriber: w.Subscriber.Stats()}
}

// Notes returns a sentence for each trouble.
func (w *Inlets) Notes() []string {
	return slices.Concat(w.Subscriber.Notes(), w.Kafka.Notes(), w.SQS.Notes())
}

// Trusted returns the senders for many clients: proxies, and the address of messages that come
// from us.
func Trusted(proxies []netip.Prefix) []netip.Prefix {
	addr, _ := netip.AddrFromSlice(messages.Address.IP)
	return append(slices.Clip(proxies), netip.PrefixFrom(addr, addr.BitLen()))
}
