package plan

import (
	"math"
	"sort"
)

// why names what asks for the most servers.
func (d *Servers) why() string {
	switch d.Shards {
	case d.ByPoints:
		return "points"
	case d.BySeries:
		return "series"
	}
	return "disk"
}

// demand finds the least number of servers that suffices, for each of points,
// series and disk by itself.
func (p *Plan) demand() (d Servers) {
	const most = 1 << 31
	d.ByPoints = 1 + sort.Search(most, func(less int) bool { return p.share(p.Points, 1+less) <= p.capacity(1+less) })
	d.BySeries = p.divide(p.Series, p.cfg.ServerSeries)
	d.ByDisk = p.divide(p.InfluxDisk, float64(p.cfg.ServerDisk))
	d.Shards = max(d.ByPoints, d.BySeries, d.ByDisk)
	d.Each = p.capacity(d.Shards)
	return d
}

// divide returns over how many servers a whole is to be spread of which each
// takes so much.
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

// capacity returns the points/s that one of so many servers is to take: as many
// as make it half busy, in the batches that so many fill.
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

// pointCost returns the CPU-µs of a point in one of so many servers, in writes of
// so many lines.
func (p *Plan) pointCost(shards int, lines float64) float64 {
	return between(pointBySeries, p.SeriesDay/float64(shards)) + between(extraByLines, lines)
}

// linesOf returns how large a batch becomes of so many points/s: full, or what
// came while it waited.
func (p *Plan) linesOf(points float64) float64 {
	return math.Max(1, math.Min(points*p.cfg.BatchWait.Seconds(), float64(p.cfg.BatchLines)))
}
