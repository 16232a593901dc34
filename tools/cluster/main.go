// Command cluster runs an installation of several nodes on this machine and breaks it: three
// NATS servers that sync each write, an InfluxDB, three pingline nodes
// for two parts of the riders, and a simulated city that sends through all of them.
//
//	make demo-cluster     any node or server dies by its name, typed
//	make chaos-cluster    they die, stand still and are restarted at random for ten minutes
//
// Both end with an audit: each ping that was answered is stored, or within its bound of the
// stored track, or the exit status is 1. kill -9 leaves what the system has in memory: nothing
// here shows what becomes of a loss of power.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
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
}

var errUsage = errors.New("wrong flags")

func main() {
	if os.Getenv(asServer) != "" {
		os.Exit(runServer(os.Args[1:]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends it at once
	switch err := run(ctx, os.Args[1:], os.Stdin, os.Stdout); {
	case errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errUsage):
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

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
	f.BoolVar(&o.chaos, "chaos", false, "nodes and servers fail at random, instead of by name")
	f.DurationVar(&o.every, "every", 10*time.Second, "with -chaos, time between two failures, on average")
	f.Uint64Var(&o.seed, "seed", 1, "the same seed gives the same city, and the same failures")
	f.StringVar(&o.binary, "binary", "", "a pingline that is built; else it is built now")
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
	case o.riders < 1 || o.batch < 1 || !(o.rate >= 1 && o.rate <= 1e6):
		err = errors.New("-riders, -batch, -rate: at least 1")
	}
	if err != nil {
		err = fmt.Errorf("%w: %w", errUsage, err)
	}
	return o, err
}

func run(ctx context.Context, args []string, in io.Reader, out io.Writer) (failure error) {
	o, err := parse(args)
	if err != nil {
		return err
	}
	temporary := o.dir == ""
	if temporary {
		if o.dir, err = os.MkdirTemp("", "pingline-cluster-"); err != nil {
			return err
		}
	} else if err := os.MkdirAll(o.dir, 0o700); err != nil {
		return err
	}
	defer func() {
		switch {
		case !temporary:
		case failure != nil:
			fmt.Fprintln(out, "logs and data are left in", o.dir)
		default:
			_ = os.RemoveAll(o.dir)
		}
	}()
	if o.binary == "" {
		if o.binary, err = build(ctx, o.dir); err != nil {
			return err
		}
	}
	s, err := newSite(o, &printer{to: out, began: time.Now()})
	if err != nil {
		return err
	}
	defer s.close()
	if err := s.open(ctx); err != nil {
		return err
	}
	driving, stop := ctx, func() {}
	if o.lasts > 0 {
		driving, stop = context.WithTimeout(ctx, o.lasts)
	}
	defer stop()
	t, err := s.drive(o)
	if err != nil {
		return err
	}
	if o.chaos {
		s.fail(driving, o)
	} else {
		s.obey(driving, in, o)
	}
	r, err := t.finish(context.WithoutCancel(ctx))
	if err != nil {
		return err
	}
	s.say.line("%s", r.sentence())
	return r.err()
}

// build makes the program that is run.
func build(ctx context.Context, dir string) (string, error) {
	path := filepath.Join(dir, "pingline")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", path, "pingline/cmd/pingline")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("build pingline: %w", err)
	}
	return path, nil
}
