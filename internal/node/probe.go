package node

import (
	"context"
	"fmt"
	"net"
	"sync"

	"pingline/internal/room"
	"pingline/internal/storecheck"
	"pingline/sink/store"
)

// tryListening returns an error if an address is taken, before anything is made on the
// disk. The ports open for good when the log has been read.
func (c *Config) tryListening() error {
	for _, f := range c.listeners() {
		if f.addr == "" {
			continue
		}
		ln, err := net.Listen("tcp", f.addr)
		if err == nil {
			err = ln.Close()
		}
		if err != nil {
			return fmt.Errorf("--%s: %w", f.flag, err)
		}
	}
	return nil
}

// tryStores looks at the store of each shard, as Try does, and logs what an operator
// must put right: a missing bucket would else be known with the first write only. It
// hinders nothing.
func (n *Node) tryStores(ctx context.Context) {
	var wg sync.WaitGroup
	for _, shard := range n.layout.all() {
		wg.Go(func() {
			missed := false // the right bucket, for writing or for reading
			for _, f := range storecheck.Try(ctx, shard.Store, n.cfg.MaxAge) {
				if _, reads := shard.Store.(store.Reader); f.What == "read" && !reads {
					n.logger.Info("pings are written to a store and not read from it", "shard", shard.Name, "found", f.Found)
				}
				of := f.What == "bucket" || f.What == "write" || f.What == "read"
				if f.Remedy == "" || of && missed || ctx.Err() != nil {
					continue
				}
				missed = missed || of
				n.logger.Warn("a store is not as it should be; pings are taken all the same", "shard", shard.Name, "check", f.What, "found", f.Found, "remedy", f.Remedy)
			}
		})
	}
	wg.Wait()
}

// urlOf returns the URL of an address that is listened on.
func (n *Node) urlOf(a net.Addr) string { return room.URL(a, n.certs != nil) }
