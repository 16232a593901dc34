// Package sink carries stored pings from the log into InfluxDB, and reads them
// back.
//
// A Sink reads the log in order and writes what is Stored in batches. Its
// cursor moves only when InfluxDB has taken all before it, so that every ping
// reaches InfluxDB at least once, whatever dies in between; a second write of a
// ping overwrites the first. It never gives up and never drops: while InfluxDB
// is in trouble or refuses our credentials the log waits, and memory does not
// grow. A row that InfluxDB refuses for what it says goes to the dead letters,
// alone; when these are full the sink stands still and says so.
//
// It does not promise order: a batch that was broken off is written again, and
// late pings come late. Pings that the log has lost it can only count.
package sink

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"pingline"
	"pingline/queue"
)

// Shard is one place to store pings in.
type Shard struct {
	Name   string // unique, [A-Za-z0-9._:@-]; part of what the log keeps, so a renamed shard starts anew
	Influx *Influx
}

// Config sets up a Sink. Log, Shards and DeadLetterDir are required.
type Config struct {
	Log    *queue.Log
	Shards []Shard

	// Route returns the index of the shard that stores an entry; it must be a
	// function of the entry alone. nil sends all to the first.
	Route func(*pingline.Entry) int

	BatchLines int           // most lines of a write; 0 means 5,000
	BatchBytes int           // most bytes of them before compression; 0 means 4 MiB, at least 4 KiB
	BatchWait  time.Duration // how long the first line of a batch waits for more; 0 means 1 s
	RetryMax   time.Duration // longest wait between two attempts, unless InfluxDB asks for more; 0 means 10 s
	Grace      time.Duration // what a write under way gets at the end; 0 means 5 s

	DeadLetterDir      string
	DeadLetterMaxBytes int64 // 0 means 1 GiB

	Logger *slog.Logger // nil means slog.Default()

	// ObserveWrite, if set, is told of each write that was taken, and
	// ObserveFreshness of each ping in it: now − ts.
	ObserveWrite     func(shard string, seconds float64)
	ObserveFreshness func(shard string, seconds float64)
}

// Sink writes what the log holds to its shards.
type Sink struct {
	cfg   Config
	dead  deadLetters
	lanes []*lane
}

// New returns a sink that goes on where the log's cursors stand.
func New(cfg Config) (*Sink, error) {
	cfg.BatchLines = cmp.Or(cfg.BatchLines, 5000)
	cfg.BatchBytes = cmp.Or(cfg.BatchBytes, 4<<20)
	cfg.BatchWait = cmp.Or(cfg.BatchWait, time.Second)
	cfg.RetryMax = cmp.Or(cfg.RetryMax, 10*time.Second)
	cfg.Grace = cmp.Or(cfg.Grace, 5*time.Second)
	cfg.DeadLetterMaxBytes = cmp.Or(cfg.DeadLetterMaxBytes, 1<<30)
	cfg.Logger = cmp.Or(cfg.Logger, slog.Default())
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("sink: %w", err)
	}
	s := &Sink{cfg: cfg, dead: deadLetters{dir: cfg.DeadLetterDir, max: cfg.DeadLetterMaxBytes}}
	for i := range cfg.Shards {
		s.lanes = append(s.lanes, s.newLane(i))
	}
	return s, nil
}

func (c *Config) check() error {
	switch {
	case c.Log == nil || c.DeadLetterDir == "":
		return errors.New("no log or no directory for dead letters")
	case len(c.Shards) == 0:
		return errors.New("no shards")
	case c.BatchLines < 1 || c.BatchBytes < 4*maxLine:
		return fmt.Errorf("batches of %d lines, %d bytes: at least 1 and %d", c.BatchLines, c.BatchBytes, 4*maxLine)
	case c.BatchWait < 0 || c.RetryMax < time.Millisecond || c.Grace < 0 || c.DeadLetterMaxBytes < 0:
		return fmt.Errorf("negative or too short: batch wait %v, longest retry %v, grace %v, dead letters %d bytes",
			c.BatchWait, c.RetryMax, c.Grace, c.DeadLetterMaxBytes)
	}
	seen := make(map[string]bool)
	for _, s := range c.Shards {
		if err := pingline.CheckName("shard", s.Name); err != nil {
			return fmt.Errorf("shard %q: %w", s.Name, err)
		}
		if s.Influx == nil || seen[s.Name] {
			return fmt.Errorf("shard %q has no InfluxDB, or is there twice", s.Name)
		}
		seen[s.Name] = true
	}
	return nil
}

// Run passes the log on until ctx ends; then it gives the writes under way
// Grace to be answered and returns nil. What is not written waits in the log.
// Any other return means that the log cannot be read. It can be called once.
func (s *Sink) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, l := range s.lanes {
		g.Go(func() error { return l.run(ctx) })
	}
	return g.Wait()
}

// Stats returns what each shard's lane has done, in the order of Config.Shards.
func (s *Sink) Stats() []Stats {
	list := make([]Stats, len(s.lanes))
	for i, l := range s.lanes {
		list[i] = l.stats()
	}
	return list
}

// Notes returns a sentence for each trouble that an operator must know of.
func (s *Sink) Notes() []string {
	var notes []string
	for _, l := range s.lanes {
		if note := l.note(); note != "" {
			notes = append(notes, note)
		}
	}
	return notes
}
