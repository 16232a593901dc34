package peers

import (
	"context"
	"time"

	"pingline/queue"
	"pingline/queue/jetstream"
	"pingline/rollup"
	"pingline/rollup/merge"
)

// merging is the second stage of the roll-up: the parts publish their totals in a stream, and the
// node of part 0 adds them up.
type merging struct {
	feed   *jetstream.Feed
	merger *merge.Merger // nil unless we have part 0
}

// Bytes that the stream of totals takes on the servers, of those of the logs: a sixteenth, within limits.
const (
	leastFeed = 16 << 20
	mostFeed  = 256 << 20
)

// sharePatience bounds a publication. The log is not read meanwhile.
const sharePatience = 5 * time.Second

// mergeNote is the note of the merger in the log of part 0.
const mergeNote = "rollup merge"

// ShareTotals has a roll-up publish its totals, and of part 0 a Merger write the sums of all parts
// by cfg.Emit. Without peers it changes nothing.
func (p *Peers) ShareTotals(cfg *rollup.Config) (err error) {
	if p == nil {
		return nil
	}
	p.merging.feed, err = jetstream.OpenFeed(jetstream.FeedConfig{
		URL: p.cfg.Queue.URL, Stream: "PINGLINE-cells", MaxBytes: min(mostFeed, max(leastFeed, p.cfg.Queue.MaxBytes/16)),
		MaxAge: merge.KeepFor(cfg.Lateness), Logger: p.cfg.Logger,
	})
	if err != nil {
		return err
	}
	feed, part := p.merging.feed, p.part
	cfg.MaxBytes = max(1<<20, cfg.MaxBytes/2) // the rest is the Merger's
	cfg.Share = func(ctx context.Context, at rollup.Reach, list []rollup.Sums) error {
		of := merge.Publication{Part: part, Reach: at, Sums: list}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sharePatience) // not cut off by a stop
		defer cancel()
		_, err := feed.Append(ctx, of.Append(nil))
		return err
	}
	if part > 0 {
		return nil
	}
	log := cfg.Log
	p.merging.merger, err = merge.New(merge.Config{
		Feed: feed, Parts: p.cfg.Parts, Emit: cfg.Emit, Policy: cfg.Policy, Resolutions: cfg.Resolutions, Lateness: cfg.Lateness,
		MinRiders: cfg.MinRiders, MaxBytes: cfg.MaxBytes, Logger: cfg.Logger,
		Load: func() string { return log.Note(mergeNote) },
		Keep: func(note string) { log.Change(queue.Change{Notes: map[string]string{mergeNote: note}}) },
	})
	return err
}

// Counting returns count, or, if we add up the totals of all parts, count and that.
func (p *Peers) Counting(count func(context.Context) error) func(context.Context) error {
	if p == nil || p.merging.merger == nil {
		return count
	}
	return func(ctx context.Context) error {
		return inOrder(ctx, []func(context.Context) error{count}, p.merging.merger.Run)
	}
}

// Merged returns the counts of the Merger, nil if we have none.
func (p *Peers) Merged() *merge.Stats {
	if p == nil || p.merging.merger == nil {
		return nil
	}
	s := p.merging.merger.Stats()
	return &s
}
