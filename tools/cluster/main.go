// Command cluster runs an installation of several nodes on this machine and breaks it: three
// NATS servers that sync each write, an InfluxDB, three pingline nodes
// for two parts of the riders, and a simulated city that sends through all of them.
//
//	make demo-cluster     any node or server dies by its name, typed
//	make chaos-cluster    for ten minutes, at random and several at once, they die, stand still and
//	                      are restarted; connections between any two are cut, in both directions or
//	                      one, and the bytes that waited arrive afterwards or never; clocks step
//	make takeover         how long riders have no answer when their node goes, and that others have
//
// With -roll all nodes are restarted in turn instead, with -old-binary from an earlier version to
// a newer.
//
// All but takeover end with an audit: each ping that was answered is stored, or within its bound of
// the stored track; it is in the log of its part once, in records whose numbers have no gap and
// whose epochs rise; totals of the roll-up are the sum of all parts; the counts of each node add
// up. Else the exit status is 1. kill -9 leaves what the system has in memory: nothing
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

	"pingline/internal/natsd"
)

func main() {
	natsd.Main()
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
	if o.takeover > 0 {
		return s.takeovers(ctx, &o)
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
	switch {
	case o.chaos:
		s.fail(driving, &o)
	case o.roll:
		s.rollOn(driving, t)
	default:
		s.obey(driving, in, o)
	}
	r, err := t.finish(context.WithoutCancel(ctx))
	if err != nil {
		return err
	}
	for _, line := range append([]string{r.sentence(), r.logs.Sentence()}, append(r.Examples, r.logs.Examples...)...) {
		s.say.line("%s", line)
	}
	if r.Rollups != nil {
		s.say.line("%s", r.Rollups.Sentence())
	}
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
