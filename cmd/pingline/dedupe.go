package main

import (
	"errors"
	"fmt"
	"os"

	"pingline/track"
)

type dedupeCmd struct {
	Files       []string     `arg:"" name:"file" help:"Recorded tracks: NDJSON, CSV or GPX, each also with .gz; - is the standard input."`
	MaxError    float64      `default:"10" help:"Metres that a dropped ping may lie off the kept track; 0 drops only duplicates."`
	AccuracyCap float64      `default:"50" help:"Metres up to which a fix's own accuracy widens its bound; 0 leaves accuracy aside."`
	Filter      filterConfig `embed:""`
	Sweep       bool         `help:"Also try bounds of 5, 10, 25 and 50 m."`
	Out         string       `placeholder:"FILE" help:"Write the kept pings as NDJSON, lines of NDJSON as they are; those out of order get \"late\":true. May end in .gz."`
	JSON        bool         `name:"json" help:"Print the result as one JSON object."`
	SVG         string       `name:"svg" placeholder:"FILE" help:"Draw one rider's pings and what is kept of them."`
	Rider       string       `help:"The rider to draw (default: the one with the most pings)."`
}

// sweepBounds are the bounds to choose from, in metres.
var sweepBounds = [...]float64{5, 10, 25, 50}

// Validate is called by kong; the error names the flag and the limit.
func (c *dedupeCmd) Validate() error {
	switch {
	case !(c.MaxError >= 0 && c.MaxError <= 100_000):
		return fmt.Errorf("--max-error: %v is not in [0, 100000]", c.MaxError)
	case !(c.AccuracyCap >= 0 && c.AccuracyCap <= 100_000):
		return fmt.Errorf("--accuracy-cap: %v is not in [0, 100000]", c.AccuracyCap)
	case c.Rider != "" && c.SVG == "":
		return errors.New("--rider: it is for the picture of --svg")
	case c.Out != "" && c.Out == c.SVG:
		return fmt.Errorf("--out, --svg: both are %s", c.Out)
	}
	return c.Filter.check()
}

func (c *dedupeCmd) Run(p *program) (err error) {
	recordings, err := c.openRecordings()
	defer func() {
		for _, r := range recordings {
			err = errors.Join(err, r.close())
		}
	}()
	if err != nil {
		return usageError{err}
	}
	s := &study{cmd: c, program: p, report: newReport(c)}
	if c.Out != "" {
		if s.out, err = track.Create(c.Out); err != nil {
			return usageError{fmt.Errorf("--out: %w", err)}
		}
	}
	for _, r := range recordings {
		if err = s.run(r); err != nil {
			break
		}
	}
	if err = s.closeOut(err); err != nil {
		return err
	}
	return s.finish()
}

// closeOut completes the file of what was kept, or gives it up after an error.
func (s *study) closeOut(err error) error {
	switch {
	case s.out == nil:
		return err
	case err != nil:
		return errors.Join(err, s.out.Discard())
	}
	if err := s.out.Close(); err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	return nil
}

// openRecordings opens the files to read, and makes sure that none of them is
// one to write.
func (c *dedupeCmd) openRecordings() (all []*recording, err error) {
	for _, name := range c.Files {
		r, err := openRecording(name)
		if err != nil {
			return all, err
		}
		all = append(all, r)
		for _, out := range [...]string{c.Out, c.SVG} {
			if info, err := os.Stat(out); out != "" && err == nil && os.SameFile(info, r.info) {
				return all, fmt.Errorf("%s is to be read: it cannot be written too", out)
			}
		}
	}
	return all, nil
}

// study is a run over recordings, each by itself: the filter starts empty and
// in the end stores what it holds.
type study struct {
	cmd *dedupeCmd
	*program
	out      *track.Writer // nil if not asked for
	drawn    portrait      // if asked for
	report   *report
	problems []error // with what is read, which do not stop the rest
}

// finish prints and draws, and returns an error if something was not as it
// should be.
func (s *study) finish() error {
	if len(s.report.files) > 0 {
		if err := s.report.print(s.stdout, s.cmd.JSON); err != nil {
			return err
		}
	}
	if s.cmd.SVG != "" {
		if err := s.drawn.write(s.cmd); err != nil {
			s.problems = append(s.problems, err)
		}
	}
	if n := s.report.total.outOfBound; n > 0 {
		return errors.Join(append(s.problems, fmt.Errorf("%d dropped pings lie further off than their bound", n))...)
	}
	if len(s.problems) > 0 {
		return usageError{errors.Join(s.problems...)}
	}
	return nil
}
