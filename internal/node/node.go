// Package node runs the ingester: it opens the parts in the order in which a ping
// passes them, runs them, and stops them in the same order, so that each part has
// taken everything from the part before it.
//
// Only this package knows all stores and all protocols of clients: see the
// tables stores and protocols.
package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"pingline"
	"pingline/dashboards/livemap"
	"pingline/dedupe"
	"pingline/ingest"
	"pingline/ingest/auth"
	"pingline/ingest/auth/access"
	"pingline/ingest/auth/secrets"
	"pingline/ingest/phone"
	"pingline/ingest/phone/osmand"
	"pingline/ingest/privacy"
	"pingline/ingest/server"
	"pingline/ingest/server/aside"
	"pingline/ingest/server/certs"
	"pingline/internal/follow"
	"pingline/internal/handover"
	"pingline/internal/inlets"
	"pingline/internal/logview"
	"pingline/internal/ops"
	"pingline/internal/passing"
	"pingline/internal/peers"
	"pingline/internal/resharding"
	"pingline/internal/rights"
	"pingline/internal/room"
	"pingline/internal/standby"
	"pingline/partition"
	"pingline/query/fleet"
	"pingline/query/gather"
	"pingline/query/status"
	"pingline/query/stream"
	"pingline/queue"
	"pingline/queue/disk"
	"pingline/rollup"
	"pingline/sink"
	"pingline/sink/deadletter"
	"pingline/sink/sets"
)

// Node is the ingester: the parts a ping passes, in that order.
type Node struct {
	cfg     *Config
	logger  *slog.Logger
	metrics *ops.Metrics
	server  *server.Server
	inlets  inlets.Inlets
	gate    *auth.Gate // nil: everybody may send and read
	door    *privacy.Door
	passer  *passing.Passer     // nil: no lines are passed on
	secrets *secrets.Secrets    // nil: encrypted messages cannot be read
	certs   *certs.Certificates // nil: plain HTTP
	past    *ingest.Past        // of the log, as far as it was read along before it was ours; nil: not
	writer  *ingest.Writer
	over    *ingest.Overload
	log     *queue.Log
	rollup  *rollup.Rollup // nil if it is off
	gather  *gather.Gatherer
	fleet   *fleet.Map
	streams *stream.Hub
	status  *status.Sampler
	parts   ops.Parts
	self    *ops.Self
	layout  *layout
	sink    *sets.Sets
	ops     *ops.Server   // nil if it is off
	site    *livemap.Site // nil if it is not in this binary

	removals *rights.Removals
	rights   *rights.Rights
	changes  *resharding.Changes

	replayer deadletter.Replayer
	peers    *peers.Peers // nil: all riders are this node's
}

