package main

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// planCmd works out what a fleet asks of the machines. It is arithmetic on the
// flags and on figures that were measured; each is printed with its source.
type planCmd struct {
	Riders     int           `required:"" help:"Riders who send pings at once, when most do."`
	Interval   time.Duration `default:"5s" help:"Between two pings of a rider."`
	PerRequest int           `default:"1" help:"Pings that a phone sends in one request."`
	Hours      float64       `default:"24" help:"Hours a day that it is as busy as that."`

	Kept        *float64     `placeholder:"SHARE" help:"Part of the pings that the filter keeps, in (0, 1] (default: as measured for such an interval)."`
	Track       []string     `placeholder:"FILE" help:"Measure it, and --regions, on recorded tracks: NDJSON, CSV or GPX, also with .gz."`
	MaxError    float64      `default:"10" help:"Metres, for --track, as of pingline serve."`
	AccuracyCap float64      `default:"50" help:"Metres, for --track, as of pingline serve."`
	Filter      filterConfig `embed:""`

	Regions    *float64 `placeholder:"N" help:"Cells of --cell-res that a rider is in on a day: each is a series (default: 2)."`
	NewRegions float64  `default:"0.1" help:"Part of a day's cells that the rider was not in on any day before."`
	CellRes    int      `default:"5" help:"H3 resolution of the cell tag, for --track."`
	Area       float64  `placeholder:"KM2" help:"Square kilometres that the riders are spread over, for the roll-up (default: 10 riders on each)."`
	Rollup     string   `default:"on" enum:"on,off" help:"on or off."`

	Retention span     `default:"30d" help:"How long InfluxDB keeps points: 30d, 12h."`
	Outage    span     `default:"1h" help:"How long InfluxDB may be away before the log fills."`
	Replicas  int      `default:"1" help:"Copies of the log: 1 in the process, 3 on a NATS cluster."`
	QueueMax  byteSize `name:"queue-max-bytes" default:"8GiB" help:"Size of the log, as of pingline serve."`

	BatchLines int           `default:"5000" help:"Lines in a write to InfluxDB."`
	BatchWait  time.Duration `default:"1s" help:"How long a line may wait for its batch to fill."`

	ServerPoints float64  `placeholder:"N" help:"Points/s that one InfluxDB can take; half of it is planned with (default: as measured on 2 cores)."`
	ServerSeries float64  `default:"1000000" help:"Series that one InfluxDB holds."`
	ServerDisk   byteSize `default:"2TiB" help:"Disk of one InfluxDB."`
	Cores        int      `default:"8" help:"Cores of a machine that runs pingline serve."`

	Measure bool   `help:"Time the disk and the code on this machine instead of assuming; takes some seconds."`
	DataDir string `default:"." help:"Directory on the disk that --measure is to try."`
	JSON    bool   `name:"json" help:"Print the plan as one JSON object."`
}

// Validate is called by kong; the error names the flag and the limit.
func (c *planCmd) Validate() error {
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
		{"riders", float64(c.Riders), 1, 1e9},
		{"per-request", float64(c.PerRequest), 1, 20_000},
		{"hours", c.Hours, 0.1, 24},
		{"kept", kept, 0, 1},
		{"max-error", c.MaxError, 0, 100_000},
		{"accuracy-cap", c.AccuracyCap, 0, 100_000},
		{"regions", regions, 1, 1e6},
		{"new-regions", c.NewRegions, 0, 1},
		{"cell-res", float64(c.CellRes), 0, 15},
		{"area", c.Area, 0, 510_100_000}, // the globe's
		{"replicas", float64(c.Replicas), 1, 5},
		{"batch-lines", float64(c.BatchLines), 1, 1_000_000},
		{"server-points", c.ServerPoints, 0, 1e9},
		{"server-series", c.ServerSeries, 1, 1e9},
		{"cores", float64(c.Cores), 1, 1024},
	} {
		if !(f.v >= f.lo && f.v <= f.hi) {
			return fmt.Errorf("--%s: %v is not in [%v, %v]", f.flag, f.v, f.lo, f.hi)
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
			return fmt.Errorf("--%s: %v is not in [%v, %v]", f.flag, span(f.v), span(f.lo), span(f.hi))
		}
	}
	if c.QueueMax < 4<<20 || c.ServerDisk < 1<<30 {
		return fmt.Errorf("--queue-max-bytes, --server-disk: %v, %v: at least 4 MiB and 1 GiB", c.QueueMax, c.ServerDisk)
	}
	return c.Filter.check()
}

func (c *planCmd) Run(p *program) error {
	f := newFigures()
	f.kept.Value = keptAt(c.Interval)
	if c.Kept != nil {
		f.kept = figure{"kept", *c.Kept, "of the pings", "--kept"}
	}
	if len(c.Track) > 0 {
		if err := c.measureTracks(p, f); err != nil {
			return err
		}
	}
	if c.Regions != nil {
		f.regions = figure{"regions", *c.Regions, "cells a rider and day", "--regions"}
	}
	if c.Measure {
		if err := c.measureMachine(p, f); err != nil {
			return err
		}
	}
	n := c.work(f)
	if c.JSON {
		return n.printJSON(p.stdout)
	}
	return n.print(p.stdout)
}

// span is a time of days or less, written 30d, or as a duration.
type span time.Duration

func (s *span) UnmarshalText(text []byte) error {
	if days, ok := strings.CutSuffix(string(text), "d"); ok {
		n, err := strconv.ParseFloat(days, 64)
		if err == nil && math.Abs(n) < 100_000 {
			*s = span(n * float64(24*time.Hour))
			return nil
		}
	}
	d, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a time such as 30d or 12h", text)
	}
	*s = span(d)
	return nil
}

func (s span) days() float64 { return time.Duration(s).Hours() / 24 }

func (s span) String() string {
	const day = 24 * time.Hour
	d := time.Duration(s)
	switch {
	case d != 0 && d%day == 0:
		return fmt.Sprintf("%dd", d/day)
	case d%time.Hour == 0:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d%time.Minute == 0:
		return fmt.Sprintf("%dm", d/time.Minute)
	}
	return d.String()
}
