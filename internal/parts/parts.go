// Package parts has several nodes share the pings of a fleet: riders are hashed into parts, a
// part is a log of its own on the same servers, and a node has one part, or waits for any.
//
// A node takes a part that is free: let go, never owned, or with an owner that has not renewed
// its hold for its lease, by the clock of the node that watches. The record of package queue,
// which is replaced by compare-and-set, decides between two nodes that want the same part. The
// number of parts is fixed when a cluster is made, in a record of its own.
//
// A Directory tells where the owners of all parts are reached. It may be out of date: an owner
// refuses pings that are not of its part.
package parts

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"pingline/internal/pause"
	"pingline/partition"
	"pingline/queue"
	"pingline/queue/jetstream"
)

// Config says which node wants a part of which cluster. URL, Parts and Dir are required.
type Config struct {
	URL    string        // servers with JetStream, as in queue.Config
	Stream string        // the parts are in the streams Stream-p0, Stream-p1, …; "" means PINGLINE
	Parts  int           // a power of two in [2, partition.MaxParts]
	Dir    string        // a part's files are in Dir/part-0, …
	Node   string        // our name, as in queue.Config
	Addr   string        // host:port at which peers reach us
	Lease  time.Duration // of our hold on a part, as in queue.Config
	Logger *slog.Logger  // nil means slog.Default()

	// Waiting, if set, is called by Take with a reason to be shown to clients while all parts
	// are owned, or the servers cannot be asked, each time that it is another.
	Waiting func(reason string)

	// Follow, if set, is called by Take while it waits with the logs' streams, the part that it would
	// rather take in front. It may be called again with the same.
	Follow func(streams ...string)

	// Looking, if set, is called by Take with a function that returns the owners of all parts, in
	// order, as Take sees them.
	Looking func(owners func() []PartOwner)
}

// setDefaults also checks c. It must have at least that many parts.
func (c *Config) setDefaults(least int) error {
	c.Stream = cmp.Or(c.Stream, "PINGLINE")
	c.Logger = cmp.Or(c.Logger, slog.Default())
	if c.URL == "" || c.URL == queue.Embedded {
		return fmt.Errorf("parts are logs on servers, not %s: --queue=nats://host,host is needed", queue.Embedded)
	}
	if c.Parts < least || c.Parts > partition.MaxParts || c.Parts&(c.Parts-1) != 0 {
		return fmt.Errorf("%d parts: must be a power of two in [2, %d]", c.Parts, partition.MaxParts)
	}
	return nil
}

func (c *Config) stream(part int) string { return c.Stream + "-p" + strconv.Itoa(part) }

// Dir returns the directory of a part's files in the data directory dir.
func Dir(dir string, part int) string { return filepath.Join(dir, "part-"+strconv.Itoa(part)) }

// Take calls open for parts that seem to be free, until it does not return an error that wraps
// queue.ErrOwned, and returns that part and that error. Parts whose directory is here come
// first; the rest begin at one that follows from our name. While all parts are owned, Take
// waits, until ctx ends. Servers that cannot be asked, once they were reached, are waited for.
//
// open is given the settings of the log that have to do with its owner, and adds its own, such
// as Dir. Other errors: the servers cannot be reached at the start, or an error of Agree.
func Take(ctx context.Context, cfg Config, open func(part int, q queue.Config) error) (part int, err error) {
	if err := cfg.setDefaults(2); err != nil {
		return 0, err
	}
	shelves, err := jetstream.OpenShelves(cfg.URL, cfg.Logger)
	if err != nil {
		return 0, err
	}
	defer shelves.Close()
	if err := cfg.insist(ctx, func() error { return agree(ctx, shelves, &cfg) }); err != nil {
		return 0, err
	}
	c := &choice{cfg: &cfg, open: open, patrol: newPatrol(&cfg, shelves)}
	c.every = func(s *sight) time.Duration {
		if s.lost() {
			return standbyLook
		}
		return min(s.Lease/looks, standbyLook)
	}
	if err := cfg.insist(ctx, func() error { return c.lookAll(ctx) }); err != nil {
		return 0, err
	}
	if cfg.Looking != nil {
		cfg.Looking(c.list)
	}
	if err := c.arrange(); err != nil {
		return 0, err
	}
	watching, stop := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		c.follow(watching)
	}()
	defer func() { stop(); <-watched }()
	return c.take(ctx)
}

