package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"pingline"
	"pingline/dedupe"
	"pingline/ingest"
	"pingline/ingest/server"
	"pingline/partition"
	"pingline/queue"
	"pingline/rollup"
	"pingline/sink"
)

type serveCmd struct {
	CheckConfig bool `help:"Check the settings, and exit."`
	serveConfig `embed:""`
}

func (c *serveCmd) Run(p *program) error {
	if c.CheckConfig {
		_, err := fmt.Fprintln(p.stdout, "configuration is fine")
		return err
	}
	logger := c.logger(p)
	memory := limitMemory()
	s, err := open(p, &c.serveConfig, logger)
	if err != nil {
		return usageError{err}
	}
	logger.Info("taking pings", "url", "http://"+s.server.Addr().String()+"/v1/pings", "ops", s.opsURL(), "influx", c.Influx.Host, "memory_limit", memory, "version", version)
	err = s.run(p)
	if err == nil {
		logger.Info("stopped", "queued", s.queued())
	}
	return err
}

func (c *serveConfig) logger(p *program) *slog.Logger {
	opts := &slog.HandlerOptions{Level: c.LogLevel}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(p.stderr, opts))
	}
	return slog.New(slog.NewTextHandler(p.stderr, opts))
}

// service is the ingester: the parts a ping passes, in that order.
type service struct {
	cfg     *serveConfig
	logger  *slog.Logger
	metrics *metrics
	server  *server.Server
	writer  *ingest.Writer
	over    *ingest.Overload
	log     *queue.Log
	rollup  *rollup.Rollup // nil if it is off
	self    self
	layout  *layout
	sink    *sink.Sink
	ops     *opsServer
	began   time.Time

	replayNote atomic.Pointer[string] // why replayed dead letters wait, or ""

	drain time.Duration // how long run may wait, once told to stop, until all is written; 0 leaves it queued
}

