package node

import (
	"context"
	"log/slog"
	"sync"

	"pingline/ingest/privacy"
	"pingline/ingest/server/certs"
	"pingline/internal/inlets"
	"pingline/internal/room"
	"pingline/internal/storecheck"
	"pingline/sink/store"
)

// Tried is the result of a check before a node is opened.
type Tried struct {
	Of string // the shard, such as "shard a", or another subject such as "disk"
	store.Finding
}

// Try checks whether a node with this configuration could run: each shard's store, the topic and
// the queue that pings are taken from, the files of TLS and of peers, the brokers of a log on Kafka, the key of pseudonyms, the disk, and the limit of open files. It opens no log, takes no lock, and writes to no
// store. The configuration must have been checked.
func Try(ctx context.Context, c *Config) ([]Tried, error) {
	quiet := *c
	quiet.Logger = slog.New(slog.DiscardHandler)
	l, err := newLayout(&quiet)
	if err != nil {
		return nil, err
	}
	shards := l.all()
	lists := make([][]store.Finding, len(shards))
	var wg sync.WaitGroup
	for i := range shards {
		wg.Go(func() { lists[i] = storecheck.Try(ctx, shards[i].Store, c.MaxAge) })
	}
	wg.Wait()
	var all []Tried
	for i, list := range lists {
		for _, f := range list {
			all = append(all, Tried{"shard " + shards[i].Name, f})
		}
		if err := shards[i].Store.Close(); err != nil {
			return all, err
		}
	}
	if c.TLS.On() {
		found, remedy := certs.Try(c.TLS)
		all = append(all, Tried{"tls", store.Finding{What: "certificate", Found: found, Remedy: remedy}})
	}
	if c.Privacy.Keys != "" {
		found, remedy := privacy.TryPseudonyms(c.Privacy.Keys)
		all = append(all, Tried{"pseudonyms", store.Finding{What: "key", Found: found, Remedy: remedy}})
	}
	if c.Peers.On() {
		found, remedy := c.Peers.Try()
		all = append(all, Tried{"peers", store.Finding{What: "files", Found: found, Remedy: remedy}})
	}
	for _, f := range inlets.Try(ctx, c.Queue, c.KafkaIn, c.SQSIn) {
		all = append(all, Tried{f.Flag, store.Finding{What: f.What, Found: f.Found, Remedy: f.Remedy}})
	}
	return append(all, Tried{"disk", room.Disk(c.DataDir, c.QueueMax)}, Tried{"files", room.Files(c.MaxConnections)}), nil
}
