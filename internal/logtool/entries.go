package logtool

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"pingline/internal/command"
	"pingline/internal/logview"
	"pingline/internal/unit"
)

// TailCmd prints the newest entries.
type TailCmd struct {
	Newest   int  `short:"n" default:"10" help:"How many entries to begin with."`
	Follow   bool `short:"f" help:"Go on with entries as they come."`
	LogPlace `embed:""`
}

// Validate is called by the parser.
func (c *TailCmd) Validate() error {
	if c.Newest < 1 || c.Newest > logview.MostNewest {
		return fmt.Errorf("--newest: %d is not in [1, %d]", c.Newest, logview.MostNewest)
	}
	if c.Follow && c.DataDir != "" {
		return errors.New("--follow: goes without --data-dir: nothing comes to the log of a node that has stopped")
	}
	return c.check()
}

// Run prints entries to stdout, until the user stops it with --follow.
func (c *TailCmd) Run(p *command.Program) error {
	_, err := c.entries(p, &logview.Selection{Newest: c.Newest, Follow: c.Follow}, p.Stdout)
	if p.Err() != nil && c.Follow {
		return nil //nolint:nilerr // it was stopped
	}
	return err
}

// bound is a number of a commit, or a time.
type bound struct {
	number uint64
	at     int64 // ms since 1970
}

// UnmarshalText reads a number, or RFC 3339.
func (b *bound) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(string(text), 10, 64)
	if err == nil && n > 0 {
		*b = bound{number: n}
		return nil
	}
	at, err := time.Parse(time.RFC3339, string(text))
	if err != nil {
		return fmt.Errorf("%q is neither the number of a commit nor a time in RFC 3339", text)
	}
	*b = bound{at: at.UnixMilli()}
	return nil
}

// EntriesCmd writes entries of a log.
type EntriesCmd struct {
	From     bound  `placeholder:"NUMBER|TIME" help:"From this commit on, or from commits written at this time on: RFC 3339."`
	To       bound  `placeholder:"NUMBER|TIME" help:"Only commits before this one, or written before this time."`
	Out      string `placeholder:"FILE" help:"File to write; stdout without it."`
	Resume   bool   `help:"Go on where the file of --out ends."`
	LogPlace `embed:""`
}

// Validate is called by the parser.
func (c *EntriesCmd) Validate() error {
	if c.Resume && c.Out == "" {
		return errors.New("--resume: goes with --out")
	}
	if err := c.selection().Check(); err != nil {
		return errors.New("--to: is not after --from")
	}
	return c.check()
}

func (c *EntriesCmd) selection() *logview.Selection {
	return &logview.Selection{From: c.From.number, Since: c.From.at, To: c.To.number, Until: c.To.at}
}

// Run writes the entries, and says on stderr how to go on.
func (c *EntriesCmd) Run(p *command.Program) (err error) {
	s, out := c.selection(), p.Stdout
	if c.Out != "" {
		flags := os.O_CREATE | os.O_RDWR
		if !c.Resume {
			flags |= os.O_EXCL
		}
		f, err := os.OpenFile(c.Out, flags, 0o600)
		if errors.Is(err, os.ErrExist) {
			err = fmt.Errorf("%s is there: --resume goes on where it ends", c.Out)
		}
		if err != nil {
			return command.Unusable(fmt.Errorf("--out: %w", err))
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		last, err := endOf(f)
		if err != nil {
			return command.Unusable(fmt.Errorf("--out: %s: %w", c.Out, err))
		}
		s.From, out = max(s.From, last), f
	}
	n, err := c.entries(p, s, out)
	if f, ok := out.(*os.File); ok && c.Out != "" {
		err = errors.Join(err, f.Sync())
	}
	said := unit.Plural(n.entries, "entry", "entries")
	if n.last > 0 {
		said += fmt.Sprintf(" of commits %d to %d; --from=%d goes on", n.first, n.last, n.last+1)
	}
	if err == nil || n.entries > 0 {
		fmt.Fprintln(p.Stderr, said)
	}
	return err
}

// endOf cuts off the last commit in a file, which may be incomplete, and returns its number:
// 0 in an empty file.
func endOf(f *os.File) (number uint64, err error) {
	r := bufio.NewReaderSize(f, 1<<20)
	var at, begin int64
	for {
		line, err := r.ReadBytes('\n')
		if n := commitOf(line); n != 0 && n != number {
			number, begin = n, at
		} else if n == 0 && len(line) > 0 && errors.Is(err, io.EOF) {
			break // half a line, which is cut off with its commit
		} else if n == 0 && len(line) > 0 {
			return 0, errors.New("has a line that pingline log export did not write")
		}
		at += int64(len(line))
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return 0, err
		}
	}
	_, err = f.Seek(begin, io.SeekStart)
	return number, errors.Join(err, f.Truncate(begin))
}

var commitKey = []byte(`{"commit":`)

// commitOf returns the number of the commit at the beginning of a line, 0 if there is none.
func commitOf(line []byte) (n uint64) {
	rest, ok := bytes.CutPrefix(line, commitKey)
	if end := bytes.IndexByte(rest, ','); ok && end > 0 {
		n, _ = strconv.ParseUint(string(rest[:end]), 10, 64) // 0 in an error, too
	}
	return n
}

// extent is the entries that were written.
type extent struct {
	entries     uint64
	first, last uint64 // numbers of their commits
}

// entries writes the lines of a selection.
func (p *LogPlace) entries(prog *command.Program, s *logview.Selection, to io.Writer) (n extent, err error) {
	out := bufio.NewWriterSize(to, 64<<10)
	put := func(line []byte) error {
		number := commitOf(line)
		if n.entries == 0 {
			n.first = number
			if s.From != 0 && number > s.From {
				fmt.Fprintf(prog.Stderr, "commits %d to %d are not in the log any more\n", s.From, number-1)
			}
		}
		n.entries++
		n.last = number
		_, err := out.Write(line)
		return err
	}
	if p.DataDir != "" {
		err = p.open(prog, func(v *logview.Views) error {
			_, err := logview.Entries(prog, v.Log, *s, put, out.Flush)
			return err
		})
		return n, errors.Join(err, out.Flush())
	}
	resp, err := p.get(prog, logview.EntriesPath, s.Query())
	if err != nil {
		return n, err
	}
	for r := bufio.NewReaderSize(resp.Body, 64<<10); ; {
		line, rerr := r.ReadBytes('\n')
		if len(line) > 0 && rerr == nil {
			err = put(line)
		}
		if err == nil && r.Buffered() == 0 {
			err = out.Flush()
		}
		if rerr != nil || err != nil {
			if rerr != nil && !errors.Is(rerr, io.EOF) {
				err = errors.Join(err, fmt.Errorf("the answer of the node breaks off: %w", rerr))
			}
			return n, errors.Join(err, out.Flush(), resp.Body.Close())
		}
	}
}