// insist calls do again while the servers cannot be asked, as in an election: a node that waits
// for a part waits for them, too.
func (c *Config) insist(ctx context.Context, do func() error) error {
	for said := ""; ; {
		err := do()
		if err == nil || ctx.Err() != nil || !jetstream.Passes(err) {
			return err
		}
		if text := err.Error(); text != said {
			said = text
			c.Logger.Warn("the servers of the log are waited for", "error", err)
			if c.Waiting != nil {
				c.Waiting("standby: the servers of the log are waited for: " + text)
			}
		}
		if err := pause.For(ctx, again); err != nil {
			return err
		}
	}
}

const (
	again = 100 * time.Millisecond // between two tries to ask servers that cannot be asked

	looks = 10 // looks at a record in its lease, at least

	standbyLook = 100 * time.Millisecond // time at most between two looks: an owner that stops in order lets go at once
)

// choice is a node that wants a part.
type choice struct {
	*patrol
	cfg   *Config
	open  func(part int, q queue.Config) error
	order []int // of the parts, the first to be taken in front
	own   int   // of them have their directory here
	said  string
}

// arrange puts the parts in order.
func (c *choice) arrange() error {
	h := fnv.New32a()
	_, _ = h.Write([]byte(c.cfg.Node))
	first := int(h.Sum32() % uint32(c.cfg.Parts)) // #nosec G115: at most partition.MaxParts
	var others []int
	for i := range c.cfg.Parts {
		part := (first + i) % c.cfg.Parts
		switch _, err := os.Stat(Dir(c.cfg.Dir, part)); {
		case err == nil:
			c.order = append(c.order, part)
		case errors.Is(err, os.ErrNotExist):
			others = append(others, part)
		default:
			return err
		}
	}
	slices.Sort(c.order)
	c.own = len(c.order)
	c.order = append(c.order, others...)
	return nil
}

// take is Take after the first look.
func (c *choice) take(ctx context.Context) (int, error) {
	// A part that we had when we died need not be waited for: open knows by the files.
	for _, part := range c.order[:c.own] {
		if err := c.try(ctx, part); !errors.Is(err, queue.ErrOwned) {
			return part, err
		}
	}
	for {
		for _, part := range c.order {
			if !c.free(part) {
				continue
			}
			if err := c.try(ctx, part); !errors.Is(err, queue.ErrOwned) {
				return part, err
			}
		}
		c.tell()
		if c.cfg.Follow != nil {
			streams := make([]string, 0, len(c.order))
			for _, part := range c.order {
				streams = append(streams, c.cfg.stream(part))
			}
			c.cfg.Follow(streams...)
		}
		select {
		case <-c.news:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
		if err := c.newer(); err != nil {
			return 0, err
		}
	}
}

// try calls open for a part. An owner is passed over only for a record that has been idle.
func (c *choice) try(ctx context.Context, part int) error {
	idle, expired := c.tries(part)
	c.cfg.Logger.Info("trying to take a part", "part", part)
	err := c.cfg.insist(ctx, func() error {
		return c.open(part, queue.Config{
			URL: c.cfg.URL, Stream: c.cfg.stream(part), Node: c.cfg.Node, Addr: c.cfg.Addr, Lease: c.cfg.Lease, Logger: c.cfg.Logger,
			Standby: true, // an election while the log is taken is waited for
			Idle:    func(revision uint64) bool { return expired && revision == idle },
		})
	})
	if errors.Is(err, queue.ErrOwned) {
		c.cfg.Logger.Info("another node has the part", "part", part, "error", err)
	}
	return err
}

// tell says why we wait, if that is news.
func (c *choice) tell() {
	names := c.owners()
	if slices.Contains(names, "") {
		return // soon it is ours, or another's
	}
	reason := fmt.Sprintf("standby: parts 0 to %d belong to %s", len(names)-1, strings.Join(names, ", "))
	if reason == c.said {
		return
	}
	c.said = reason
	c.cfg.Logger.Info(reason)
	if c.cfg.Waiting != nil {
		c.cfg.Waiting(reason)
	}
}
