package plan

import (
	"fmt"
	"strings"
	"time"

	"pingline/internal/unit"
)

// verdict says in a sentence how many InfluxDB servers the fleet needs, and
// why.
func (p *Plan) verdict() string {
	if p.Shards == 1 {
		return fmt.Sprintf("One InfluxDB is enough; do not shard: %s points/s are %s of what one is to take (%s), %s series %s of %s, %s of disk %s of %v.",
			count(p.Points), percent(p.Points/p.Each), count(p.Each),
			count(p.Series), percent(p.Series/p.cfg.ServerSeries), count(p.cfg.ServerSeries),
			unit.Size(p.InfluxDisk), percent(p.InfluxDisk/float64(p.cfg.ServerDisk)), p.cfg.ServerDisk)
	}
	reasons := map[string]string{
		"points": fmt.Sprintf("%s points/s, and one is to take %s", count(p.Points), count(p.capacity(p.ByPoints))),
		"series": fmt.Sprintf("%s series, and one is to hold %s", count(p.Series), count(p.cfg.ServerSeries)),
		"disk":   fmt.Sprintf("%s, and one has %v", unit.Size(p.InfluxDisk), p.cfg.ServerDisk),
	}
	var others []string
	for _, of := range []struct {
		name   string
		shards int
	}{{"points", p.ByPoints}, {"series", p.BySeries}, {"disk", p.ByDisk}} {
		if of.name == p.why() {
			continue
		}
		alone, be := "", ""
		if len(others) == 0 {
			alone, be = " alone", "it would be "
		}
		others = append(others, fmt.Sprintf("the %s%s (%s) %s%s", of.name, alone, reasons[of.name], be, count(float64(of.shards))))
	}
	return fmt.Sprintf("Use %s InfluxDB servers, because of the %s: %s. For %s.",
		count(float64(p.Shards)), p.why(), reasons[p.why()], strings.Join(others, ", for "))
}

// advice returns sentences on settings to change.
func (p *Plan) advice() (list []string) {
	say := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	list = append(list, p.nodesAdvice()...)
	if p.LogFor > p.cfg.QueueMax {
		say("A log of %v fills in less than %v: use --queue-max-bytes=%s.", p.cfg.QueueMax, p.cfg.Outage, roundUp(p.LogFor))
	}
	if most, riders := p.cfg.Filter.MaxRiders, (p.cfg.Riders+p.logs()-1)/p.logs(); riders > most {
		say("The filter knows %s tracks at once, fewer than it gets: use --max-riders=%d, or more is kept than need be.", count(float64(most)), riders)
	}
	if p.Shards > 1 && p.BySeries == p.Shards {
		say("Fewer series: a coarser --cell-res, a shorter --retention.")
	} else if p.Shards > 1 && p.ByDisk == p.Shards {
		say("Less disk: a shorter --retention for location, with the roll-up kept longer; a larger --max-error; larger disks.")
	}
	if p.cfg.BatchWait < 100*time.Millisecond {
		say("--batch-wait=%v makes writes of %s lines: InfluxDB does more work for each point.", p.cfg.BatchWait, count(p.batch))
	}
	return list
}

// Technique is a means of Pingline to reduce load or loss: its gain for this
// fleet, its cost, and whether it is needed.
type Technique struct {
	Name   string `json:"technique"`
	Gains  string `json:"gains"`
	Costs  string `json:"costs"`
	Needed bool   `json:"needed"`
	Why    string `json:"why"`
}

// without returns the plan of the same fleet after a change.
func (p *Plan) without(change func(*Config, *Figures)) *Plan {
	cfg, f := p.cfg, *p.figures
	change(&cfg, &f)
	return work(cfg, f)
}

