// Package redis keeps the newest position of each rider in Redis 5 or later, or in Valkey,
// and reads it back. It keeps no history.
//
// A ping is taken over only if none that is newer is there, by a script that the server runs
// whole: whatever order rows come in, and however often, the newest stays. Of a write's pings
// of a rider only the newest is sent. A write is as durable as the server's settings make
// it: see Notes. Points that are no pings are passed over. The package retries nothing and
// keeps nothing.
package redis

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"

	"pingline/sink/store"
)

// Whereabouts are the newest positions in a Redis. Safe for concurrent use. No error of it
// contains the password.
type Whereabouts struct {
	cfg     Config
	at      serverAt
	server  atomic.Pointer[connected]
	joining sync.Mutex // held while a cluster is joined
	tags    []tagKeys
	channel string

	note  atomic.Pointer[[]string]
	start sync.Once
	stop  context.CancelFunc
	work  context.Context
	done  sync.WaitGroup
}

var (
	_ store.Store   = (*Whereabouts)(nil)
	_ store.Eraser  = (*Whereabouts)(nil)
	_ store.Noter   = (*Whereabouts)(nil)
	_ store.Checker = (*Whereabouts)(nil)
	_ store.Lone    = (*Whereabouts)(nil)
)

// connected is the connections to a server, or to a cluster.
type connected struct {
	redis.UniversalClient
	cluster bool
}

// Lone returns why pings are not spread over several, as store.Lone wants it.
func (*Whereabouts) Lone() string {
	return "a Redis has the newest position of a rider, who moves from shard to shard"
}

// tagKeys are the keys of a hash tag, which a cluster keeps at the same node.
type tagKeys struct{ riders, geo, seen, changes string }

// writeConns is how many connections a node has to a server, but for bursts: the sink makes
// at most so many writes at once.
const writeConns = 16

// New returns the Redis that cfg names, or a *KeyFault; it does not connect. The first
// write, also one without rows, begins to look after expired riders and after the server's
// settings.
func New(cfg Config) (*Whereabouts, error) {
	at, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	p := &Whereabouts{cfg: cfg, at: at, channel: cfg.Prefix + ":changes"}
	p.work, p.stop = context.WithCancel(context.Background())
	for i := range cfg.Tags {
		tag := "{" + cfg.Prefix + "}:"
		if cfg.Tags > 1 {
			tag = "{" + cfg.Prefix + ":" + strconv.Itoa(i) + "}:"
		}
		p.tags = append(p.tags, tagKeys{tag + "rider:", tag + "geo", tag + "seen", tag + "changes"})
	}
	logging.Disable() // refusals and Notes say all
	p.server.Store(&connected{UniversalClient: redis.NewClient(&redis.Options{
		Addr: at.addr, DB: at.db, Dialer: p.dial, CredentialsProviderContext: cfg.password(at.user), Protocol: 2, DisableIdentity: true,
		MaxRetries: -1, DialerRetries: 1, DialTimeout: cfg.Timeout, ReadTimeout: cfg.Timeout, WriteTimeout: cfg.Timeout, ContextTimeoutEnabled: true,
		PoolSize: writeConns, PoolTimeout: cfg.Timeout, PipelinePoolSize: -1, ReadBufferSize: buffer, WriteBufferSize: buffer, ConnMaxIdleTime: 5 * time.Minute,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})})
	return p, nil
}

const buffer = 64 << 10 // bytes, of a connection in each direction

// join goes over to the cluster that the server belongs to: it has said so by MOVED.
func (p *Whereabouts) join(was *connected) *connected {
	p.joining.Lock()
	defer p.joining.Unlock()
	if now := p.server.Load(); now != was || was.cluster {
		return now
	}
	now := &connected{cluster: true, UniversalClient: redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: []string{p.at.addr}, Dialer: p.dial, CredentialsProviderContext: p.cfg.password(p.at.user), Protocol: 2, DisableIdentity: true,
		MaxRetries: -1, MaxRedirects: 3, DialerRetries: 1, DialTimeout: p.cfg.Timeout, ReadTimeout: p.cfg.Timeout, WriteTimeout: p.cfg.Timeout, ContextTimeoutEnabled: true,
		PoolSize: writeConns, PoolTimeout: p.cfg.Timeout, PipelinePoolSize: -1, ReadBufferSize: buffer, WriteBufferSize: buffer, ConnMaxIdleTime: 5 * time.Minute,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}, DisableRoutingPolicies: true,
	})}
	p.server.Store(now)
	_ = was.Close()
	return now
}

// with runs do, and once more if the server turns out to belong to a cluster.
func (p *Whereabouts) with(do func(*connected) error) error {
	c := p.server.Load()
	err := do(c)
	if _, moved := redis.IsMovedError(err); moved && !c.cluster {
		return do(p.join(c))
	}
	return err
}

// Close lets go of connections.
func (p *Whereabouts) Close() error {
	p.stop()
	p.start.Do(func() {}) // none begins behind this
	err := p.server.Load().Close()
	p.done.Wait()
	return err
}

// tagOf returns the keys of a rider's tag.
func (p *Whereabouts) tagOf(rider string) *tagKeys {
	if len(p.tags) == 1 {
		return &p.tags[0]
	}
	return &p.tags[crc16(rider)%uint16(len(p.tags))]
}

// crc16 is the checksum by which a cluster finds the slot of a key: CRC-16/XMODEM.
func crc16(s string) (crc uint16) {
	for i := range len(s) {
		crc ^= uint16(s[i]) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return crc
}
