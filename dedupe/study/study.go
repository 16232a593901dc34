// Package study runs the filter over recorded tracks, and compares the pings that it
// drops with the track that a reader draws through the kept pings.
//
// A recording is read twice and may be larger than memory: for each bound, memory holds
// a byte for each ping and 16 bytes for each kept ping. A recording has the time at
// which a ping was made, not the time at which it came: a Study assumes that pings came
// at the times at which they were made.
package study

import (
	"context"
	"fmt"
	"io"

	"pingline/dedupe"
	"pingline/track"
)

// Config has the settings of the filter, and the outputs for its results.
type Config struct {
	Filter dedupe.Config
	Bound  dedupe.Bound
	Sweep  []float64     // further values of MaxError to try, metres
	Out    *track.Writer // gets the kept pings, if not nil
	Draw   bool          // keep the longest track for Picture
	Rider  string        // rider of the track to draw; "": any
	Notes  io.Writer     // gets a line for each of the first refused pings of a file
}

// Study runs the filter over recordings. For each recording the filter starts empty,
// and in the end stores the pings that it holds. It is not safe for concurrent use.
type Study struct {
	cfg      Config
	bounds   []dedupe.Bound // the first is Config.Bound, the rest are of the sweep
	report   Summary
	picture  drawing
	problems []error // faults of recordings, which do not stop the Study
}

// New returns an empty Study, or an error if the filter refuses its Config.
func New(cfg Config) (*Study, error) {
	if _, err := newRun(cfg.Filter, cfg.Bound); err != nil {
		return nil, err
	}
	s := &Study{cfg: cfg, bounds: []dedupe.Bound{cfg.Bound}}
	for _, metres := range cfg.Sweep {
		s.bounds = append(s.bounds, dedupe.Bound{MaxError: metres, AccuracyCap: cfg.Bound.AccuracyCap})
	}
	s.report = Summary{cfg: cfg, sweep: make([]outcome, len(cfg.Sweep))}
	return s, nil
}

// Run studies a recording. A fault of the recording is noted as a problem. Run returns
// an error if ctx is cancelled, the recording changes meanwhile, or Config.Out fails.
func (s *Study) Run(ctx context.Context, r *Recording) error {
	x := &reading{Study: s, ctx: ctx, recording: r, clock: recordingClock{idle: s.cfg.Filter.IdleFlush.Milliseconds()}}
	for _, bound := range s.bounds {
		run, err := newRun(s.cfg.Filter, bound)
		if err != nil {
			return err
		}
		x.runs = append(x.runs, run)
	}
	broken := r.read(x.judgeAll)
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("stopped while reading %s: %w", r.name, err)
	}
	if broken != nil || x.pings == 0 {
		s.problems = append(s.problems, x.problem(broken))
	}
	if x.pings == 0 {
		return nil
	}
	x.tell()
	for _, run := range x.runs {
		run.flush(&x.tracks)
		run.tracks, run.pings, run.refused = len(x.tracks.names), x.pings, x.refused
	}
	if err := r.read(x.measureAll); err != nil {
		return err
	}
	s.report.add(r.name, x.runs)
	return nil
}

// Summary returns the results so far.
func (s *Study) Summary() *Summary { return &s.report }

// Problems returns the faults of recordings so far.
func (s *Study) Problems() []error { return s.problems }