// Open opens all parts; if a part fails, the parts already open are closed.
// Run closes them.
func Open(ctx context.Context, cfg Config) (_ *Node, err error) {
	n := &Node{cfg: &cfg, logger: cmp.Or(cfg.Logger, slog.Default()), metrics: ops.NewMetrics()}
	began := time.Now()
	defer func() {
		if err != nil {
			err = errors.Join(err, n.close())
		}
	}()
	if cfg.Name == "" {
		if cfg.Name, err = os.Hostname(); err != nil {
			return nil, fmt.Errorf("--node is needed: %w", err)
		}
	}
	if n.layout, err = openLayout(&cfg); err != nil {
		return nil, err
	}
	if n.door, err = cfg.Privacy.Open(n.logger); err != nil {
		return nil, err
	}
	if n.gate, err = cfg.Access.Open(n.door.Names(), n.logger); err != nil {
		return nil, err
	}
	if n.secrets, err = n.openSecrets(); err != nil {
		return nil, err
	}
	if n.certs, err = n.openCerts(); err != nil {
		return nil, err
	}
	if err := cfg.tryListening(); err != nil {
		return nil, err
	}
	if err := n.openLog(ctx); err != nil {
		return nil, err
	}
	filterDir := filepath.Join(cfg.DataDir, "filter")
	if err := os.MkdirAll(filterDir, 0o700); err != nil {
		return nil, fmt.Errorf("--data-dir: %w", err)
	}
	if n.removals, err = rights.OpenRemovals(filepath.Join(cfg.DataDir, RemovalDir)); err != nil {
		return nil, fmt.Errorf("--data-dir: %w", err)
	}
	if err := n.removals.Share(n.log); err != nil {
		return nil, err
	}
	for _, dir := range []string{cfg.DataDir, filterDir, filepath.Join(cfg.DataDir, DeadLetterDir)} {
		n.log.Watch(dir)
	}
	n.over = ingest.NewOverload(ingest.OverloadConfig{
		Log:      n.log,
		Signals:  n.signals,
		MaxError: cfg.Bound.MaxError,
		Hold:     cfg.ShedHold,
		Logger:   n.logger,
	})
	n.writer, err = ingest.OpenWriter(ctx, ingest.WriterConfig{
		Log:           n.log,
		Filter:        cfg.Filter,
		Bound:         cfg.Bound,
		Overload:      n.over,
		Keys:          n.layout.keys,
		Past:          n.past,
		Written:       n.written,
		Behind:        func() uint64 { return n.writtenTo() },
		Erasures:      n.removals.Erasures,
		Node:          cfg.Name,
		Dir:           filterDir,
		Logger:        n.logger,
		ObserveCommit: n.metrics.ObserveCommit,
	})
	if err != nil {
		return nil, err
	}
	n.past = nil // or its filter would outlive a reload
	if n.rollup, err = n.openRollup(); err != nil {
		return nil, err
	}
	n.gather = n.peers.Gatherer(gather.Config{Newest: n.writer.NewestPings, Rollup: n.rollup, MinRiders: uint64(cfg.RollupMinRiders)})
	watched := fleet.Config{Newest: n.writer.NewestPings, Others: n.gather.Others(), MaxRiders: cfg.Filter.MaxRiders}
	if n.rollup != nil {
		watched.Cells, watched.Resolutions = n.gather.Cells, cfg.Rollup
	}
	n.fleet = fleet.New(watched)
	n.streams = stream.New(stream.Config{Map: n.fleet, Paused: n.pausesStreams})
	n.status = status.New(status.Config{State: n.state, Freshness: n.metrics.Freshness, Version: cfg.Version})
	if n.sink, err = n.openSinks(); err != nil {
		return nil, err
	}
	if n.changes, err = n.openChanges(); err != nil {
		return nil, err
	}
	n.rights = n.openRights()
	n.replayer = deadletter.Replayer{Dir: n.sink.DeadLetters(), Submit: n.resubmit, Logger: n.logger}
	if n.passer, err = n.openPasser(); err != nil {
		return nil, err
	}
	if n.server, err = n.openServer(); err != nil {
		return nil, err
	}
	if err := n.openInlets(); err != nil {
		return nil, err
	}
	n.parts = ops.Parts{
		Log: n.log, Writer: n.writer, Server: n.server, Overload: n.over, Sink: n.sink, Moving: n.changes.Histories, Rollup: n.rollup, Merged: n.peers.Merged, Fleet: n.fleet.Bytes, Streams: n.streams, MQTT: n.inlets.MQTT, SQS: n.inlets.SQS.Stats, Kafka: n.inlets.Kafka.Stats, Lines: n.passer.Stats, Peers: n.peers.Stats,
		Began: began, LogCache: logCache, FilterMost: dedupe.MaxBytes(cfg.Filter), SinkMost: func() int64 { return n.sink.MaxMemory(sinkMemory) }, RollupMost: room.Rollup(), FleetMost: watched.MaxBytes() + stream.MostBytes,
		DeadLetters: cfg.DeadLettersMax,
		DiskFree:    func() (int64, error) { return disk.Free(cfg.DataDir) },
	}
	if err := n.peers.Serve(n.writer.Submit, n.server.Handler(), n.changes.Tell(n.gather.Tell)); err != nil {
		return nil, err
	}
	n.self = &ops.Self{Node: cfg.Name, Parts: &n.parts, Metrics: n.metrics, Submit: n.submitPoints}
	if cfg.OpsListen != "" {
		views := &logview.Views{Log: n.log, Dir: cfg.DataDir, Node: cfg.Name, Version: cfg.Version}
		if n.ops, err = ops.Listen(cfg.OpsListen, n.metrics.Handler(&n.parts), access.Guard(n.gate), n.secureOps(), slices.Concat(n.rights.Routes(), views.Routes(), n.changes.Routes(), n.peers.Routes())...); err != nil {
			return nil, err
		}
	}
	if n.gate == nil {
		for _, note := range n.openNotes() {
			n.logger.Warn(note)
		}
	}
	return n, nil
}

