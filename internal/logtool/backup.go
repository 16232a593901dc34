package logtool

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"

	"pingline/internal/command"
	"pingline/internal/logview"
	"pingline/internal/terminal"
	"pingline/internal/unit"
	"pingline/queue/backup"
	"pingline/track/output"
)

// BackupCmd makes a backup of a node's log and the files that belong to it.
type BackupCmd struct {
	Out      string `required:"" placeholder:"FILE" help:"File to write, a tar archive; -: stdout."`
	LogPlace `embed:""`
}

// Validate is called by the parser.
func (c *BackupCmd) Validate() error { return c.check() }

// Run writes the backup, reads it as it comes, and prints its contents. An old file stays
// unless the new one is whole.
func (c *BackupCmd) Run(p *command.Program) error {
	if c.Out == "-" {
		if terminal.Is(p.Stdout) {
			return command.Unusable(errors.New("--out: -: a terminal cannot keep a backup"))
		}
		sum, err := c.write(p, p.Stdout)
		if err == nil {
			c.say(p, &sum)
		}
		return err
	}
	f, err := output.Create(c.Out)
	if err != nil {
		return command.Unusable(fmt.Errorf("--out: %w", err))
	}
	if err := f.Private(); err != nil { // tracks are in it
		return errors.Join(fmt.Errorf("--out: %w", err), f.Discard())
	}
	w := bufio.NewWriterSize(f, 1<<20)
	sum, err := c.write(p, w)
	if err = errors.Join(err, w.Flush()); err != nil {
		return errors.Join(err, f.Discard())
	}
	if err := f.Commit(); err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	c.say(p, &sum)
	return nil
}

func (c *BackupCmd) say(p *command.Program, sum *backup.Manifest) {
	fmt.Fprintf(p.Stderr, "backup number %d: %s\n", sum.Last, contents(sum))
}

// contents describes a backup in a sentence.
func contents(sum *backup.Manifest) string {
	text := fmt.Sprintf("commits %d to %d and %s, %s", sum.First, sum.Last, unit.Plural(sum.Files, "file", "files"), unit.Bytes(sum.Bytes))
	if sum.Lost > 0 {
		text += fmt.Sprintf("; the log had lost %s", unit.Plural(sum.Lost, "commit", "commits"))
	}
	return text
}

// write writes a backup to w, and verifies it.
func (c *BackupCmd) write(p *command.Program, w io.Writer) (sum backup.Manifest, err error) {
	r, pipe := io.Pipe()
	type result struct {
		sum backup.Manifest
		err error
	}
	verified := make(chan result, 1)
	go func() {
		sum, err := backup.Verify(r)
		_, rest := io.Copy(io.Discard, r)
		verified <- result{sum, errors.Join(err, rest)}
	}()
	err = c.copy(p, io.MultiWriter(w, pipe))
	_ = pipe.Close() // it never fails
	got := <-verified
	return got.sum, cmp.Or(err, got.err)
}

// copy copies a backup to w.
func (c *BackupCmd) copy(p *command.Program, w io.Writer) error {
	if c.DataDir != "" {
		return c.open(p, func(v *logview.Views) error {
			_, err := v.Backup(p, w)
			return err
		})
	}
	resp, err := c.get(p, logview.BackupPath, nil)
	if err != nil {
		return err
	}
	if err := copyBody(w, resp); err != nil {
		return fmt.Errorf("the backup breaks off: %w", err)
	}
	if why := resp.Trailer.Get(logview.FailureTrailer); why != "" {
		return errors.New(why)
	}
	return nil
}

// RestoreCmd makes a data directory from a backup.
type RestoreCmd struct {
	File    string `arg:"" placeholder:"FILE" help:"File of the backup; -: stdin."`
	DataDir string `required:"" placeholder:"DIR" help:"Directory to make; if it is there, it must be empty."`
}

// Run restores, and prints the contents of the backup.
func (c *RestoreCmd) Run(p *command.Program) error {
	in := p.Stdin
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return command.Unusable(err)
		}
		defer func() { _ = f.Close() }() // it was only read
		in = bufio.NewReaderSize(f, 1<<20)
	}
	sum, err := backup.Restore(p, in, c.DataDir)
	if errors.Is(err, backup.ErrNotEmpty) {
		err = command.Unusable(fmt.Errorf("--data-dir: %w", err))
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(p.Stderr, "restored backup number %d of %s, made %s: %s\n", sum.Last, sum.Node, sum.Made.Format("2006-01-02 15:04:05Z07:00"), contents(&sum))
	return nil
}
