package node

import (
	"context"
	"path/filepath"

	"pingline/ingest/auth"
	"pingline/ingest/messages"
	"pingline/ingest/mqtt/inside"
	"pingline/internal/inlets"
)

// openInlets opens the ways in that are not HTTP, whose messages are requests of the server.
func (n *Node) openInlets() (err error) {
	c, handle := n.cfg, n.server.Handler()
	n.inlets, err = inlets.Open(inlets.Config{
		Listen: c.MQTT.Listen, Upstream: c.MQTT.Upstream, Kafka: c.KafkaIn, SQS: c.SQSIn,
		Name: c.Name, MaxBody: c.MaxBody, MaxConnections: n.maxConnections(), Gate: n.gate, TLS: n.certs, TrustedProxies: c.TrustedProxies,
		Refused: filepath.Join(c.DataDir, RefusedDir), MaxRefused: c.DeadLettersMax, Logger: n.logger,
		Take: inside.Take(handle),
		Post: func(id *auth.Identity) messages.Post { return inside.Post(handle, messages.URI, messages.Address, id) },
	})
	return err
}

// maxConnections is the most connections of a listener.
func (n *Node) maxConnections() int {
	listeners := 1
	if n.cfg.MQTT.Listen != "" {
		listeners = 2
	}
	return inlets.LimitConnections(n.cfg.MaxConnections, listeners, n.certs != nil, n.logger)
}

// takePings takes pings by all ways until ctx is cancelled or a way fails, and returns when
// none takes any more. Peers are answered until gone returns: so they know that nothing of their pings
// was judged.
func (n *Node) takePings(ctx context.Context, gone func(context.Context) error) error {
	return n.peers.Run(ctx, n.server.Run, n.inlets.Run, gone)
}
