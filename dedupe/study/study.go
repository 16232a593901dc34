// Package study runs the filter over recorded tracks, and compares the pings that
// it drops with the track that a reader draws through those it keeps.
//
// A recording is read twice and may be larger than memory, which holds a byte for
// each ping and 16 for each that is kept, for each bound. A recording says when
// its pings were made, not when they came: the clock of a Study takes them to have
// come as their own times say.
package study

import (
	"context"
	"fmt"
	"io"

	"pingline/dedupe"
	"pingline/track"
)

// Config says how the filter is set up, and where its results go.
type Config struct {
	Filter dedupe.Config
	Bound  dedupe.Bound
	Sweep  []float64     // other MaxErrors to try beside that of Bound, metres
	Out    *track.Writer // takes the kept pings; nil: nobody
	Draw   bool          // remember the longest track for Picture
	Rider  string        // of the track to draw; "": any
	Notes  io.Writer     // takes a line for each refused ping, as far as they are shown
}

// Study is a run over recordings, each by itself: the filter starts empty and
// in the end stores the pings it holds. It is not safe for concurrent use.
type Study struct {
	cfg      Config
	bounds   []dedupe.Bound // the first is the one asked for, the others the sweep's
	report   Summary
	picture  drawing
	problems []error // with recordings, which do not stop the rest
}

// New returns a Study of no recording, or an error if the filter refuses its
// Config.
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

// Run studies a recording. A fault of the recording is noted as a problem; the
// error is ctx's, or that of a recording that changed, or of Config.Out.
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
