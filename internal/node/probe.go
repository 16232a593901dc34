package node

import (
	"context"
	"fmt"
	"net"
	"sync"

	"pingline/internal/room"
	"pingline/internal/storecheck"
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
			storecheck.Say(ctx, n.logger, shard.Name, shard.Store, n.cfg.MaxAge)
		})
	}
	wg.Wait()
}

// urlOf returns the URL of an address that is listened on.
func (n *Node) urlOf(a net.Addr) string { return room.URL(a, n.certs != nil) }
