// Command benchtable measures pingline serve beside a floor, a bare Fiber handler that
// throws the bodies of requests away, in one run and by the same load, and writes a
// table of both: how many pings a second they take, what a ping costs, and how long
// requests take at half of that rate. Everything of pingline is on: its log is synced
// before a request is answered, the roll-up counts, and what is kept is written to an
// InfluxDB that throws it away.
//
// With -nodes it measures the embedded log beside the same log on NATS servers, and beside several
// nodes that share the riders.
//
// Ratios travel from machine to machine, rates do not. The repeats of all loads and
// both servers take turns, so that a machine that slows down slows down both.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"pingline/internal/natsd"
	"pingline/sim"
	"pingline/sim/prepared"
)

// options are the flags.
type options struct {
	loads, formats string
	lasts, warm    time.Duration
	repeats        int
	riders, steps  int
	binary, data   string
	json, doc      string
	version        string
	profile        string
	nodes          bool
	before         string
	direct         bool
	times          float64
}

func main() {
	natsd.Main()
	if len(os.Args) > 1 && os.Args[1] == asFloor {
		serveFloor()
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "benchtable:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out, progress io.Writer) (failure error) {
	var o options
	f := flag.NewFlagSet("benchtable", flag.ContinueOnError)
	f.StringVar(&o.loads, "loads", "single,b100,b1000", "loads: `names` of "+loadNames())
	f.StringVar(&o.formats, "formats", "json,ndjson,gzip,zstd", "formats of bodies")
	f.DurationVar(&o.lasts, "for", 3*time.Second, "how long is measured, each time")
	f.DurationVar(&o.warm, "warm", time.Second, "how long a load runs before it is measured")
	f.IntVar(&o.repeats, "repeats", 3, "how often each is measured; the table has medians")
	f.IntVar(&o.riders, "riders", 100_000, "riders, each with a ping a second")
	f.IntVar(&o.steps, "steps", 20, "pings of a rider that are made; then the rider goes back")
	f.StringVar(&o.binary, "binary", "", "a pingline that is built; else it is built now")
	f.StringVar(&o.data, "data", "", "a directory for logs, on the disk to measure; else one for temporary files")
	f.StringVar(&o.json, "json", "", "file for all figures")
	f.StringVar(&o.profile, "profile", "", "file for a CPU profile of pingline under the first load, for go tool pprof; it slows that load down a little")
	f.StringVar(&o.version, "version", "", "what is measured, for the table")
	f.StringVar(&o.doc, "doc", "", "document whose section of the table is written anew")
	f.BoolVar(&o.nodes, "nodes", false, "instead of the floor: the embedded log, the same on three NATS servers, and three nodes that share the riders, with the same half load")
	f.StringVar(&o.before, "before", "", "with -nodes: another pingline, with an embedded log")
	f.BoolVar(&o.direct, "direct", false, "instead of the table: how many pings a second a real InfluxDB takes as lines from the phones themselves, and whether pingline in front of it takes -times as many, live and for -for")
	f.Float64Var(&o.times, "times", 5, "with -direct")
	if err := f.Parse(args); err != nil {
		return err
	}
	list, err := casesOf(o.loads, o.formats)
	if err != nil {
		return err
	}
	if o.data, err = os.MkdirTemp(o.data, "benchtable"); err != nil {
		return err
	}
	defer func() {
		if err := os.RemoveAll(o.data); failure == nil {
			failure = err
		}
	}()
	if o.binary == "" {
		o.binary = filepath.Join(o.data, "pingline")
		if text, err := exec.CommandContext(ctx, "go", "build", "-o", o.binary, "pingline/cmd/pingline").CombinedOutput(); err != nil {
			return fmt.Errorf("build pingline: %w: %s", err, text)
		}
	}
	if o.nodes && o.doc != "" {
		return errors.New("-doc: with -nodes the table goes into no document")
	}
	if o.direct {
		return compareDirect(ctx, &o, out, progress)
	}
	t, err := measureAll(ctx, &o, list, progress)
	if err != nil {
		return err
	}
	table := t.markdown()
	if o.nodes {
		table = t.nodesMarkdown()
	}
	fmt.Fprint(out, table)
	if o.json != "" {
		text, err := json.MarshalIndent(t, "", "\t")
		if err == nil {
			err = os.WriteFile(o.json, append(text, '\n'), 0o644) //nolint:gosec // a report, for all to read
		}
		if err != nil {
			return err
		}
	}
	if o.doc != "" {
		return writeSection(o.doc, table)
	}
	return nil
}

// measureAll measures each case on both servers, as often as asked.
func measureAll(ctx context.Context, o *options, list []trafficCase, progress io.Writer) (*benchTable, error) {
	t := &benchTable{Machine: lookAround(o.data), Riders: o.riders, Lasts: o.lasts.Seconds(), Repeats: o.repeats}
	city, err := sim.NewCity(sim.CityConfig{Riders: o.riders, Interval: time.Second})
	if err != nil {
		return nil, err
	}
	stock, err := prepared.NewStock(city, o.riders, o.steps, time.Now().UnixMilli())
	if err != nil {
		return nil, err
	}
	null, err := openNull()
	if err != nil {
		return nil, err
	}
	defer null.close()
	l := &lab{options: o, stock: stock, store: null.url()}
	for n := range o.repeats {
		for _, c := range list {
			for _, kind := range o.kinds() {
				m, err := l.measure(ctx, c, kind)
				if err != nil {
					return nil, fmt.Errorf("%s, %s, %s: %w", kind, c.load.name, c.format, err)
				}
				fmt.Fprintf(progress, "%d/%d %s\n", n+1, o.repeats, m)
				t.add(m)
			}
		}
	}
	t.Machine.Version, t.Machine.LoadAfter = o.version, loadAverage()
	return t, nil
}

// kinds returns the servers that take turns. The slowest goes first: the rest gets its half load.
func (o *options) kinds() []serverKind {
	switch {
	case !o.nodes:
		return []serverKind{floorServer, pinglineServer}
	case o.before != "":
		return []serverKind{nodesServer, replicatedServer, pinglineServer, beforeServer}
	}
	return []serverKind{nodesServer, replicatedServer, pinglineServer}
}

// traffic is how pings are sent.
type traffic struct {
	name        string
	batch       int
	connections int
	age         time.Duration // of the first pings: riders send about 10 times as fast as they do, and end about now
	guess       float64       // pings/s that it may reach, before any were measured
}

// trafficCase is a load in a format.
type trafficCase struct {
	load   traffic
	format sim.Format
}

// loads are all that can be measured. Bodies of known length of up to 64 KiB are read in
// another way than longer ones: batches of 100 are below it, those of 1,000 above.
var loads = []traffic{
	{"single", 1, 512, 5 * time.Second, 100_000},
	{"single64", 1, 64, 5 * time.Second, 100_000},
	{"b100", 100, 64, time.Minute, 1_500_000},
	{"b1000", 1000, 64, 75 * time.Second, 2_000_000},
	{"few", 2, 2, 5 * time.Second, 20_000}, // for tests
}

func loadNames() string {
	var names []string
	for i := range loads {
		names = append(names, loads[i].name)
	}
	return strings.Join(names, ", ")
}

// casesOf returns the loads in the formats of two lists.
func casesOf(names, formats string) (list []trafficCase, err error) {
	for name := range strings.SplitSeq(names, ",") {
		known := false
		for _, load := range loads {
			if load.name != name {
				continue
			}
			known = true
			for format := range strings.SplitSeq(formats, ",") {
				switch f := sim.Format(format); f {
				case sim.JSON, sim.NDJSON, sim.Gzip, sim.Zstd:
					list = append(list, trafficCase{load, f})
				default:
					return nil, fmt.Errorf("format %q: not json, ndjson, gzip or zstd", format)
				}
			}
		}
		if !known {
			return nil, fmt.Errorf("load %q: not one of %s", name, loadNames())
		}
	}
	return list, nil
}