// openLog opens the log: with peers that of a part, whose directory becomes the data directory.
func (n *Node) openLog(ctx context.Context) (err error) {
	c := n.cfg
	sign := &standby.Sign{Listen: c.Listen, Layer: n.secureOps(), Logger: n.logger}
	sign.Ops = ops.Waiting(c.OpsListen, access.Guard(n.gate), n.secureOps(), func() []ops.AdminRoute { return n.peers.Routes() })
	defer sign.Close()
	spare := follow.NewSpare(follow.Config{URL: c.Queue, Dir: filepath.Join(c.DataDir, "follow"), Filter: c.Filter, Logger: n.logger}, c.Follow)
	defer spare.Take("") // else nobody does
	sign.Notes = spare.Notes
	q := queue.Config{
		URL: c.Queue, Stream: follow.WithoutParts, Node: c.Name, Lease: c.QueueLease, Standby: c.Standby, Waiting: spare.FollowAlone(sign.Show),
		MaxBytes: c.QueueMax, CacheBytes: logCache, Logger: n.logger,
	}
	if n.peers, err = peers.Open(peers.Config{Sharing: c.Peers, Queue: q, Dir: c.DataDir, Waiting: sign.Say, Spare: spare, Version: c.Version, State: n.state, Logger: n.logger}); err != nil {
		return err
	}
	err = n.peers.Take(ctx, q, c.DataDir, func(q queue.Config, dir string) error {
		q.Dir = filepath.Join(dir, "log")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("--data-dir: %w", err)
		}
		log, err := queue.Open(ctx, q)
		if err == nil {
			n.log, c.DataDir, n.past = log, dir, spare.Take(q.Stream)
		}
		return err
	})
	if errors.Is(err, queue.ErrLocked) {
		return fmt.Errorf("--data-dir: %w", err)
	}
	return err
}

// openRights opens the part that answers for riders and removes them.
func (n *Node) openRights() *rights.Rights {
	cfg := rights.Config{
		Removals: n.removals, Log: n.log, Writer: n.writer, Written: func() uint64 { return n.sink.WrittenAll() }, Letters: n.sink.DeadLetters(),
		Forget: n.gather.Forget(n.fleet.Erase), Names: n.door.Names(), Node: n.cfg.Name, Elsewhere: n.peers.Elsewhere, Logger: n.logger,
	}
	cfg.Shards = func() []sink.ShardStore {
		n.changes.Yield() // else a copy could bring back pings of the rider
		return n.layout.withPings()
	}
	if gate := n.gate; gate != nil {
		cfg.Read = func(req *http.Request, rider string) {
			s := access.Of(req)
			gate.Read(s.Identity, rider, s.Client)
		}
		cfg.Removed = func(req *http.Request, removal string) {
			s := access.Of(req)
			gate.Removed(s.Identity, removal, s.Client)
		}
	}
	return rights.New(cfg)
}

// Directories in the data directory: of the dead letters, of riders' removals, and of messages
// that a way in refused.
const (
	DeadLetterDir = "deadletter"
	RemovalDir    = "removals"
	RefusedDir    = "refused"
)

// Memory of parts, bytes.
const (
	logCache   = 32 << 20 // the log's newest records
	sinkMemory = 64 << 20 // batches: see sink.Config.BatchMemory
)

// openSinks opens the sinks of all sets of shards.
func (n *Node) openSinks() (*sets.Sets, error) {
	c := n.cfg
	var list []sets.ShardSet
	for _, set := range n.layout.sets {
		of := set.ShardSet
		of.Open = n.reopenShard
		list = append(list, of)
	}
	sinks, err := sets.Open(sink.Config{
		Log:                n.log,
		Moved:              c.Moved,
		HandOver:           c.HandOver,
		Erased:             n.removals.Erased,
		Policy:             n.over.Policy,
		BatchLines:         c.BatchLines,
		BatchBytes:         int(c.BatchBytes),
		BatchWait:          c.BatchWait,
		BatchMemory:        sinkMemory,
		Timeout:            c.Influx.Timeout,
		DeadLetterDir:      filepath.Join(c.DataDir, DeadLetterDir),
		DeadLetterMaxBytes: c.DeadLettersMax,
		Logger:             n.logger,
		ObserveWrite:       n.metrics.ObserveWrite,
		ObserveFreshness:   n.metrics.ObserveFreshness,
	}, slices.Index(n.layout.sets, n.layout.read), list)
	if err == nil {
		for _, set := range n.layout.sets {
			set.live = sinks.Of(set.Name)
		}
	}
	return sinks, err
}

func (n *Node) openServer() (*server.Server, error) {
	c := n.cfg
	cells, err := partition.NewCells(c.CellRes)
	if err != nil {
		return nil, err
	}
	pages, err := n.openPages()
	if err != nil {
		return nil, err
	}
	return server.New(server.Config{
		Listen:      c.Listen,
		Aside:       aside.Config{Flag: "osmand-listen", Listen: c.OsmandListen, Path: osmand.Path},
		Gate:        n.gate,
		TLS:         n.certs,
		Writer:      n.writer,
		Submit:      n.peers.Submit(),
		Pass:        n.peers.Pass(),
		Cells:       cells,
		Reader:      n.sources(),
		Streams:     n.streams,
		Kept:        n.sink.Kept,
		Resolutions: n.resolutions(),
		Protocols:   n.protocols(),
		Door:        n.door,
		Friends:     n.friends(),
		Limits: phone.Limits{
			MaxPings: c.MaxPings,
			Times:    pingline.TimeLimits{MaxAge: c.MaxAge, MaxAhead: c.MaxAhead},
			Correct:  c.CorrectClocks,
		},
		MaxBody:        int(c.MaxBody),
		MaxInflated:    int(c.MaxInflated),
		MaxInProgress:  room.InProgress(c.MaxInProgress, n.logger),
		MaxReading:     room.Reading(),
		MaxConnections: n.maxConnections(),
		RiderRate:      c.RiderRate,
		RiderBurst:     c.RiderBurst,
		ClientRate:     c.ClientRate,
		NewRidersRate:  c.NewRidersRate,
		ReadRate:       c.ReadRate,
		TrustedProxies: inlets.Trusted(c.TrustedProxies),
		CORSOrigins:    c.CORSOrigins,
		Version:        c.Version,
		Pages:          pages,
		Logger:         n.logger,
		IdleTimeout:    c.IdleTimeout,
		Notes:          n.Notes,
		ObserveRequest: n.metrics.ObserveRequest,
	})
}

