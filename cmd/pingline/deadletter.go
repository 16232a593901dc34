package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"pingline"
	"pingline/internal/command"
	"pingline/internal/node"
	"pingline/internal/unit"
	"pingline/sink/deadletter"
)

// deadletterCmd works on the files of a server, whether the server runs or
// not.
type deadletterCmd struct {
	List   listCmd   `cmd:"" help:"Show the rows that InfluxDB refused."`
	Replay replayCmd `cmd:"" help:"Put refused rows back into the log, to be written after all."`
	Accept acceptCmd `cmd:"" help:"Where too many rows are refused and a shard stands still: let them become dead letters."`
}

type letterDir struct {
	DataDir string `default:"./pingline-data" help:"Directory that serve works in; it may be running."`
}

// open returns the dead letters of a server.
func (d *letterDir) open() (*deadletter.Dir, error) {
	if err := command.OfParts(d.DataDir); err != nil {
		return nil, err
	}
	letters, err := deadletter.Open(filepath.Join(d.DataDir, node.DeadLetterDir))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, command.Unusable(fmt.Errorf("--data-dir: no server has worked in %s: %w", d.DataDir, err))
	case err != nil:
		return nil, command.Unusable(fmt.Errorf("--data-dir: %w", err))
	}
	return letters, nil
}

// letterFilter selects dead letters.
type letterFilter struct {
	letterDir `embed:""`
	Reason    string `env:"-" help:"Only rows refused for this: part of what InfluxDB said, or of the cause that metrics name."`
	Shard     string `env:"-" help:"Only rows that this shard refused."`
}

func (f *letterFilter) picks(l *deadletter.Letter) bool {
	contains := func(s string) bool { return strings.Contains(strings.ToLower(s), strings.ToLower(f.Reason)) }
	return (f.Shard == "" || l.Shard == f.Shard) && (contains(l.Cause) || contains(l.Reason))
}

type listCmd struct {
	letterFilter `embed:""`
	JSON         bool `name:"json" env:"-" help:"One JSON object a row, with InfluxDB's own words."`
}

func (c *listCmd) Run(p *program) error {
	letters, err := c.open()
	if err != nil {
		return err
	}
	out := bufio.NewWriter(p.Stdout)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	found := make(tallies)
	err = c.each(p, letters, func(l *deadletter.Letter) error {
		found[l.Cause]++
		if c.JSON {
			return enc.Encode(l)
		}
		_, err := fmt.Fprintf(out, "%s  %s  %s  %s\n", l.At.Format(time.RFC3339), l.Shard, l.Cause, l.Row())
		return err
	})
	if !c.JSON && (err == nil || found.sum() > 0) {
		fmt.Fprintf(out, "%s\n", found)
	}
	return errors.Join(err, out.Flush())
}

// tallies count rows by cause.
type tallies map[string]int

func (t tallies) sum() (n int) {
	for _, k := range t {
		n += k
	}
	return n
}

func (t tallies) String() string {
	var causes []string
	for _, cause := range slices.Sorted(maps.Keys(t)) {
		causes = append(causes, fmt.Sprintf("%d %s", t[cause], cause))
	}
	switch n := t.sum(); n {
	case 0:
		return "no dead letters"
	case 1:
		return "1 dead letter: " + causes[0]
	default:
		return unit.Plural(n, "dead letter", "dead letters") + ": " + strings.Join(causes, ", ")
	}
}

// each calls visit for every letter selected. Lines that cannot be read are
// printed as they are met, and make an error in the end.
func (f *letterFilter) each(p *program, letters *deadletter.Dir, visit func(*deadletter.Letter) error) error {
	bad := 0
	for l, err := range letters.All() {
		if p.Err() != nil {
			return p.Err()
		}
		if err != nil {
			bad++
			fmt.Fprintln(p.Stderr, "pingline:", err)
			continue
		}
		if !f.picks(l) {
			continue
		}
		if err := visit(l); err != nil {
			return err
		}
	}
	if bad > 0 {
		return errors.New(unit.Plural(bad, "line cannot be read", "lines cannot be read"))
	}
	return nil
}

type replayCmd struct {
	letterFilter `embed:""`
	DryRun       bool          `env:"-" help:"Only say what would be put back."`
	Wait         time.Duration `default:"10s" env:"-" help:"How long to wait for a server to take the rows up."`
}

func (c *replayCmd) Run(p *program) error {
	letters, err := c.open()
	if err != nil {
		return err
	}
	if c.DryRun {
		found := make(tallies)
		err := c.each(p, letters, func(l *deadletter.Letter) error { found[l.Cause]++; return nil })
		fmt.Fprintf(p.Stdout, "would be put back: %s\n", found)
		return err
	}
	n, err := letters.Replay(p, c.picks)
	if err != nil {
		return err
	}
	if n == 0 {
		fmt.Fprintln(p.Stdout, "no dead letters")
		return nil
	}
	fmt.Fprintf(p.Stdout, "%s on their way back into the log\n", unit.Plural(n, "dead letter is", "dead letters are"))
	taken, err := c.taken(p, letters)
	switch {
	case err != nil:
		return err
	case taken:
		fmt.Fprintln(p.Stdout, "the server has taken them up")
	default:
		fmt.Fprintf(p.Stdout, "no server has taken them up so far; they wait in %s for one that runs\n", filepath.Join(c.DataDir, node.DeadLetterDir, "replay"))
	}
	return nil
}

// taken waits, for as long as asked, until a server has taken all letters up,
// and reports whether it has.
func (c *replayCmd) taken(ctx context.Context, letters *deadletter.Dir) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Wait)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		files, err := letters.Replaying()
		if err != nil || files == 0 {
			return err == nil, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false, nil
		}
	}
}

type acceptCmd struct {
	letterDir `embed:""`
	Shard     string `required:"" env:"-" placeholder:"NAME" help:"Shard that stands still."`
	Rows      *int   `required:"" env:"-" placeholder:"N" help:"How many more of its rows may be refused."`
}

// Validate is called by kong; the error names the flag and the limit.
func (c *acceptCmd) Validate() error {
	switch { // kong calls Validate before it checks required flags
	case c.Shard == "":
		return errors.New("--shard is required")
	case c.Rows == nil:
		return errors.New("--rows is required")
	}
	if err := pingline.CheckName("shard", c.Shard); err != nil {
		return fmt.Errorf("--%w", err)
	}
	if *c.Rows < 1 || *c.Rows > math.MaxInt32 {
		return fmt.Errorf("--rows: %d is not in [1, %d]", *c.Rows, math.MaxInt32)
	}
	return nil
}

func (c *acceptCmd) Run(p *program) error {
	letters, err := c.open()
	if err != nil {
		return err
	}
	if err := letters.Accept(p, c.Shard, *c.Rows); err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.Stdout, "%s of shard %s may become dead letters; a server that stands still sees this within seconds\n", unit.Plural(*c.Rows, "more row", "more rows"), c.Shard)
	return err
}
