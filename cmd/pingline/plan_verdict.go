package main

import (
	"fmt"
	"time"
)

// verdict says in a sentence how many InfluxDB servers it takes, and why.
func (n *needs) verdict() string {
	d := &n.servers
	if d.shards == 1 {
		return fmt.Sprintf("One InfluxDB is enough; do not shard: %s points/s are %s of what one is to take (%s), %s series %s of %s, %s of disk %s of %v.",
			count(n.points), percent(n.points/d.each), count(d.each),
			count(n.series), percent(n.series/n.cmd.ServerSeries), count(n.cmd.ServerSeries),
			size(n.influxDisk), percent(n.influxDisk/float64(n.cmd.ServerDisk)), n.cmd.ServerDisk)
	}
	points := fmt.Sprintf("%s points/s, and one is to take %s", count(n.points), count(n.capacity(d.byPoints)))
	series := fmt.Sprintf("%s series, and one is to hold %s", count(n.series), count(n.cmd.ServerSeries))
	disk := fmt.Sprintf("%s, and one has %v", size(n.influxDisk), n.cmd.ServerDisk)
	s := fmt.Sprintf("Use %s InfluxDB servers, because of the ", count(float64(d.shards)))
	switch d.why() {
	case "points":
		return s + fmt.Sprintf("points: %s. For the series alone (%s) it would be %s, for the disk (%s) %s.", points, series, count(float64(d.bySeries)), disk, count(float64(d.byDisk)))
	case "series":
		return s + fmt.Sprintf("series: %s. For the points alone (%s) it would be %s, for the disk (%s) %s.", series, points, count(float64(d.byPoints)), disk, count(float64(d.byDisk)))
	}
	return s + fmt.Sprintf("disk: %s. For the points alone (%s) it would be %s, for the series (%s) %s.", disk, points, count(float64(d.byPoints)), series, count(float64(d.bySeries)))
}

// advice returns what else there is to know.
func (n *needs) advice() (list []string) {
	say := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	if n.ingesters > 1 {
		say("One pingline serve is not enough: use %s of %d cores, each with a log of its own, and send all pings of a rider to the same one.",
			count(float64(n.ingesters)), n.cmd.Cores)
	}
	if n.logFor > n.cmd.QueueMax {
		say("A log of %v fills in less than %v: use --queue-max-bytes=%s.", n.cmd.QueueMax, n.cmd.Outage, roundUp(n.logFor))
	}
	if most, riders := n.cmd.Filter.MaxRiders, (n.cmd.Riders+n.ingesters-1)/n.ingesters; riders > most {
		say("The filter knows %s tracks at once, fewer than it gets: use --max-riders=%d, or more is kept than need be.", count(float64(most)), riders)
	}
	if d := &n.servers; d.shards > 1 && d.bySeries == d.shards {
		say("Fewer series: a coarser --cell-res, a shorter --retention.")
	} else if d.shards > 1 && d.byDisk == d.shards {
		say("Less disk: a shorter --retention for location, with the roll-up kept longer; a larger --max-error; larger disks.")
	}
	if n.cmd.BatchWait < 100*time.Millisecond {
		say("--batch-wait=%v makes writes of %s lines: InfluxDB does more work for each point.", n.cmd.BatchWait, count(n.batch))
	}
	return list
}

// technique is one of the means Pingline has: what it gains for this fleet, what
// it costs, and whether it is needed.
type technique struct {
	Name   string `json:"technique"`
	Gains  string `json:"gains"`
	Costs  string `json:"costs"`
	Needed bool   `json:"needed"`
	Why    string `json:"why"`
}

func (n *needs) techniques() []technique {
	return []technique{n.filter(), n.batching(), n.rollingUp(), n.queueing(), n.sharding()}
}

// without returns what the plan would be if the flags were others.
func (n *needs) without(change func(*planCmd, *figures)) *needs {
	c, f := *n.cmd, *n.figures
	change(&c, &f)
	return c.work(&f)
}

