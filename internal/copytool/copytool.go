// Package copytool is pingline copy: it copies history from one store into another, goes on
// where it was broken off, and compares both.
//
// It asks the stores alone: a node may write to either meanwhile.
package copytool

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"strings"
	"time"

	"pingline"
	"pingline/internal/command"
	"pingline/internal/logview"
	"pingline/internal/node"
	"pingline/internal/plainjson"
	"pingline/internal/unit"
	"pingline/sink/copying"
	"pingline/sink/store"
)

// CopyCmd copies history.
type CopyCmd struct {
	From copyShard `arg:"" placeholder:"FROM" help:"Store to read, as in --shard: url=… and, by kind, org, bucket, token-file, ca-file, cert-file, key-file."`
	To   copyShard `arg:"" placeholder:"TO" help:"Store to write, likewise."`

	Rider string   `help:"Only pings of this rider."`
	Since copyTime `placeholder:"TIME" help:"Only what is of this time or later: RFC 3339, or a date."`
	Until copyTime `placeholder:"TIME" help:"Only what is of before this time."`

	Points      bool    `default:"true" help:"Copy totals of cells and points of nodes about themselves, too, without --rider."`
	Rate        float64 `default:"10000" placeholder:"ROWS/S" help:"Most rows a second, and half of that while a store answers twice as slowly as before; 0: as fast as the stores are."`
	State       string  `default:"pingline-copy.json" placeholder:"FILE" help:"File that says which units are done: the same command again goes on there."`
	Refused     string  `default:"pingline-copy.refused.ndjson" placeholder:"FILE" help:"File for the rows that the target refuses."`
	CompareOnly bool    `help:"Copy nothing, compare only."`
}

// copyShard is a store as --shard has it, whose name may be left out.
type copyShard struct{ node.ShardConfig }

// UnmarshalText reads url=…,….
func (s *copyShard) UnmarshalText(text []byte) error {
	if !strings.HasPrefix(string(text), "name=") && !strings.Contains(string(text), ",name=") {
		text = append([]byte("name=store,"), text...)
	}
	return s.ShardConfig.UnmarshalText(text)
}

// copyTime is a time, ms since 1970, as it was given.
type copyTime struct {
	text string
	ms   int64
}

// UnmarshalText reads RFC 3339, or a date.
func (m *copyTime) UnmarshalText(text []byte) error {
	at, err := time.Parse(time.RFC3339, string(text))
	if err != nil {
		if at, err = time.Parse(time.DateOnly, string(text)); err != nil {
			return fmt.Errorf("%q is neither a time in RFC 3339 nor a date such as 2026-03-01", text)
		}
	}
	*m = copyTime{string(text), at.UnixMilli()}
	return nil
}

// or returns the time, or another if none was given.
func (m *copyTime) or(other int64) int64 {
	if m.text == "" {
		return other
	}
	return m.ms
}

// Validate is called by the parser.
func (c *CopyCmd) Validate() error {
	switch {
	case c.From.URL == "" && c.To.URL == "": // the parser says which are missing
	case c.From.ShardConfig == c.To.ShardConfig:
		return errors.New("FROM and TO are the same store")
	case c.Since.text != "" && c.Until.text != "" && c.Since.ms >= c.Until.ms:
		return errors.New("--until: is not after --since")
	case !(c.Rate >= 0 && c.Rate <= 1e9):
		return fmt.Errorf("--rate: %v is not in [0, 1000000000]", c.Rate)
	}
	if c.Rider != "" {
		if err := pingline.CheckID(pingline.KeyRider.String(), c.Rider); err != nil {
			return fmt.Errorf("--rider: %w", err)
		}
	}
	return nil
}

