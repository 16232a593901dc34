package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"pingline/dedupe"
	"pingline/dedupe/study"
	"pingline/internal/command"
	"pingline/internal/plan"
	"pingline/internal/unit"
)

// planCmd works out the load of a fleet on the machines. It is arithmetic on
// the flags and on figures that were measured; --why prints each with its
// source.
type planCmd struct {
	Riders     *int          `required:"" placeholder:"N" help:"Riders who send pings at once, when most do."`
	Interval   time.Duration `default:"5s" help:"Between two pings of a rider."`
	PerRequest int           `default:"1" help:"Pings that a phone sends in one request."`
	Hours      float64       `default:"24" help:"Hours a day that it is as busy as that."`

	Kept        *float64     `placeholder:"SHARE" help:"Part of the pings that the filter keeps, in (0, 1] (default: as measured for such an interval)."`
	Track       []string     `placeholder:"FILE" help:"Measure it, and --regions, on recorded tracks: NDJSON, CSV, GPX, GeoJSON, a Google Timeline or FIT, also with .gz."`
	MaxError    float64      `default:"10" help:"Metres, for --track, as of pingline serve."`
	AccuracyCap float64      `default:"50" help:"Metres, for --track, as of pingline serve."`
	Filter      filterConfig `embed:""`

	Regions    *float64 `placeholder:"N" help:"Cells of --cell-res that a rider is in on a day: each is a series (default: 2)."`
	NewRegions float64  `default:"0.1" help:"Part of a day's cells that the rider was not in on any day before."`
	CellRes    int      `default:"5" help:"H3 resolution of the cell tag, for --track."`
	Area       float64  `placeholder:"KM2" help:"Square kilometres that the riders are spread over, for the roll-up (default: 10 riders on each)."`
	Rollup     string   `default:"on" enum:"on,off" help:"on or off."`

	Retention unit.Span  `default:"30d" help:"How long InfluxDB keeps points: 30d, 12h."`
	Outage    unit.Span  `default:"1h" help:"How long InfluxDB may be away before the log fills."`
	Replicas  int        `default:"1" help:"Copies of the log: 1 in the process, 3 on a NATS cluster."`
	QueueMax  unit.Bytes `name:"queue-max-bytes" default:"8GiB" help:"Size of the log, as of pingline serve."`

	BatchLines int           `default:"5000" help:"Lines in a write to InfluxDB."`
	BatchWait  time.Duration `default:"1s" help:"How long a line may wait for its batch to fill."`

	ServerPoints float64    `placeholder:"N" help:"Points/s that one InfluxDB can take; half of it is planned with (default: as measured on 2 cores)."`
	ServerSeries float64    `default:"1000000" help:"Series that one InfluxDB holds."`
	ServerDisk   unit.Bytes `default:"2TiB" help:"Disk of one InfluxDB."`
	Cores        int        `default:"8" help:"Cores of a machine that runs pingline serve."`
	Memory       unit.Bytes `default:"16GiB" help:"Memory of such a machine."`

	Measure bool   `help:"Time fsynced commits to the disk of --data-dir instead of assuming; takes a second."`
	DataDir string `default:"." help:"Directory on the disk that --measure is to try."`
	Why     bool   `help:"Print the figures that the plan rests on, too, and where each is from."`
	JSON    bool   `name:"json" help:"Print the plan as one JSON object, with those figures."`
}

// Validate is called by kong; the error names the flag and the limit.
func (c *planCmd) Validate() error {
	if c.Riders == nil { // kong calls Validate before it checks required flags
		return errors.New("--riders is required")
	}
	kept, regions := 1.0, 2.0
	if c.Kept != nil {
		kept = *c.Kept
	}
	if c.Regions != nil {
		regions = *c.Regions
	}
	if c.Kept != nil && len(c.Track) > 0 {
		return errors.New("--kept, --track: give one of them")
	}
	if kept == 0 {
		return errors.New("--kept: 0 is not in (0, 1]")
	}
	for _, f := range []struct {
		flag   string
		v      float64
		lo, hi float64
	}{
		{"riders", float64(*c.Riders), 1, 1e9},
		{"per-request", float64(c.PerRequest), 1, 20_000},
		{"hours", c.Hours, 0.1, 24},
		{"kept", kept, 0, 1},
		{"max-error", c.MaxError, 0, 100_000},
		{"accuracy-cap", c.AccuracyCap, 0, 100_000},
		{"regions", regions, 1, 1e6},
		{"new-regions", c.NewRegions, 0, 1},
		{"cell-res", float64(c.CellRes), 0, 15},
		{"area", c.Area, 0, 510_100_000}, // the area of the globe
		{"replicas", float64(c.Replicas), 1, 5},
		{"batch-lines", float64(c.BatchLines), 1, 1_000_000},
		{"server-points", c.ServerPoints, 0, 1e9},
		{"server-series", c.ServerSeries, 1, 1e9},
		{"cores", float64(c.Cores), 1, 1024},
	} {
		if !(f.v >= f.lo && f.v <= f.hi) {
			return fmt.Errorf("--%s: %s is not in [%s, %s]", f.flag, unit.Number(f.v), unit.Number(f.lo), unit.Number(f.hi))
		}
	}
	for _, f := range []struct {
		flag   string
		v      time.Duration
		lo, hi time.Duration
	}{
		{"interval", c.Interval, 10 * time.Millisecond, 24 * time.Hour},
		{"retention", time.Duration(c.Retention), time.Hour, 100 * 365 * 24 * time.Hour},
		{"outage", time.Duration(c.Outage), 0, 365 * 24 * time.Hour},
		{"batch-wait", c.BatchWait, time.Millisecond, time.Hour},
	} {
		if f.v < f.lo || f.v > f.hi {
			return fmt.Errorf("--%s: %v is not in [%v, %v]", f.flag, unit.Span(f.v), unit.Span(f.lo), unit.Span(f.hi))
		}
	}
	if c.QueueMax < 4<<20 || c.ServerDisk < 1<<30 || c.Memory < 1<<30 {
		return fmt.Errorf("--queue-max-bytes, --server-disk, --memory: %v, %v, %v: at least 4 MiB, 1 GiB and 1 GiB", c.QueueMax, c.ServerDisk, c.Memory)
	}
	return c.Filter.check()
}

