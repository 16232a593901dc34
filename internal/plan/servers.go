package plan

import (
	"math"
	"sort"
)

// why names the demand that needs the most servers: points, series or disk.
func (d *Servers) why() string {
	switch d.Shards {
	case d.ByPoints:
		return "points"
	case d.BySeries:
		return "series"
	}
	return "disk"
}

// demand finds the least number of servers that suffices for points, for
// series and for disk alone.
func (p *Plan) demand() (d Servers) {
	const most = 1 << 31
	d.ByPoints = 1 + sort.Search(most, func(less int) bool { return p.share(p.Points, 1+less) <= p.capacity(1+less) })
	d.BySeries = p.divide(p.Series, p.cfg.ServerSeries)
	d.ByDisk = p.divide(p.InfluxDisk, float64(p.cfg.ServerDisk))
	d.Shards = max(d.ByPoints, d.BySeries, d.ByDisk)
	d.Each = p.capacity(d.Shards)
	return d
}

// divide returns how many servers of the capacity each a whole needs.
func (p *Plan) divide(whole, each float64) int {
	if whole <= each {
		return 1
	}
	return max(2, int(math.Ceil(whole*p.figures.spread.Value/each)))
}

// share returns the busiest server's part of a whole.
func (p *Plan) share(whole float64, shards int) float64 {
	if shards == 1 {
		return whole
	}
	return whole / float64(shards) * p.figures.spread.Value
}

// capacity returns the points/s that each of a number of servers is to take: as
// many as make it half busy, in batches as large as that number of servers
// fills.
func (p *Plan) capacity(shards int) float64 {
	f := p.figures
	if p.cfg.ServerPoints > 0 {
		return f.headroom.Value * p.cfg.ServerPoints
	}
	points := math.Inf(1)
	for range 20 { // fewer points, smaller batches, fewer points still: it settles soon
		points = f.headroom.Value * f.cores.Value * 1e6 / p.pointCost(shards, p.linesOf(points))
	}
	return points
}

// pointCost returns the CPU-µs of a point on each of a number of servers, in
// writes of a number of lines.
func (p *Plan) pointCost(shards int, lines float64) float64 {
	return between(pointBySeries, p.SeriesDay/float64(shards)) + between(extraByLines, lines)
}

// linesOf returns the lines of a batch at a rate of points/s: a full batch, or
// the points that come within its wait.
func (p *Plan) linesOf(points float64) float64 {
	return math.Max(1, math.Min(points*p.cfg.BatchWait.Seconds(), float64(p.cfg.BatchLines)))
}
