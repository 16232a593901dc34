package main

import (
	"math"
	"sort"
)

// demand is how many InfluxDB servers it takes, and why.
type demand struct {
	byPoints, bySeries, byDisk int
	shards                     int     // the most of them
	each                       float64 // points/s that one of so many is to take, with headroom
}

// why names what asks for the most servers.
func (d *demand) why() string {
	switch d.shards {
	case d.byPoints:
		return "points"
	case d.bySeries:
		return "series"
	}
	return "disk"
}

// demand finds the least number of servers that suffices, for each of points,
// series and disk by itself.
func (n *needs) demand() (d demand) {
	const most = 1 << 31
	d.byPoints = 1 + sort.Search(most, func(less int) bool { return n.share(n.points, 1+less) <= n.capacity(1+less) })
	d.bySeries = n.divide(n.series, n.cmd.ServerSeries)
	d.byDisk = n.divide(n.influxDisk, float64(n.cmd.ServerDisk))
	d.shards = max(d.byPoints, d.bySeries, d.byDisk)
	d.each = n.capacity(d.shards)
	return d
}

// divide returns over how many servers a whole is to be spread of which each
// takes so much.
func (n *needs) divide(whole, each float64) int {
	if whole <= each {
		return 1
	}
	return max(2, int(math.Ceil(whole*n.figures.spread.Value/each)))
}

// share returns the busiest server's part of a whole.
func (n *needs) share(whole float64, shards int) float64 {
	if shards == 1 {
		return whole
	}
	return whole / float64(shards) * n.figures.spread.Value
}

// capacity returns the points/s that one of so many servers is to take: as many
// as make it half busy, in the batches that so many fill.
func (n *needs) capacity(shards int) float64 {
	f := n.figures
	if n.cmd.ServerPoints > 0 {
		return f.headroom.Value * n.cmd.ServerPoints
	}
	points := math.Inf(1)
	for range 20 { // fewer points, smaller batches, fewer points still: it settles soon
		points = f.headroom.Value * f.cores.Value * 1e6 / n.pointCost(shards, n.linesOf(points))
	}
	return points
}

// pointCost returns the CPU-µs of a point in one of so many servers, in writes of
// so many lines.
func (n *needs) pointCost(shards int, lines float64) float64 {
	return between(pointBySeries, n.seriesDay/float64(shards)) + between(extraByLines, lines)
}

// linesOf returns how large a batch becomes of so many points/s: full, or what
// came while it waited.
func (n *needs) linesOf(points float64) float64 {
	return math.Max(1, math.Min(points*n.cmd.BatchWait.Seconds(), float64(n.cmd.BatchLines)))
}
