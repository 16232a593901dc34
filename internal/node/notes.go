package node

import (
	"fmt"
	"net"
	"strings"

	"pingline/ingest/auth/access"
	"pingline/internal/ops"
	"pingline/sink/store"
)

// Queued is how many stored pings, and how many lines of our own, have not yet
// reached InfluxDB.
func (n *Node) Queued() (pings, lines uint64) {
	return n.sink.Queued()
}

// openNotes returns a sentence for each way in that is open to more people than it may seem.
func (n *Node) openNotes() []string {
	notes := access.Notes(n.gate, n.server.Addr(), n.certs.Required())
	if n.gate != nil || len(notes) > 0 {
		return notes
	}
	for _, at := range []net.Addr{n.server.Aside(), n.inlets.Broker.Addr()} {
		if at != nil && !access.Loopback(at) {
			notes = append(notes, fmt.Sprintf("--auth none: whoever reaches %v may send for every rider", at))
		}
	}
	return notes
}

// Notes returns a sentence for each trouble that an operator must know of.
func (n *Node) Notes() []string {
	notes := append(n.openNotes(), n.certs.Notes()...)
	notes = append(notes, n.secrets.Notes()...)
	notes = append(notes, append(n.inlets.Notes(), n.passer.Notes()...)...)
	for _, d := range n.log.Damage() {
		notes = append(notes, d.Error())
	}
	notes = append(notes, append(n.log.Notes(), append(n.replayer.Notes(), n.peers.Notes()...)...)...)
	if n.rollup != nil {
		notes = append(notes, n.rollup.Notes()...)
	}
	for _, shard := range n.layout.all() {
		if s, ok := shard.Store.(store.Noter); ok {
			for _, note := range s.Notes() {
				notes = append(notes, "shard "+shard.Name+": "+note)
			}
		}
	}
	return append(notes, n.sink.Notes()...)
}

// Stores returns where points go: the URL of the only InfluxDB, or the names of the shards.
func (n *Node) Stores() string {
	if len(n.cfg.Shards) == 0 {
		return n.cfg.Influx.Host
	}
	var names []string
	for _, s := range n.cfg.Shards {
		names = append(names, s.Name)
	}
	return strings.Join(names, " ")
}

// Books returns the accounts of this moment.
func (n *Node) Books() ops.Books { return n.parts.Books() }

// URL is where the server answers, from this machine if it listens on all addresses.
func (n *Node) URL() string { return n.urlOf(n.server.Addr()) }

// OpsURL is where the metrics are, or "off".
func (n *Node) OpsURL() string {
	if n.ops == nil {
		return "off"
	}
	return n.urlOf(n.ops.Addr()) + "/metrics"
}