// Run copies all units that are not done, compares all of them, and names differences.
func (c *CopyCmd) Run(p *command.Program) (err error) {
	cfg := node.DefaultConfig()
	cfg.Influx.Timeout, cfg.Influx.Host = time.Minute, "" // a long query falls silent at times
	cfg.Logger = slog.New(slog.NewTextHandler(p.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	var stores [2]store.Store
	for i, s := range []copyShard{c.From, c.To} {
		cfg.CreateSchema = i == 1 && !c.CompareOnly // nothing is made or dropped in a source
		one, err := node.OpenStore(s.ShardConfig, &cfg)
		if err != nil {
			return command.Unusable(fmt.Errorf("%s: %w", [...]string{"FROM", "TO"}[i], err))
		}
		defer func() { err = errors.Join(err, one.Close()) }()
		stores[i] = one
	}
	state, err := copying.OpenDone(c.State, c.job())
	if err != nil {
		return command.Unusable(fmt.Errorf("--state: %w", err))
	}
	defer func() { err = errors.Join(err, state.Close()) }()
	refused, err := openRefused(c.Refused, state, c.CompareOnly)
	if err != nil {
		return command.Unusable(fmt.Errorf("--refused: %w", err))
	}
	defer func() { err = errors.Join(err, refused.close()) }()
	if !c.CompareOnly {
		if err := state.Begin(); err != nil {
			return command.Unusable(fmt.Errorf("--state: %w", err))
		}
	}
	r := &copyRun{p: p, cmd: c, state: state, refused: refused}
	job := copying.Config{
		From: stores[0], To: []copying.Target{{Store: stores[1]}}, Whole: true, Growing: true, Rider: c.Rider, Rate: c.Rate,
		Keep: state, Refused: refused.put, Again: refused.again, Copied: r.copied, Logger: cfg.Logger,
	}
	if c.Points {
		job.Names = node.PointNames
	}
	if r.copier, err = copying.New(job); err != nil {
		return command.Unusable(err)
	}
	return r.all()
}

func (c *CopyCmd) job() copying.CopyJob {
	where := func(s *copyShard) string {
		at := s.URL
		if scheme, rest, ok := strings.Cut(at, "://"); ok {
			if i := strings.LastIndexByte(rest, '@'); i >= 0 { // the user may come with a password
				at = scheme + "://" + rest[i+1:]
			}
		}
		at, _, _ = strings.Cut(at, "?")
		return strings.Join(strings.Fields(at+" "+s.Org+" "+s.Bucket), " ")
	}
	return copying.CopyJob{From: where(&c.From), To: where(&c.To), Rider: c.Rider, Since: c.Since.text, Until: c.Until.text}
}

// copyRun is a copy on its way.
type copyRun struct {
	p       *command.Program
	cmd     *CopyCmd
	state   *copying.DoneFile
	refused *refusedFile
	copier  *copying.Copier

	rows uint64       // that were copied, without the day below
	day  copying.Done // a day, or points of a name in it, as far as it is copied
}

func (r *copyRun) all() error {
	if r.cmd.Points && r.cmd.Rider == "" && !r.copier.CopiesPoints() {
		fmt.Fprintln(r.p.Stderr, "one of the stores cannot be asked for points that are no pings: pings alone are copied")
	}
	plan, err := r.copier.Plan(r.p, r.cmd.Since.or(math.MinInt64), r.cmd.Until.or(math.MaxInt64))
	if err != nil {
		return err
	}
	if len(plan) == 0 {
		fmt.Fprintln(r.p.Stderr, "the source has no pings of that time")
		return nil
	}
	if !r.cmd.CompareOnly {
		for _, u := range plan {
			x, _ := r.state.Get(u.Unit)
			r.rows += x.Rows
		}
		err := r.copier.Copy(r.p, plan)
		r.say()
		if err != nil {
			return fmt.Errorf("%w; the same command goes on there", err)
		}
	}
	return r.compare(plan)
}

// copied is told of units that are copied. A line is printed for each day.
func (r *copyRun) copied(list []copying.Done) (refusedBytes int64, err error) {
	for _, x := range list {
		if x.Name != r.day.Name || x.From != r.day.From || x.To != r.day.To {
			r.say()
			r.day = copying.Done{Unit: copying.Unit{Name: x.Name, From: x.From, To: x.To}}
		}
		r.day.Rows += x.Rows
		r.day.Copied.Refused += x.Copied.Refused
	}
	return r.refused.sync()
}

// say prints the line of a day.
func (r *copyRun) say() {
	n := r.day.Copied
	if n.Rows > 0 {
		text := ""
		if n.Refused > 0 {
			text = fmt.Sprintf(", of which the target refused %d: see %s", n.Refused, r.cmd.Refused)
		}
		fmt.Fprintf(r.p.Stderr, "copied %v: %s%s\n", r.day.Unit, unit.Plural(n.Rows, "row", "rows"), text)
	}
	r.rows += n.Rows
	r.day = copying.Done{}
}

// compare compares all units. Rows that were refused are differences that are known.
func (r *copyRun) compare(plan []copying.Planned) error {
	rows, refused := r.rows, r.copier.Status().Refused
	named := 0
	differ, err := r.copier.Verify(r.p, plan, 1, !r.cmd.CompareOnly, func(d *copying.Difference) {
		named++
		fmt.Fprintf(r.p.Stdout, "differs: %v\n", d)
	})
	if err != nil {
		return err
	}
	r.say() // of units that were copied again
	if differ > named {
		fmt.Fprintf(r.p.Stdout, "differs: %s more\n", unit.Plural(differ-named, "place", "places"))
	}
	if differ > 0 {
		text := fmt.Sprintf("source and target differ in %s", unit.Plural(differ, "place", "places"))
		if refused > 0 {
			text += fmt.Sprintf("; the target refused %s, which %s has", unit.Plural(refused, "row", "rows"), r.cmd.Refused)
		}
		return errors.New(text)
	}
	days := make(map[int64]bool)
	for _, u := range plan {
		days[u.From] = true
	}
	fmt.Fprintf(r.p.Stdout, "source and target are the same in %s", unit.Plural(len(days), "day", "days"))
	if !r.cmd.CompareOnly {
		fmt.Fprintf(r.p.Stdout, ", %s", unit.Plural(rows, "row", "rows"))
	}
	_, err = fmt.Fprintln(r.p.Stdout)
	return err
}

// refusedFile has the rows that the target refused, a JSON object a line. It is made with the
// first of them.
type refusedFile struct {
	path string
	file *os.File
	end  int64
	kept int64 // where the rows of units that are copied end
	line []byte
}

// openRefused cuts off rows of a unit that was broken off: it is copied again.
func openRefused(path string, state *copying.DoneFile, keep bool) (*refusedFile, error) {
	end := state.RefusedBytes()
	r := &refusedFile{path: path, end: end, kept: end}
	if keep {
		return r, nil
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist) && end == 0:
		return r, nil
	case err == nil && info.Size() > 0 && state.Fresh():
		return nil, fmt.Errorf("%s has rows of another copy: move it away", path)
	case err == nil && info.Size() < end:
		err = errors.New("rows are missing in it")
	}
	if err == nil {
		err = os.Truncate(path, end)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

func (r *refusedFile) put(e *pingline.Entry, why error) (err error) {
	if r.file == nil {
		if r.file, err = os.OpenFile(r.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600); err != nil {
			return fmt.Errorf("--refused: %w", err)
		}
	}
	if r.line, err = logview.AppendEntry(plainjson.Append(append(r.line[:0], `{"why":`...), why.Error()), e); err != nil {
		return err
	}
	r.line = append(r.line, "}\n"...)
	r.end += int64(len(r.line))
	_, err = r.file.Write(r.line)
	return err
}

// sync makes the rows durable, and returns where the file ends.
func (r *refusedFile) sync() (end int64, err error) {
	if r.file != nil {
		err = r.file.Sync()
	}
	if err == nil {
		r.kept = r.end
	}
	return r.end, err
}

// again forgets the rows of units that are copied once more.
func (r *refusedFile) again() error {
	if r.file == nil || r.end == r.kept {
		return nil
	}
	r.end = r.kept
	return r.file.Truncate(r.kept)
}

func (r *refusedFile) close() error {
	if r.file == nil {
		return nil
	}
	return r.file.Close()
}
