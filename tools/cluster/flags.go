package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"
)

const (
	servers      = 3
	defaultParts = 2
	patience     = 5 * time.Minute // for what must happen, on a busy machine
)

// runFlags are the flags.
type runFlags struct {
	lasts         time.Duration
	nodes, parts  int
	riders, batch int
	rate          float64
	lease, away   time.Duration
	chaos         bool
	every         time.Duration
	seed          uint64
	binary, dir   string
	old           string
	clock         bool
	roll          bool
	takeover      int
	past          int
	follow        int
}

var errUsage = errors.New("wrong flags")

func parse(args []string) (o runFlags, err error) {
	f := flag.NewFlagSet("cluster", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.DurationVar(&o.lasts, "for", 0, "how long the city drives; 0 until Ctrl-C")
	f.IntVar(&o.nodes, "nodes", 3, "pingline nodes")
	f.IntVar(&o.parts, "parts", defaultParts, "parts that the riders are divided into, a power of two; 1 is a node and standbys")
	f.IntVar(&o.riders, "riders", 1000, "riders in the city")
	f.IntVar(&o.batch, "batch", 50, "pings in a request, of as many riders")
	f.Float64Var(&o.rate, "rate", 2000, "pings a second, of all riders together")
	f.DurationVar(&o.lease, "lease", 10*time.Second, "--queue-lease of the nodes; an election of the servers takes 5 to 8 s")
	f.DurationVar(&o.away, "away", 15*time.Second, "how long a node or server that was killed stays dead")
	f.BoolVar(&o.chaos, "chaos", false, "nodes, servers and connections fail at random, instead of by name")
	f.DurationVar(&o.every, "every", 10*time.Second, "with -chaos, time between two failures, on average")
	f.Uint64Var(&o.seed, "seed", 1, "the same seed gives the same city, and the same failures")
	f.StringVar(&o.binary, "binary", "", "a pingline that is built; else it is built now")
	f.StringVar(&o.old, "old-binary", "", "a pingline of an earlier version, which all nodes run at first; -roll replaces it")
	f.BoolVar(&o.clock, "clock", false, "the binary is built with tools/clock/overlay: with -chaos, clocks of nodes step")
	f.BoolVar(&o.roll, "roll", false, "instead of faults, all nodes are restarted in turn by SIGTERM, as an upgrade does, and again, for as long as -for says, at least once")
	f.IntVar(&o.takeover, "takeover", 0, "instead of the city and faults, kill this many nodes by kill -9, and end as many by SIGTERM, and tell how long riders had no answer")
	f.IntVar(&o.past, "past", 0, "with -takeover, riders whose pings are in the log before the first node goes")
	f.IntVar(&o.follow, "follow", 2, "--follow of the nodes: logs that a node which waits reads along")
	f.StringVar(&o.dir, "dir", "", "directory for logs and data, kept afterwards; else a temporary one, removed unless the audit fails")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			f.SetOutput(os.Stderr)
			f.PrintDefaults()
			return o, err
		}
		return o, fmt.Errorf("%w: %w", errUsage, err)
	}
	switch {
	case f.NArg() > 0:
		err = fmt.Errorf("unexpected %q", f.Arg(0))
	case o.lasts < 0 || o.away <= 0 || o.every <= 0:
		err = errors.New("-for, -away, -every: a time is below 0")
	case o.nodes < 1 || o.nodes > 26:
		err = fmt.Errorf("-nodes: %d is not in [1, 26]", o.nodes)
	case o.parts < 1 || o.parts > o.nodes:
		err = fmt.Errorf("-parts: %d is not in [1, %d], the number of nodes", o.parts, o.nodes)
	case o.parts&(o.parts-1) != 0:
		err = fmt.Errorf("-parts: %d is no power of two", o.parts)
	case o.lease < time.Second:
		err = fmt.Errorf("-lease: %v is below 1s", o.lease)
	case o.takeover < 0 || o.takeover > 0 && (o.chaos || o.roll) || o.chaos && o.roll:
		err = errors.New("-chaos, -roll, -takeover: one of them, and -takeover is not below 0")
	case o.takeover > 0 && (o.parts < 2 || o.nodes <= o.parts):
		err = errors.New("-takeover: needs two parts, and a node more than parts")
	case o.past < 0 || o.follow < 0:
		err = errors.New("-past, -follow: below 0")
	case o.riders < 1 || o.batch < 1 || !(o.rate >= 1 && o.rate <= 1e6):
		err = errors.New("-riders, -batch, -rate: at least 1")
	}
	if err != nil {
		err = fmt.Errorf("%w: %w", errUsage, err)
	}
	return o, err
}