func (n *needs) filter() technique {
	all := n.without(func(_ *planCmd, f *figures) { f.kept.Value = 1 })
	filter := &n.cmd.Filter
	t := technique{Name: "filter",
		Gains: fmt.Sprintf("%s points/s of location instead of %s; %s a day less in InfluxDB", count(n.located), count(all.located), size(all.influxDay-n.influxDay)),
		Costs: fmt.Sprintf("the newest point of a moving rider is up to %v old; a dropped ping is off by up to %v m; %s of memory",
			span(filter.LiveGap+n.cmd.Interval), n.cmd.MaxError, size(n.riderMemory)),
	}
	if filter.LiveGap == 0 {
		t.Costs = fmt.Sprintf("the newest point of a rider has no limit to its age; a dropped ping is off by up to %v m; %s of memory", n.cmd.MaxError, size(n.riderMemory))
	}
	saved := all.influxDisk - n.influxDisk
	switch {
	case all.servers.shards > n.servers.shards:
		t.Needed, t.Why = true, fmt.Sprintf("without it it would be %s servers", count(float64(all.servers.shards)))
	case n.figures.kept.Value > 0.9:
		t.Why = "it drops next to nothing"
	case saved > 100<<30:
		t.Needed, t.Why = true, fmt.Sprintf("saves %s of disk", size(saved))
	default:
		t.Why = fmt.Sprintf("saves %s of disk, no server", size(saved))
	}
	return t
}

func (n *needs) batching() technique {
	singly := n.without(func(c *planCmd, _ *figures) { c.BatchLines = 1 })
	t := technique{Name: "batches",
		Gains: fmt.Sprintf("writes of %s lines, %s/s, instead of %s/s of one; InfluxDB busy for %s cores instead of %s",
			count(n.batch), decimal(n.writes), count(n.points), decimal(n.influxCPU), decimal(singly.influxCPU)),
		Costs: fmt.Sprintf("up to %v of delay", n.cmd.BatchWait),
		Why:   "one by one would do, but batches cost little",
	}
	if singly.servers.byPoints > n.servers.byPoints {
		t.Needed, t.Why = true, fmt.Sprintf("one by one would take %s servers", count(float64(singly.servers.byPoints)))
	}
	return t
}

// largeAnswer is a number of points that a dashboard should not have to add up
// every few seconds.
const largeAnswer = 100_000

func (n *needs) rollingUp() technique {
	on := n.without(func(c *planCmd, _ *figures) { c.Rollup = "on" })
	minute := n.located * 60
	t := technique{Name: "roll-up",
		Gains: fmt.Sprintf("a map of the last minute reads %s rows instead of %s; counts what the filter drops", count(on.cells), count(minute)),
		Costs: fmt.Sprintf("%s points/s, %s a day; %v old, final after 2m", count(on.rolled), size(on.rolled*n.busySeconds()*n.figures.disk.Value), rollupWindows[0]),
		Why:   "points can be added up as they are",
	}
	if minute > largeAnswer && on.cells < minute/2 {
		t.Needed, t.Why = true, "too much to add up for each look"
	}
	if t.Needed && n.cmd.Rollup == "off" {
		t.Why += "; it is off"
	}
	return t
}

func (n *needs) queueing() technique {
	copies := ""
	if n.cmd.Replicas > 1 {
		copies = fmt.Sprintf(" on each of %d servers, which they send each other", n.cmd.Replicas)
	}
	return technique{Name: "queue",
		Gains:  fmt.Sprintf("nothing is lost while InfluxDB is away, for %v (and %v to catch up); a burst is no load on it", n.cmd.Outage, about(n.catchUp)),
		Costs:  fmt.Sprintf("%s fsyncs/s, one before each answer; %s/s to disk, %s for the outage%s", count(n.commits), size(n.logRate), size(n.logOutage), copies),
		Needed: true, Why: "what was answered is kept by it",
	}
}

func (n *needs) sharding() technique {
	two := max(n.servers.shards, 2)
	t := technique{Name: "shards", Needed: n.servers.shards > 1,
		Gains: fmt.Sprintf("%s servers are to take %s points/s, one %s", count(float64(two)), count(float64(two)*n.capacity(two)/n.figures.spread.Value), count(n.capacity(1))),
		Costs: fmt.Sprintf("%s servers to run; each track and map is asked of all", count(float64(two))),
		Why:   "one server has room",
	}
	if t.Needed {
		t.Why = fmt.Sprintf("%s, because of the %s", count(float64(n.servers.shards)), n.servers.why())
	}
	return t
}
