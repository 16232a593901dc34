package main

import (
	"math"
	"time"
)

// needs is what a fleet asks of each part of the way, at its busiest unless it
// says a day. Rates are a second, sizes bytes.
type needs struct {
	cmd     *planCmd
	figures *figures

	pings, requests, commits float64
	located, rolled, points  float64 // points of location, of the roll-up, both
	cells                    float64 // that the roll-up writes a point for, 10 s at its finest
	batch, writes            float64 // lines in a write to InfluxDB, of all servers

	seriesDay, rollupSeries, series float64 // written to on a day; in all that is kept

	logRate, logDay, logOutage float64
	logFor                     byteSize // size of each log that the outage takes
	networkIn, networkOut      float64

	influxDay, influxDisk, influxMemory float64
	influxCPU                           float64 // cores
	groupDays                           float64 // time that InfluxDB deletes at once

	ingestCPU, writerBusy, riderMemory float64 // cores; of one; bytes of all riders
	ingesters                          int

	servers demand
	catchUp time.Duration // until InfluxDB has what an outage held back; 0 if there was none
}

// work does the sums.
func (c *planCmd) work(f *figures) *needs {
	n := &needs{cmd: c, figures: f}
	n.pings = float64(c.Riders) / c.Interval.Seconds()
	n.requests = n.pings / float64(c.PerRequest)
	n.located = n.pings * f.kept.Value
	n.rollUp()
	n.points = n.located + n.rolled
	n.countSeries()
	n.sizeIngest()
	n.sizeLog()
	n.sizeInflux()
	n.servers = n.demand()
	n.useServers()
	return n
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
func (n *needs) rollUp() {
	if n.cmd.Rollup == "off" {
		return
	}
	for _, res := range rollupRes {
		there := math.Max(n.area()/cellArea[res], 1)
		n.rollupSeries += there * float64(len(rollupWindows))
		for _, window := range rollupWindows {
			heard := float64(n.cmd.Riders) * math.Min(1, window.Seconds()/n.cmd.Interval.Seconds())
			busy := occupied(there, heard)
			n.rolled += busy / window.Seconds()
			if window == rollupWindows[0] && res == rollupRes[0] {
				n.cells = busy
			}
		}
	}
}

// occupied returns how many of so many cells have someone in them if riders are
// spread over them at random.
func occupied(cells, riders float64) float64 { return cells * -math.Expm1(-riders/cells) }

// area is in km².
func (n *needs) area() float64 {
	if n.cmd.Area > 0 {
		return n.cmd.Area
	}
	return float64(n.cmd.Riders) / 10
}

// countSeries counts what InfluxDB indexes: a rider in a cell is one, whose late
// points are another.
func (n *needs) countSeries() {
	riders, f := float64(n.cmd.Riders), n.figures
	n.seriesDay = riders*f.regions.Value*(1+f.lateSeries.Value) + n.rollupSeries
	days := math.Max(n.cmd.Retention.days(), 1)
	n.series = riders*f.regions.Value*(1+f.lateSeries.Value)*(1+n.cmd.NewRegions*(days-1)) + n.rollupSeries
}

const (
	// From 75 % on, and when it will be full within 10 minutes, pings sent late are
	// refused: the log should be larger than an outage fills it.
	logUsable     = 0.75
	logFullWithin = 10 * time.Minute
)

// sizeLog counts what is appended: every ping that is no copy, and a second time
// each that is held and then stored, which nearly all of the kept are.
func (n *needs) sizeLog() {
	f, logs := n.figures, float64(n.ingesters)
	n.commits = math.Min(n.requests, f.commits.Value*logs)
	n.logRate = (n.pings+n.located)*f.entry.Value + n.commits*f.commit.Value
	n.logDay = n.logRate * n.busySeconds() * float64(n.cmd.Replicas)
	n.logOutage = n.logRate * (time.Duration(n.cmd.Outage).Seconds() + f.checkpoint.Value)
	n.logFor = byteSize(math.Max(n.logOutage/logUsable, n.logOutage+n.logRate*logFullWithin.Seconds()) / logs)
	n.networkIn = n.pings*f.body.Value + n.requests*f.header.Value
	n.networkOut = n.points * f.gzip.Value
}

func (n *needs) busySeconds() float64 { return n.cmd.Hours * 3600 }

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
func (n *needs) sizeInflux() {
	n.groupDays = groupDays(time.Duration(n.cmd.Retention))
	n.influxDay = n.points * n.busySeconds() * n.figures.disk.Value
	n.influxDisk = n.influxDay * (n.cmd.Retention.days() + 2*n.groupDays)
}

// useServers tells what the servers there are have to do.
func (n *needs) useServers() {
	shards := n.servers.shards
	n.batch = n.linesOf(n.points / float64(shards))
	n.writes = n.points / n.batch
	n.figures.point.Value = n.pointCost(shards, n.batch)
	n.influxCPU = n.points * n.figures.point.Value / 1e6
	n.influxMemory = n.seriesDay*n.figures.series.Value + float64(shards)*n.figures.server.Value
	n.catchUp = n.catchingUp()
}

// sizeIngest counts what pingline serve needs. Its writer is one thread.
func (n *needs) sizeIngest() {
	f := n.figures
	writer := f.key.Value + f.judge.Value + f.encode.Value
	n.writerBusy = n.pings * writer / 1e9
	n.ingestCPU = n.pings*(f.decode.Value+writer)/1e9 + n.requests*f.request.Value/1e6 + n.points*f.line.Value/1e9
	n.riderMemory = float64(n.cmd.Riders) * f.rider.Value
	most := math.Max(n.writerBusy, n.ingestCPU/float64(n.cmd.Cores)) / f.headroom.Value
	n.ingesters = int(math.Max(1, math.Ceil(most)))
}

// catchingUp is how long it takes to write what an outage held back, beside what
// goes on coming in, if InfluxDB then does all it can.
func (n *needs) catchingUp() time.Duration {
	can, comes := n.servers.each/n.figures.headroom.Value, n.share(n.points, n.servers.shards)
	seconds := comes * time.Duration(n.cmd.Outage).Seconds() / (can - comes)
	return time.Duration(seconds * float64(time.Second)).Round(time.Second)
}