func (c *planCmd) Run(p *program) error {
	f := plan.NewFigures(c.Interval)
	if c.Kept != nil {
		f.Kept = plan.Figure{Name: "kept", Value: *c.Kept, Unit: "of the pings", Source: "--kept"}
	}
	if len(c.Track) > 0 {
		if err := c.measureTracks(p, &f); err != nil {
			return err
		}
	}
	if c.Regions != nil {
		f.Regions = plan.Figure{Name: "regions", Value: *c.Regions, Unit: "cells a rider and day", Source: "--regions"}
	}
	if c.Measure {
		var err error
		f.Commits, err = plan.CommitRate(p, c.DataDir)
		if p.Err() != nil {
			return errors.New("stopped while timing the disk of --data-dir; nothing is planned")
		}
		if err != nil {
			return command.Unusable(fmt.Errorf("--measure: %w", err))
		}
	}
	n := plan.New(c.config(), f)
	if c.JSON {
		return n.PrintJSON(p.Stdout)
	}
	if err := n.Print(p.Stdout); err != nil || !c.Why {
		return err
	}
	return n.PrintFigures(p.Stdout)
}

// measureTracks replaces the figures that can be measured on recordings.
func (c *planCmd) measureTracks(p *program, f *plan.Figures) error {
	s, err := study.NewSample(study.SampleConfig{
		Filter: c.Filter.config(), Bound: dedupe.Bound{MaxError: c.MaxError, AccuracyCap: c.AccuracyCap}, Interval: c.Interval, CellRes: c.CellRes,
	})
	if err != nil {
		return command.Unusable(err)
	}
	var names []string
	for _, name := range c.Track {
		r, err := study.Open(p, name)
		if err == nil {
			progress := showReading(p, []*study.Recording{r}, 1)
			err = errors.Join(s.Add(p, r), r.Close())
			progress.Clear()
		}
		if p.Err() != nil {
			return fmt.Errorf("stopped while reading %s; nothing is planned", name)
		}
		if err != nil {
			return command.Unusable(fmt.Errorf("--track: %w", err))
		}
		names = append(names, filepath.Base(name))
	}
	if n := s.Refused(); n > 0 {
		fmt.Fprintf(p.Stderr, "refused: %s\n", unit.Plural(n, "line that is no ping", "lines that are no pings"))
	}
	sent, files := s.Interval(), strings.Join(names, ", ")
	if sent > c.Interval*3/2 {
		fmt.Fprintf(p.Stderr, "note: the tracks have a ping in %v; they cannot tell what is kept of one in %v\n", sent, c.Interval)
	}
	source := fmt.Sprintf("measured, %s, at %v m, a ping in %v", files, c.MaxError, max(c.Interval, sent))
	f.Kept = plan.Figure{Name: "kept", Value: s.Kept(), Unit: "of the pings", Source: source}
	f.Regions = plan.Figure{Name: "regions", Value: s.Regions(), Unit: "cells a rider and day", Source: "measured, " + files}
	return nil
}

func (c *planCmd) config() plan.Config {
	return plan.Config{
		Riders: *c.Riders, Interval: c.Interval, PerRequest: c.PerRequest, Hours: c.Hours,
		MaxError: c.MaxError, Filter: c.Filter.config(),
		NewRegions: c.NewRegions, Area: c.Area, Rollup: c.Rollup == "on",
		Retention: c.Retention, Outage: c.Outage, Replicas: c.Replicas, QueueMax: c.QueueMax,
		BatchLines: c.BatchLines, BatchWait: c.BatchWait,
		ServerPoints: c.ServerPoints, ServerSeries: c.ServerSeries, ServerDisk: c.ServerDisk, Cores: c.Cores, Memory: c.Memory,
	}
}
