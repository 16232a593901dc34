package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"pingline"
	"pingline/dedupe"
	"pingline/internal/plan"
	"pingline/partition"
	"pingline/track"
)

// survey is what recorded tracks say of a fleet: what the filter keeps of them,
// and how many cells a rider is in on a day.
type survey struct {
	cmd   *planCmd
	cells partition.Cells

	pings, kept int
	refused     int
	days        map[riderDay]struct{}
	visits      map[visit]struct{}
	gaps        [silence / gapStep]int // how many there are between two pings of a track, by length
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
	silence = 5 * time.Minute // a gap that is not one of a phone's intervals
	gapStep = 100 * time.Millisecond
)

// measureTracks replaces the figures that recordings can tell.
func (c *planCmd) measureTracks(p *program, f *plan.Figures) error {
	cells, err := partition.NewCells(c.CellRes)
	if err != nil {
		return usageError{err}
	}
	s := &survey{cmd: c, cells: cells, days: map[riderDay]struct{}{}, visits: map[visit]struct{}{}}
	var names []string
	for _, name := range c.Track {
		if err := s.add(p, name); err != nil {
			return err
		}
		names = append(names, filepath.Base(name))
	}
	if s.refused > 0 {
		fmt.Fprintf(p.stderr, "refused: %d lines that are no pings\n", s.refused)
	}
	sent := s.interval()
	if sent > c.Interval*3/2 {
		fmt.Fprintf(p.stderr, "note: the tracks have a ping in %v; they cannot tell what is kept of one in %v\n", sent, c.Interval)
	}
	source := fmt.Sprintf("measured, %s, at %v m, a ping in %v", strings.Join(names, ", "), c.MaxError, max(c.Interval, sent))
	f.Kept = plan.Figure{Name: "kept", Value: float64(s.kept) / float64(s.pings), Unit: "of the pings", Source: source}
	f.Regions = plan.Figure{Name: "regions", Value: float64(len(s.visits)) / float64(len(s.days)), Unit: "cells a rider and day", Source: "measured, " + strings.Join(names, ", ")}
	return nil
}

// interval is the time that half of the gaps between two pings do not exceed.
func (s *survey) interval() time.Duration {
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

// add runs the filter over a recording, as pingline dedupe does, of which it
// takes no more pings than a phone of the plan's interval would have sent.
func (s *survey) add(p *program, name string) (err error) {
	r, err := openRecording(name)
	if err != nil {
		return usageError{fmt.Errorf("--track: %w", err)}
	}
	defer func() { err = errors.Join(err, r.close()) }()
	t, err := newTrial(s.cmd.Filter.config(), dedupe.Bound{MaxError: s.cmd.MaxError, AccuracyCap: s.cmd.AccuracyCap})
	if err != nil {
		return usageError{err}
	}
	in := intake{survey: s, trial: t, clock: clock{idle: s.cmd.Filter.IdleFlush.Milliseconds()}, last: map[int]int64{}}
	in.tracks.numbers = map[trackName]int{}
	if err := r.read(func(tr *track.Reader) error { return in.readAll(p, tr) }); err != nil {
		return usageError{fmt.Errorf("--track: %w", err)}
	}
	if in.pings == 0 {
		return usageError{fmt.Errorf("--track: %s: there is no ping in it", r.name)}
	}
	t.flush(&in.tracks)
	s.pings += in.pings
	s.kept += t.kept
	return nil
}

// intake is a recording on its way into the filter.
type intake struct {
	*survey
	trial  *trial
	tracks roll
	clock  clock
	last   map[int]int64 // time of the last ping taken, by track
	pings  int
}

func (x *intake) readAll(p *program, in *track.Reader) error {
	waiting := make([]arrival, 0, judgedAtOnce)
	judge := func() {
		x.trial.judge(waiting, x.pings, &x.tracks)
		x.pings += len(waiting)
		waiting = waiting[:0]
	}
	for {
		ping, _, err := in.Next()
		switch {
		case err == nil && x.takes(&ping):
			n := x.tracks.number(&ping)
			waiting = append(waiting, arrival{ping, n, x.clock.tick(&x.tracks.progress[n], ping.At)})
		case errors.Is(err, pingline.ErrInvalid):
			x.refused++
		case err == io.EOF:
			judge()
			return nil
		case err != nil:
			return err
		}
		if len(waiting) == cap(waiting) {
			if judge(); p.Err() != nil {
				return fmt.Errorf("stopped: %w", p.Err())
			}
		}
	}
}

// takes tells whether a phone that sends every interval would have sent a ping,
// a tenth early at most, and notes where and when.
func (x *intake) takes(p *pingline.Ping) bool {
	n := x.tracks.number(p)
	last, known := x.last[n]
	gap := time.Duration(p.At-last) * time.Millisecond
	if known && gap >= 0 && gap < x.cmd.Interval*9/10 {
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