// open brings up all parts; those already open are closed when one fails.
func open(ctx context.Context, cfg *serveConfig, logger *slog.Logger) (_ *service, err error) {
	s := &service{cfg: cfg, logger: logger, metrics: newMetrics(), began: time.Now()}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	node := cfg.Node
	if node == "" {
		if node, err = os.Hostname(); err != nil {
			return nil, fmt.Errorf("--node is needed: %w", err)
		}
	}
	if s.layout, err = openLayout(cfg); err != nil {
		return nil, err
	}
	filterDir := filepath.Join(cfg.DataDir, "filter")
	if err := os.MkdirAll(filterDir, 0o700); err != nil {
		return nil, fmt.Errorf("--data-dir: %w", err)
	}
	s.log, err = queue.Open(ctx, queue.Config{
		Dir:        filepath.Join(cfg.DataDir, "log"),
		URL:        cfg.Queue,
		Node:       node,
		Lease:      cfg.QueueLease,
		MaxBytes:   int64(cfg.QueueMaxBytes),
		CacheBytes: logCache,
		Logger:     logger,
	})
	if err != nil {
		return nil, err
	}
	for _, dir := range []string{cfg.DataDir, filterDir, filepath.Join(cfg.DataDir, deadLetterDir)} {
		s.log.Watch(dir)
	}
	s.over = ingest.NewOverload(ingest.OverloadConfig{
		Log:      s.log,
		Signals:  s.signals,
		MaxError: cfg.MaxError,
		Hold:     cfg.ShedHold,
		Logger:   logger,
	})
	s.writer, err = ingest.OpenWriter(ctx, ingest.WriterConfig{
		Log:           s.log,
		Filter:        cfg.Filter.config(),
		Bound:         dedupe.Bound{MaxError: cfg.MaxError, AccuracyCap: cfg.AccuracyCap},
		Overload:      s.over,
		Keys:          s.layout.keys,
		Written:       s.written,
		Node:          node,
		Dir:           filterDir,
		Logger:        logger,
		ObserveCommit: s.metrics.observeCommit,
	})
	if err != nil {
		return nil, err
	}
	if s.rollup, err = s.openRollup(node); err != nil {
		return nil, err
	}
	if s.sink, err = s.openSink(); err != nil {
		return nil, err
	}
	s.self = self{service: s, node: node}
	if s.server, err = s.openServer(); err != nil {
		return nil, err
	}
	if cfg.OpsListen != "" {
		if s.ops, err = newOpsServer(cfg.OpsListen, s.metrics.handler(s)); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *service) openSink() (*sink.Sink, error) {
	c := s.cfg
	return sink.New(sink.Config{
		Log:                s.log,
		Shards:             s.layout.shards,
		Spread:             s.layout.over,
		Routes:             s.layout.routes,
		Moved:              c.Spread.MovedShard,
		HandOver:           c.Spread.ShardHandover,
		Level:              s.over.Level,
		BatchLines:         c.BatchLines,
		BatchBytes:         int(c.BatchBytes),
		BatchWait:          c.BatchWait,
		BatchMemory:        sinkMemory,
		DeadLetterDir:      filepath.Join(c.DataDir, deadLetterDir),
		DeadLetterMaxBytes: int64(c.DeadletterMaxBytes),
		Logger:             s.logger,
		ObserveWrite:       s.metrics.observeWrite,
		ObserveFreshness:   s.metrics.observeFreshness,
	})
}

func (s *service) openServer() (*server.Server, error) {
	c := s.cfg
	cells, err := partition.NewCells(c.CellRes)
	if err != nil {
		return nil, err
	}
	return server.New(server.Config{
		Listen: c.Listen,
		Writer: s.writer,
		Cells:  cells,
		Reader: s.reader(),
		Kept:   s.sink.Kept,
		Limits: server.Limits{
			MaxBody:     int(c.MaxBody),
			MaxInflated: int(c.MaxInflated),
			MaxPings:    c.MaxPings,
			Times:       pingline.TimeLimits{MaxAge: c.MaxAge, MaxAhead: c.MaxAhead},
		},
		MaxInProgress:  limitInProgress(int64(c.MaxInProgress), s.logger),
		MaxReading:     limitReading(),
		MaxConnections: limitConnections(c.MaxConnections, s.logger),
		RiderRate:      c.RiderRate,
		RiderBurst:     c.RiderBurst,
		ClientRate:     c.ClientRate,
		NewRidersRate:  c.NewRidersRate,
		ReadRate:       c.ReadRate,
		TrustedProxies: prefixes(c.TrustedProxies),
		Notes:          s.notes,
		ObserveRequest: s.metrics.observeRequest,
	})
}

// run serves until ctx is cancelled or a part fails, then stops the parts in
// the order a ping passes them, so that each has taken in all that the one
// before gave it, and closes the log.
func (s *service) run(ctx context.Context) error {
	g, failed := errgroup.WithContext(ctx)
	later := context.WithoutCancel(ctx)
	counting, stopCounting := context.WithCancel(later)
	writing, stopWriting := context.WithCancel(later)
	sinking, stopSinking := context.WithCancel(later)
	replaying, stopReplaying := context.WithCancel(failed)
	replayed := make(chan struct{})
	g.Go(func() error {
		defer close(replayed)
		return s.replay(replaying)
	})
	g.Go(func() error {
		defer stopCounting()
		defer func() { stopReplaying(); <-replayed }()
		return s.server.Run(failed)
	})
	// Those who count give their lines to the writer until they have ended.
	var counters sync.WaitGroup
	for _, run := range s.counters() {
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
		if err := s.writer.Run(writing); err != nil {
			return err
		}
		return s.drained(sinking)
	})
	g.Go(func() error { return s.sink.Run(sinking) })
	g.Go(func() error { return s.trim(sinking) })
	g.Go(func() error { return s.over.Run(sinking) })
	g.Go(func() error { return s.log.WaitLost(sinking) })
	if s.ops != nil {
		g.Go(func() error { return s.ops.run(sinking) })
	}
	// Whichever part fails, the first in the order must hear of it.
	return errors.Join(g.Wait(), s.close())
}

// counters are who reads what was taken in, and writes lines about it.
func (s *service) counters() []func(context.Context) error {
	list := []func(context.Context) error{s.self.run}
	if s.rollup != nil {
		list = append(list, s.rollup.Run)
	}
	return list
}

// drained waits until all that was taken in is written, at most s.drain.
func (s *service) drained(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.drain)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for s.drain > 0 && s.queued() > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%d pings were not written within %v", s.queued(), s.drain)
		}
	}
	return nil
}

// trim frees what every reader of the log has passed, until ctx is cancelled.
func (s *service) trim(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := s.log.TrimKept(); err != nil {
			s.logger.Warn("trimming waits", "error", err)
		}
	}
}

func (s *service) close() error {
	if s.log == nil {
		return nil
	}
	return s.log.Close()
}

// queued is how many stored pings and lines of our own have not yet reached InfluxDB.
func (s *service) queued() uint64 {
	a := s.sink.Account()
	return a.Pings.Queued + a.Lines.Queued
}

// notes tell what an operator must know.
func (s *service) notes() []string {
	var notes []string
	for _, d := range s.log.Damage() {
		notes = append(notes, d.Error())
	}
	if note := s.replayNote.Load(); note != nil && *note != "" {
		notes = append(notes, *note)
	}
	if s.rollup != nil {
		notes = append(notes, s.rollup.Notes()...)
	}
	return append(notes, s.sink.Notes()...)
}

func (s *service) opsURL() string {
	if s.ops == nil {
		return "off"
	}
	return "http://" + s.ops.ln.Addr().String() + "/metrics"
}
