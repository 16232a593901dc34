package plan

import (
	"math"
	"time"

	"pingline/internal/unit"
)

// work does the sums.
func work(cfg Config, f Figures) *Plan {
	p := &Plan{cfg: cfg, figures: &f}
	p.Fleet = Fleet{cfg.Riders, cfg.Interval.Seconds(), f.Kept.Value, cfg.Retention.Days(), time.Duration(cfg.Outage).Seconds()}
	p.Pings = float64(cfg.Riders) / cfg.Interval.Seconds()
	p.Requests = p.Pings / float64(cfg.PerRequest)
	p.Located = p.Pings * p.Kept
	p.rollUp()
	p.Points = p.Located + p.Rolled
	p.countSeries()
	p.sizeIngest()
	p.sizeLog()
	p.sizeInflux()
	p.Servers = p.demand()
	p.useServers()
	return p
}

// The mean area of an H3 cell in km², by resolution:
// https://h3geo.org/docs/core-library/restable.
var cellArea = map[int]float64{8: 0.737, 6: 36.13, 4: 1770}

// What the roll-up writes by default: each resolution for each window.
var (
	rollupRes     = []int{8, 6, 4}
	rollupWindows = []time.Duration{10 * time.Second, time.Minute}
)

// rollUp counts the roll-up's points. Riders are taken to be spread evenly, which
// makes the most cells, and a rider to be in one cell a window.
func (p *Plan) rollUp() {
	if !p.cfg.Rollup {
		return
	}
	for _, res := range rollupRes {
		there := math.Max(p.area()/cellArea[res], 1)
		p.rollupSeries += there * float64(len(rollupWindows))
		for _, window := range rollupWindows {
			heard := float64(p.cfg.Riders) * math.Min(1, window.Seconds()/p.cfg.Interval.Seconds())
			busy := occupied(there, heard)
			p.Rolled += busy / window.Seconds()
			if window == rollupWindows[0] && res == rollupRes[0] {
				p.cells = busy
			}
		}
	}
}

// occupied returns how many of so many cells have someone in them if riders are
// spread over them at random.
func occupied(cells, riders float64) float64 { return cells * -math.Expm1(-riders/cells) }

// area is in km².
func (p *Plan) area() float64 {
	if p.cfg.Area > 0 {
		return p.cfg.Area
	}
	return float64(p.cfg.Riders) / 10
}

// countSeries counts what InfluxDB indexes: a rider in a cell is one, whose late
// points are another.
func (p *Plan) countSeries() {
	riders, f := float64(p.cfg.Riders), p.figures
	p.SeriesDay = riders*f.Regions.Value*(1+f.lateSeries.Value) + p.rollupSeries
	days := math.Max(p.cfg.Retention.Days(), 1)
	p.Series = riders*f.Regions.Value*(1+f.lateSeries.Value)*(1+p.cfg.NewRegions*(days-1)) + p.rollupSeries
}

const (
	// From 75 % on, and when it will be full within 10 minutes, pings sent late are
	// refused: the log should be larger than an outage fills it.
	logUsable     = 0.75
	logFullWithin = 10 * time.Minute
)

// sizeLog counts what is appended: every ping that is no copy, and a second time
// each that is held and then stored, which nearly all of the kept are.
func (p *Plan) sizeLog() {
	f, logs := p.figures, float64(p.Ingesters)
	p.Commits = math.Min(p.Requests, f.Commits.Value*logs)
	p.LogRate = (p.Pings+p.Located)*f.entry.Value + p.Commits*f.commit.Value
	p.LogDay = p.LogRate * p.busySeconds() * float64(p.cfg.Replicas)
	p.LogOutage = p.LogRate * (time.Duration(p.cfg.Outage).Seconds() + f.checkpoint.Value)
	p.LogFor = unit.Bytes(math.Max(p.LogOutage/logUsable, p.LogOutage+p.LogRate*logFullWithin.Seconds()) / logs)
	p.NetworkIn = p.Pings*f.body.Value + p.Requests*f.header.Value
	p.NetworkOut = p.Points * f.gzip.Value
}

func (p *Plan) busySeconds() float64 { return p.cfg.Hours * 3600 }

// groupDays is what InfluxDB deletes at once, by its defaults: the shard group.
func groupDays(retention time.Duration) float64 {
	switch {
	case retention >= 180*24*time.Hour:
		return 7
	case retention >= 2*24*time.Hour:
		return 1
	}
	return 1.0 / 24
}

// sizeInflux counts what is kept: up to a shard group beyond the retention, and
// room for one that is being compacted.
func (p *Plan) sizeInflux() {
	p.InfluxDay = p.Points * p.busySeconds() * p.figures.disk.Value
	p.InfluxDisk = p.InfluxDay * (p.cfg.Retention.Days() + 2*groupDays(time.Duration(p.cfg.Retention)))
}

// useServers tells what the servers there are have to do.
func (p *Plan) useServers() {
	shards := p.Shards
	p.batch = p.linesOf(p.Points / float64(shards))
	p.Writes = p.Points / p.batch
	p.figures.point.Value = p.pointCost(shards, p.batch)
	p.InfluxCores = p.Points * p.figures.point.Value / 1e6
	p.InfluxMemory = p.SeriesDay*p.figures.series.Value + float64(shards)*p.figures.server.Value
	p.CatchUp = p.catchingUp()
}

// sizeIngest counts what pingline serve needs. Its writer is one thread.
func (p *Plan) sizeIngest() {
	f := p.figures
	writer := f.key.Value + f.judge.Value + f.encode.Value
	p.WriterBusy = p.Pings * writer / 1e9
	p.IngestCores = p.Pings*(f.decode.Value+writer)/1e9 + p.Requests*f.request.Value/1e6 + p.Points*f.line.Value/1e9
	p.RiderMemory = float64(p.cfg.Riders) * f.rider.Value
	most := math.Max(p.WriterBusy, p.IngestCores/float64(p.cfg.Cores)) / f.headroom.Value
	p.Ingesters = int(math.Max(1, math.Ceil(most)))
}

// catchingUp returns the seconds it takes to write the points that an outage held
// back, beside the new ones, if InfluxDB then does all it can.
func (p *Plan) catchingUp() float64 {
	can, comes := p.Each/p.figures.headroom.Value, p.share(p.Points, p.Shards)
	return math.Round(comes * p.Outage / (can - comes))
}