// Leave has /readyz say that n is about to stop. Everything else goes on until Run's
// ctx ends.
func (n *Node) Leave() { n.server.Leave() }

// Run serves until ctx is cancelled or a part fails, then stops the parts in
// the order in which a ping passes them, so that each part has taken
// everything from the part before it, and closes the log.
func (n *Node) Run(ctx context.Context) error {
	ctx, stop := n.peers.Until(ctx)
	defer stop()
	leaver := &handover.Leaver{
		Log: n.log, Save: n.writer.Save, Keep: n.writer.KeepHeld, Logger: n.logger,
		Busy: func() bool { return n.server.Stats().InProgress > 0 || n.writer.Waiting() > 0 },
	}
	ctx, end := leaver.Prepare(ctx)
	defer end()
	g, failed := errgroup.WithContext(ctx)
	later := context.WithoutCancel(ctx)
	counting, stopCounting := context.WithCancel(later)
	writing, stopWriting := context.WithCancel(later)
	sinking, stopSinking := context.WithCancel(later)
	replaying, stopReplaying := context.WithCancel(failed)
	replayed := make(chan struct{})
	g.Go(func() error {
		defer close(replayed)
		return n.replayer.Run(replaying)
	})
	g.Go(func() error {
		defer stopCounting()
		defer func() { stopReplaying(); <-replayed }()
		return n.takePings(failed, leaver.Gone)
	})
	g.Go(func() error {
		leaver.LastRequests(failed, counting.Done())
		stopCounting()
		return nil
	})
	// The parts that count give their lines to the writer until they have
	// ended.
	var counters sync.WaitGroup
	for _, run := range n.counters() {
		counters.Add(1)
		g.Go(func() error {
			defer counters.Done()
			return run(counting)
		})
	}
	g.Go(func() error {
		defer stopWriting()
		<-counting.Done()
		counters.Wait()
		return nil
	})
	g.Go(func() error {
		defer stopSinking()
		if err := n.writer.Run(writing); err != nil {
			return err
		}
		leaver.LetGo(n.cfg.Drain > 0)
		return leaver.Drained(sinking, n.cfg.Drain, n.Queued)
	})
	g.Go(func() error { return n.sink.Run(sinking) })
	g.Go(func() error { return n.rights.Run(failed) })
	g.Go(func() error { return n.changes.Run(failed) })
	g.Go(func() error {
		n.tryStores(failed)
		return nil
	})
	g.Go(func() error { return n.trim(sinking) })
	g.Go(func() error { return n.over.Run(sinking) })
	g.Go(func() error { return n.status.Run(sinking) })
	if n.gate != nil {
		g.Go(func() error { return n.gate.Run(sinking) })
	}
	if n.certs != nil {
		g.Go(func() error { return n.certs.Run(sinking) })
	}
	if n.secrets != nil {
		g.Go(func() error { return n.secrets.Run(sinking) })
	}
	g.Go(func() error { return n.log.WaitLost(sinking) })
	if n.ops != nil {
		g.Go(func() error { return n.ops.Run(sinking) })
	}
	// If any part fails, the first in the order must be stopped.
	return errors.Join(g.Wait(), n.close())
}

// counters are the parts that read the log and write lines about it.
func (n *Node) counters() []func(context.Context) error {
	list := []func(context.Context) error{n.self.Run}
	if n.rollup != nil {
		list = append(list, n.peers.Counting(n.rollup.Run))
	}
	return list
}

// trim drops the records of the log that every reader has passed, until ctx is
// cancelled.
func (n *Node) trim(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := n.log.TrimKept(); err != nil {
			n.logger.Warn("the log is not trimmed for now", "error", err)
		}
	}
}

func (n *Node) close() error {
	var err error
	if n.site != nil {
		err = n.site.Close()
	}
	err = errors.Join(err, n.passer.Close(), n.peers.Close())
	if n.log == nil {
		return err
	}
	return errors.Join(err, n.log.Close())
}