func (p *Plan) filter() Technique {
	all := p.without(func(_ *Config, f *Figures) { f.Kept.Value = 1 })
	filter := &p.cfg.Filter
	t := Technique{Name: "filter",
		Gains: fmt.Sprintf("%s points/s of location instead of %s; %s a day less in InfluxDB", count(p.Located), count(all.Located), unit.Size(all.InfluxDay-p.InfluxDay)),
		Costs: fmt.Sprintf("the newest point of a moving rider is up to %v old; a dropped ping is off by up to %v m; %s of memory",
			unit.Span(filter.LiveGap+p.cfg.Interval), p.cfg.MaxError, unit.Size(p.RiderMemory)),
	}
	if filter.LiveGap == 0 {
		t.Costs = fmt.Sprintf("the newest point of a rider has no limit to its age; a dropped ping is off by up to %v m; %s of memory", p.cfg.MaxError, unit.Size(p.RiderMemory))
	}
	saved := all.InfluxDisk - p.InfluxDisk
	switch {
	case all.Shards > p.Shards:
		t.Needed, t.Why = true, fmt.Sprintf("without it it would be %s servers", count(float64(all.Shards)))
	case p.figures.Kept.Value > 0.9:
		t.Why = "it drops next to nothing"
	case saved > 100<<30:
		t.Needed, t.Why = true, fmt.Sprintf("saves %s of disk", unit.Size(saved))
	default:
		t.Why = fmt.Sprintf("saves %s of disk, no server", unit.Size(saved))
	}
	return t
}

func (p *Plan) batching() Technique {
	singly := p.without(func(c *Config, _ *Figures) { c.BatchLines = 1 })
	t := Technique{Name: "batches",
		Gains: fmt.Sprintf("writes of %s lines, %s/s, instead of %s/s of one; InfluxDB busy for %s cores instead of %s",
			count(p.batch), decimal(p.Writes), count(p.Points), decimal(p.InfluxCores), decimal(singly.InfluxCores)),
		Costs: fmt.Sprintf("up to %v of delay", p.cfg.BatchWait),
		Why:   "one by one would do, but batches cost little",
	}
	if singly.ByPoints > p.ByPoints {
		t.Needed, t.Why = true, fmt.Sprintf("one by one would take %s servers", count(float64(singly.ByPoints)))
	}
	return t
}

// largeAnswer is a number of points that a dashboard should not have to add up
// every few seconds.
const largeAnswer = 100_000

func (p *Plan) rollingUp() Technique {
	on := p.without(func(c *Config, _ *Figures) { c.Rollup = true })
	minute := p.Located * 60
	t := Technique{Name: "roll-up",
		Gains: fmt.Sprintf("a map of the last minute reads %s rows instead of %s; counts what the filter drops", count(on.cells), count(minute)),
		Costs: fmt.Sprintf("%s points/s, %s a day; %v old, final after 2m", count(on.Rolled), unit.Size(on.Rolled*p.busySeconds()*p.figures.disk.Value), rollupWindows[0]),
		Why:   "points can be added up as they are",
	}
	if minute > largeAnswer && on.cells < minute/2 {
		t.Needed, t.Why = true, "too much to add up for each look"
	}
	if t.Needed && !p.cfg.Rollup {
		t.Why += "; it is off"
	}
	return t
}

func (p *Plan) queueing() Technique {
	copies := ""
	if p.cfg.Replicas > 1 {
		copies = fmt.Sprintf(" on each of %d servers, which they send each other", p.cfg.Replicas)
	}
	return Technique{Name: "queue",
		Gains:  fmt.Sprintf("nothing is lost while InfluxDB is away, for %v (and %v to catch up); a burst is no load on it", p.cfg.Outage, about(p.CatchUp)),
		Costs:  fmt.Sprintf("%s fsyncs/s, one before each answer; %s/s to disk, %s for the outage%s", count(p.Commits), unit.Size(p.LogRate), unit.Size(p.LogOutage), copies),
		Needed: true, Why: "what was answered is kept by it",
	}
}

func (p *Plan) sharding() Technique {
	two := max(p.Shards, 2)
	t := Technique{Name: "shards", Needed: p.Shards > 1,
		Gains: fmt.Sprintf("%s servers are to take %s points/s, one %s", count(float64(two)), count(float64(two)*p.capacity(two)/p.figures.spread.Value), count(p.capacity(1))),
		Costs: fmt.Sprintf("%s servers to run; each track and map is asked of all", count(float64(two))),
		Why:   "one server has room",
	}
	if t.Needed {
		t.Why = fmt.Sprintf("%s, because of the %s", count(float64(p.Shards)), p.why())
	}
	return t
}
