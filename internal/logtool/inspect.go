package logtool

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"pingline/internal/command"
	"pingline/internal/logview"
	"pingline/internal/unit"
)

// InspectCmd shows how a log is.
type InspectCmd struct {
	JSON     bool `name:"json" help:"Print all of it, as JSON."`
	LogPlace `embed:""`
}

// Validate is called by the parser.
func (c *InspectCmd) Validate() error { return c.check() }

// Run prints the report.
func (c *InspectCmd) Run(p *command.Program) error {
	var r logview.Inspection
	if err := c.ask(p, &r); err != nil {
		return err
	}
	if c.JSON {
		enc := json.NewEncoder(p.Stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	}
	return show(p.Stdout, &r)
}

func (c *InspectCmd) ask(p *command.Program, r *logview.Inspection) error {
	if c.DataDir != "" {
		return c.open(p, func(v *logview.Views) (err error) {
			*r, err = logview.Inspect(p, v.Log, v.Dir)
			r.Limit = 0 // the node's own
			return err
		})
	}
	resp, err := c.get(p, logview.InspectPath, nil)
	if err != nil {
		return err
	}
	return errors.Join(json.NewDecoder(resp.Body).Decode(r), resp.Body.Close())
}

// show prints a report for people.
func show(to io.Writer, r *logview.Inspection) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	line := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	size := unit.Bytes(r.Bytes).String()
	if r.Limit > 0 {
		size += " of " + unit.Bytes(r.Limit).String()
	}
	line("log: commits %d to %d, %s", r.First, r.Last, size)
	for _, d := range r.Damage {
		line("lost: commits %d to %d, with %s and %s", d.From, d.To, unit.Plural(d.Pings, "ping", "pings"), unit.Plural(d.Lines, "line of our own", "lines of our own"))
	}
	for _, s := range r.Sets {
		line("\nset %s: %s and %s", s.Set, waits(s.Pings, "ping", "pings"), waits(s.Lines, "line of our own", "lines of our own"))
		line("  shard\tlane\tnext\tcommits\tbytes\toldest")
		for _, l := range s.Lanes {
			name := l.Lane
			if l.End != 0 {
				name = fmt.Sprintf("hole to %d", l.End)
			}
			line("  %s\t%s\t%s", l.Shard, name, columns(&l.ReaderWaits, r.At))
		}
	}
	line("\nother readers")
	for _, o := range r.Readers {
		line("  %s\t\t%s", o.Name, columns(&o, r.At))
	}
	line("")
	for _, c := range r.Checkpoints {
		line("state of the filter: %s, %s before commit %d, %s old", unit.Bytes(c.Bytes), commits(r.Last+1-min(c.Next, r.Last+1)), r.Last+1, age(r.At, c.Made))
	}
	line("dead letters: %s, %s", unit.Plural(r.DeadLetters.Files, "file", "files"), unit.Bytes(r.DeadLetters.Bytes))
	return w.Flush()
}

// columns are the numbers of a reader: commits and bytes behind, and the age of the oldest.
func columns(w *logview.ReaderWaits, now int64) string {
	oldest := "-"
	if w.Since != 0 {
		oldest = age(now, w.Since)
	}
	return fmt.Sprintf("%d\t%d\t%s\t%s", w.Next, w.Commits, unit.Bytes(w.Bytes), oldest)
}

func waits(n uint64, one, many string) string {
	if n == 0 {
		return "no " + one
	}
	return unit.Plural(n, one, many)
}

func commits(n uint64) string { return unit.Plural(n, "commit", "commits") }

// age says how long before now a time is, both in ms.
func age(now, at int64) string {
	d := time.Duration(max(now-at, 0)) * time.Millisecond
	if d > time.Minute {
		d = d.Round(time.Second)
	}
	return unit.Span(d).String()
}
