package study

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"pingline"
	"pingline/dedupe"
	"pingline/partition"
	"pingline/track"
)

// SampleConfig describes the fleet that recorded tracks stand for.
type SampleConfig struct {
	Filter   dedupe.Config
	Bound    dedupe.Bound
	Interval time.Duration // between two pings of a phone
	CellRes  int           // H3 resolution of the cell tag
}

// Sample estimates figures of a fleet from recorded tracks: the part of pings that the
// filter keeps, and the number of cells that a rider visits in a day. It is not safe
// for concurrent use.
type Sample struct {
	cfg   SampleConfig
	cells partition.Cells

	pings, kept int
	refused     int
	days        map[riderDay]struct{}
	visits      map[visit]struct{}
	gaps        [silence / gapStep]int // number of gaps between two pings of a track, by length in gapStep
}

type riderDay struct {
	rider string
	day   int64
}

type visit struct {
	riderDay
	cell uint64
}

const (
	silence = 5 * time.Minute // a gap so long is not an interval between pings
	gapStep = 100 * time.Millisecond
)

// NewSample returns an empty Sample, or an error if CellRes is not in [0, 15].
func NewSample(cfg SampleConfig) (*Sample, error) {
	cells, err := partition.NewCells(cfg.CellRes)
	return &Sample{cfg: cfg, cells: cells, days: map[riderDay]struct{}{}, visits: map[visit]struct{}{}}, err
}

// Kept returns the part of the pings that the filter keeps, from 0 to 1.
func (s *Sample) Kept() float64 { return float64(s.kept) / float64(s.pings) }

// Regions returns the mean number of cells that a rider visits in a day.
func (s *Sample) Regions() float64 { return float64(len(s.visits)) / float64(len(s.days)) }

// Refused returns the number of lines that were no valid pings.
func (s *Sample) Refused() int { return s.refused }

// Interval returns the time that half of the gaps between two pings do not exceed.
func (s *Sample) Interval() time.Duration {
	all := 0
	for _, n := range s.gaps {
		all += n
	}
	below := 0
	for i, n := range s.gaps {
		if below += n; 2*below >= all {
			return time.Duration(i) * gapStep
		}
	}
	return 0
}

// Add runs the filter over a recording as Study does, but takes only as many of its
// pings as a phone of the fleet, with its Interval, would have sent.
func (s *Sample) Add(ctx context.Context, r *Recording) error {
	run, err := newRun(s.cfg.Filter, s.cfg.Bound)
	if err != nil {
		return err
	}
	in := thinned{Sample: s, run: run, clock: recordingClock{idle: s.cfg.Filter.IdleFlush.Milliseconds()}, last: map[int]int64{}}
	if err := r.read(func(tr *track.Reader) error { return in.readAll(ctx, tr) }); err != nil {
		return err
	}
	if in.pings == 0 {
		return fmt.Errorf("%s: there is no ping in it", r.name)
	}
	run.flush(&in.tracks)
	s.pings += in.pings
	s.kept += run.kept
	return nil
}

// thinned is a recording on its way into the filter.
type thinned struct {
	*Sample
	run    *run
	tracks trackIndex
	clock  recordingClock
	last   map[int]int64 // time of the last ping taken, by track
	pings  int
}

func (x *thinned) readAll(ctx context.Context, in *track.Reader) error {
	waiting := make([]arrival, 0, judgedAtOnce)
	judge := func() {
		x.run.judge(waiting, x.pings, &x.tracks)
		x.pings += len(waiting)
		waiting = waiting[:0]
	}
	for {
		ping, _, err := in.Next()
		switch {
		case err == nil && x.takes(&ping):
			n := x.tracks.number(&ping)
			waiting = append(waiting, arrival{ping, n, x.clock.tick(&x.tracks.clocks[n], ping.At)})
		case errors.Is(err, pingline.ErrInvalid):
			x.refused++
		case err == io.EOF:
			judge()
			return nil
		case err != nil:
			return err
		}
		if len(waiting) == cap(waiting) {
			if judge(); ctx.Err() != nil {
				return fmt.Errorf("stopped: %w", ctx.Err())
			}
		}
	}
}

// takes reports whether a phone that sends every Interval, a tenth early at most, would
// have sent the ping. If so it counts the gap, the day and the cell.
func (x *thinned) takes(p *pingline.Ping) bool {
	n := x.tracks.number(p)
	last, known := x.last[n]
	gap := time.Duration(p.At-last) * time.Millisecond
	if known && gap >= 0 && gap < x.cfg.Interval*9/10 {
		return false
	}
	if known && gap > 0 && gap < silence {
		x.gaps[gap/gapStep]++
	}
	x.last[n] = max(p.At, last)
	day := riderDay{p.Rider, p.At / (24 * time.Hour).Milliseconds()}
	x.days[day] = struct{}{}
	x.visits[visit{day, x.cells.Of(&p.Fix)}] = struct{}{}
	return true
}
