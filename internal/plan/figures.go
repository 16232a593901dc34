package plan

import (
	"math"
	"time"
)

// Figure is a number that a plan rests on, and its source.
type Figure struct {
	Name   string  `json:"name"`
	Value  float64 `json:"value"`
	Unit   string  `json:"unit"`
	Source string  `json:"source"`
}

// Figures are the numbers that a plan rests on: measured, or guesses that are
// called so. "2 cores" is a virtual machine with two cores of an AMD EPYC (Zen 5)
// and 23 GiB, its disk virtual too, shared with other users; CPU times are the
// process's own.
type Figures struct {
	Kept    Figure // part of the pings that the filter keeps
	Regions Figure // cells that a rider is in within a day
	Commits Figure // commits that a disk takes in a second

	lateSeries, entry, commit, checkpoint Figure

	request, decode, key, judge, encode, line Figure

	body, header, gzip Figure

	point, disk, series, server, cores Figure

	rider, spread, headroom Figure

	base, load, replay, replayed, lease Figure
}

// NewFigures returns the figures for a fleet that sends at an interval. The names
// of benchmarks in the sources are for make bench BENCH=….
func NewFigures(interval time.Duration) Figures {
	return Figures{
		Kept:       Figure{"kept", keptAt(interval), "of the pings", "recorded rides at 10 m, thinned to such an interval"},
		Regions:    Figure{"regions", 2, "cells a rider and day", "a guess: cells of resolution 5 are some 20 km wide"},
		lateSeries: Figure{"late_series", 0.1, "of the series once more", "a guess: riders with a point out of order, which has the tag late"},

		entry:      Figure{"entry_bytes", 47, "bytes in the log for a ping, and again for a held one that is stored", "measured, rides of pingline demo"},
		commit:     Figure{"commit_bytes", 200, "bytes in the log for a commit", "measured, commits of one ping"},
		Commits:    Figure{"commits", 1000, "fsynced commits/s", "measured on 2 cores: 1,100 to 2,800"},
		checkpoint: Figure{"checkpoint", 300, "seconds of log that the filter needs", "pingline serve: it saves its state every 5 minutes"},

		request: Figure{"request_us", 30, "CPU-µs a request", "measured, BenchmarkHTTP/1"},
		decode:  Figure{"decode_ns", 460, "ns a ping", "measured, BenchmarkDecode"},
		key:     Figure{"key_ns", 170, "ns a ping", "measured, BenchmarkKey"},
		judge:   Figure{"judge_ns", 220, "ns a ping", "measured, BenchmarkJudge, 100,000 riders"},
		encode:  Figure{"encode_ns", 30, "ns a ping", "measured, BenchmarkAppendEntry"},
		line:    Figure{"line_ns", 1000, "ns a point: decode, line, gzip", "measured, BenchmarkLine"},

		body:   Figure{"body_bytes", 150, "bytes of JSON a ping", "docs/api.md, all fields but trip and event"},
		header: Figure{"header_bytes", 500, "bytes a request and answer", "HTTP headers over TCP, TLS left out"},
		gzip:   Figure{"gzip_bytes", 28, "bytes a point to InfluxDB", "measured, BenchmarkInfluxOrder; 145 before gzip"},

		point:  Figure{"point_us", 0, "CPU-µs a point in InfluxDB, for so many series and lines a write", "measured, BenchmarkInfluxWrite"},
		disk:   Figure{"disk_bytes", 44, "bytes a point in InfluxDB", "measured, BenchmarkInfluxDisk, 100 points of a series a day"},
		series: Figure{"series_bytes", 12_000, "bytes of memory a series in InfluxDB", "measured, BenchmarkInfluxWrite, 100,000"},
		server: Figure{"server_bytes", 200e6, "bytes of memory of an InfluxDB without them", "measured, BenchmarkInfluxWrite, 1,000"},
		cores:  Figure{"server_cores", 2, "cores of the InfluxDB that was measured", "more do more; measure yours and give --server-points"},

		rider:    Figure{"rider_bytes", 350, "bytes of memory a track in the filter", "measured, BenchmarkMemory"},
		spread:   Figure{"spread", 1.15, "the busiest shard's share of the mean", "TestStadium: most, once hot cells are split"},
		headroom: Figure{"headroom", 0.5, "of what a machine could do", "the other half catches up after an outage, and answers queries"},

		base:     Figure{"node_bytes", 320e6, "bytes of memory of a node, its tracks apart", "measured, docs/performance.md: 218 to 330 MiB with 100,000 riders"},
		load:     Figure{"load_us", 0.6, "µs a track at a start, for the filter's state", "measured, BenchmarkLoad: 0.50 to 0.56"},
		replay:   Figure{"replay_ns", 900, "ns an entry of the log at a start", "measured, BenchmarkReplay: 200 to 900"},
		replayed: Figure{"replayed", 10e6, "entries at most, whatever the seconds of checkpoint", "pingline serve: its state is saved before there are more"},
		lease:    Figure{"lease", 15, "seconds that a standby waits for a node that is silent", "--queue-lease of pingline serve; docs/high-availability.md"},
	}
}

// list returns the figures in the order of the text.
func (f *Figures) list() []Figure {
	return []Figure{
		f.Kept, f.Regions, f.lateSeries,
		f.entry, f.commit, f.Commits, f.checkpoint,
		f.request, f.decode, f.key, f.judge, f.encode, f.line,
		f.body, f.header, f.gzip,
		f.point, f.disk, f.series, f.server, f.cores,
		f.rider, f.spread, f.headroom,
		f.base, f.load, f.replay, f.replayed, f.lease,
	}
}

// at is a measured value y for an argument x.
type at struct{ x, y float64 }

// between returns the value for x on the line through points in a log-log
// plot; beyond the ends it is the value at the end.
func between(points []at, x float64) float64 {
	for i, p := range points {
		switch {
		case x > p.x:
			continue
		case i == 0:
			return p.y
		}
		q := points[i-1]
		return q.y * math.Pow(p.y/q.y, math.Log(x/q.x)/math.Log(p.x/q.x))
	}
	return points[len(points)-1].y
}

// keptByInterval is the part of the pings that the filter keeps with its
// defaults, by the seconds between pings. It is the larger part for two sets
// of rides thinned to the interval: four outings at 1 Hz (a drive, a commute,
// a run, a bicycle ride), and 62 cars and buses that send every 5 to 20 s.
// TestKeptIsMeasured repeats it.
var keptByInterval = []at{{1, 0.072}, {5, 0.496}, {10, 0.648}, {15, 0.76}, {20, 0.803}, {30, 0.885}, {60, 1}}

func keptAt(interval time.Duration) float64 { return between(keptByInterval, interval.Seconds()) }

// The cost of a point in InfluxDB in CPU-µs, compaction included: by the series
// that are written to, in batches of 5,000 with a cache-snapshot-memory-size to
// match, and the additional cost by the lines of a write. It is the larger of
// 1.8's and 2.7's, rounded up.
var (
	pointBySeries = []at{{1000, 9}, {20_000, 17}, {100_000, 20}, {1_000_000, 35}}
	extraByLines  = []at{{1, 480}, {100, 9}, {1000, 4}, {5000, 0.1}}
)
