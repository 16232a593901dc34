package plan

import (
	"math"
	"time"

	"pingline/internal/unit"
)

// work computes the plan.
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

// The roll-up's default: a total for each resolution and each window.
var (
	rollupRes     = []int{8, 6, 4}
	rollupWindows = []time.Duration{10 * time.Second, time.Minute}
)

// rollUp counts the roll-up's points. It assumes that riders are spread evenly,
// which gives the most cells, and that a rider stays in the same cell for a
// window.
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

// occupied returns how many of the cells are expected to have a rider, if
// riders are spread over them at random.
func occupied(cells, riders float64) float64 { return cells * -math.Expm1(-riders/cells) }

// area is in km².
func (p *Plan) area() float64 {
	if p.cfg.Area > 0 {
		return p.cfg.Area
	}
	return float64(p.cfg.Riders) / 10
}

// countSeries counts the series that InfluxDB indexes: a rider in a cell is a
// series, and its late points are another.
func (p *Plan) countSeries() {
	riders, f := float64(p.cfg.Riders), p.figures
	p.SeriesDay = riders*f.Regions.Value*(1+f.lateSeries.Value) + p.rollupSeries
	days := math.Max(p.cfg.Retention.Days(), 1)
	p.Series = riders*f.Regions.Value*(1+f.lateSeries.Value)*(1+p.cfg.NewRegions*(days-1)) + p.rollupSeries
}

const (
	// When the log is 75 % full, or will be full within 10 minutes, pings sent late
	// are refused: the log should be larger than an outage fills it.
	logUsable     = 0.75
	logFullWithin = 10 * time.Minute
)

// sizeLog counts the bytes that are appended: every ping that is not a
// duplicate, and a second entry for each held ping that is then stored, as
// nearly all stored pings are.
func (p *Plan) sizeLog() {
	f := p.figures
	p.Commits = math.Min(p.Requests, f.Commits.Value*float64(p.logs()))
	p.LogRate = (p.Pings+p.Located)*f.entry.Value + p.Commits*f.commit.Value
	p.LogDay = p.LogRate * p.busySeconds() * float64(p.cfg.Replicas)
	p.LogOutage = p.LogRate * (time.Duration(p.cfg.Outage).Seconds() + f.checkpoint.Value)
	p.LogFor = unit.Bytes(math.Max(p.LogOutage/logUsable, p.LogOutage+p.LogRate*logFullWithin.Seconds()) / float64(p.Clusters))
	p.NetworkIn = p.Pings*f.body.Value + p.Requests*f.header.Value
	p.NetworkOut = p.Points * f.gzip.Value
}

func (p *Plan) busySeconds() float64 { return p.cfg.Hours * 3600 }

// groupDays is the length of a shard group by InfluxDB's defaults, which it
// deletes at once.
func groupDays(retention time.Duration) float64 {
	switch {
	case retention >= 180*24*time.Hour:
		return 7
	case retention >= 2*24*time.Hour:
		return 1
	}
	return 1.0 / 24
}

// sizeInflux counts the disk of the points that are kept: up to a shard group
// beyond the retention, and room for a shard group that is being compacted.
func (p *Plan) sizeInflux() {
	p.InfluxDay = p.Points * p.busySeconds() * p.figures.disk.Value
	p.InfluxDisk = p.InfluxDay * (p.cfg.Retention.Days() + 2*groupDays(time.Duration(p.cfg.Retention)))
}

// useServers computes the load of all servers together.
func (p *Plan) useServers() {
	shards := p.Shards
	p.batch = p.linesOf(p.Points / float64(shards))
	p.Writes = p.Points / p.batch
	p.figures.point.Value = p.pointCost(shards, p.batch)
	p.InfluxCores = p.Points * p.figures.point.Value / 1e6
	p.InfluxMemory = p.SeriesDay*p.figures.series.Value + float64(shards)*p.figures.server.Value
	p.CatchUp = p.catchingUp()
}

// sizeIngest counts the CPU and memory that pingline serve needs. Its writer
// is a single thread.
func (p *Plan) sizeIngest() {
	f := p.figures
	writer := f.key.Value + f.judge.Value + f.encode.Value
	p.WriterBusy = p.Pings * writer / 1e9
	p.IngestCores = p.Pings*(f.decode.Value+writer)/1e9 + p.Requests*f.request.Value/1e6 + p.Points*f.line.Value/1e9
	p.RiderMemory = float64(p.cfg.Riders) * f.rider.Value
	p.Nodes = p.nodes()
}

// catchingUp returns the seconds it takes to write the points of an outage beside
// new points, if InfluxDB then runs at full capacity.
func (p *Plan) catchingUp() float64 {
	can, comes := p.Each/p.figures.headroom.Value, p.share(p.Points, p.Shards)
	return math.Round(comes * p.Outage / (can - comes))
}
