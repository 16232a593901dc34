package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"pingline/dedupe"
	"pingline/dedupe/study"
	"pingline/internal/command"
	"pingline/internal/unit"
	"pingline/track"
	files "pingline/track/output"
)

type dedupeCmd struct {
	Files       []string     `arg:"" name:"file" help:"Recorded tracks: NDJSON or other JSON, CSV, GPX, GeoJSON, a Google Timeline or FIT, each also with .gz; - is the standard input."`
	MaxError    float64      `default:"10" help:"Metres that a dropped ping may lie off the kept track; 0 drops only duplicates."`
	AccuracyCap float64      `default:"50" help:"Metres up to which a fix's own accuracy widens its bound; 0 leaves accuracy aside."`
	Filter      filterConfig `embed:""`
	Sweep       bool         `help:"Also try bounds of 5, 10, 25 and 50 m."`
	Out         string       `placeholder:"FILE" help:"Write the kept pings: as NDJSON (.ndjson, .jsonl), CSV (.csv), GPX (.gpx) or GeoJSON (.geojson) by the end of its name, which may have .gz behind it."`
	Format      string       `placeholder:"FORM" help:"Form of --out, whatever its name: ndjson, csv, gpx or geojson."`
	JSON        bool         `name:"json" help:"Print the result as one JSON object."`
	SVG         string       `name:"svg" placeholder:"FILE.svg" help:"Draw one rider's pings and what is kept of them."`
	Rider       string       `help:"The rider to draw (default: the one with the most pings)."`
}

// sweepBounds are the bounds to choose from, in metres.
var sweepBounds = []float64{5, 10, 25, 50}

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
	case c.Format != "" && c.Out == "":
		return errors.New("--format: it is for the file of --out")
	case c.Out != "" && c.form() == "" && c.Format != "":
		return fmt.Errorf("--format: %q is not ndjson, csv, gpx or geojson", c.Format)
	case c.Out != "" && c.form() == "":
		return fmt.Errorf("--out: %s ends in none of .ndjson, .jsonl, .csv, .gpx, .geojson (each also with .gz); or give --format", c.Out)
	case !drawable(c.SVG):
		return fmt.Errorf("--svg: the picture is SVG, and %s does not end in .svg", c.SVG)
	}
	return c.Filter.check()
}

// form returns the form of --out, or "".
func (c *dedupeCmd) form() track.Form {
	switch f := track.Form(c.Format); f {
	case "":
		return track.FormToWrite(c.Out)
	case track.NDJSON, track.CSV, track.GPX, track.GeoJSON:
		return f
	}
	return ""
}

// drawable reports whether the name of a file fits SVG.
func drawable(path string) bool {
	ext := strings.ToLower(filepath.Ext(path))
	return ext == "" || ext == ".svg"
}

func (c *dedupeCmd) Run(p *program) (err error) {
	recordings, err := c.openRecordings(p)
	defer func() {
		for _, r := range recordings {
			err = errors.Join(err, r.Close())
		}
	}()
	switch {
	case p.Err() != nil:
		return errors.New("stopped while reading; nothing is judged")
	case err != nil:
		return command.Unusable(err)
	}
	progress := showReading(p, recordings, 2) // a study reads each recording twice
	cfg := study.Config{
		Filter: c.Filter.config(), Bound: dedupe.Bound{MaxError: c.MaxError, AccuracyCap: c.AccuracyCap},
		Draw: c.SVG != "", Rider: c.Rider, Notes: progress.Above(p.Stderr),
	}
	if c.Sweep {
		cfg.Sweep = sweepBounds
	}
	if c.Out != "" {
		if cfg.Out, err = track.Create(c.Out, c.form()); err != nil {
			return command.Unusable(fmt.Errorf("--out: %w", err))
		}
	}
	s, err := study.New(cfg)
	for i := 0; i < len(recordings) && err == nil; i++ {
		err = s.Run(p, recordings[i])
	}
	progress.Clear()
	if err = c.closeOut(p, cfg.Out, err); err != nil {
		return err
	}
	return c.finish(p, s)
}

// closeOut completes the file of the kept pings, or discards it after an error.
func (c *dedupeCmd) closeOut(p *program, out *track.Writer, err error) error {
	switch {
	case out == nil:
		return err
	case err != nil:
		return errors.Join(err, out.Discard())
	}
	if err := out.Close(); err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	p.Wrote(c.Out, out.Pings())
	return nil
}

// openRecordings opens the files to read, and returns an error if one of them
// is also to be written.
func (c *dedupeCmd) openRecordings(p *program) (all []*study.Recording, err error) {
	for _, name := range c.Files {
		r, err := study.Open(p, name)
		if err != nil {
			return all, err
		}
		all = append(all, r)
		for _, out := range [...]string{c.Out, c.SVG} {
			if out != "" && r.SameFile(out) {
				return all, fmt.Errorf("%s is to be read: it cannot be written too", out)
			}
		}
	}
	return all, nil
}

// finish prints and draws, and returns an error if the filter or a file was at
// fault.
func (c *dedupeCmd) finish(p *program, s *study.Study) error {
	report, problems := s.Summary(), s.Problems()
	if report.Files() > 0 {
		print := report.Print
		if c.JSON {
			print = report.PrintJSON
		}
		if err := print(p.Stdout); err != nil {
			return err
		}
	}
	if c.SVG != "" {
		if err := c.draw(p, s); err != nil {
			problems = append(problems, err)
		}
	}
	return conclude(report.OutOfBound(), problems)
}

// conclude returns the error of a run: a failure if the filter was at fault, and
// wrong usage if only files were at fault.
func conclude(outOfBound int, problems []error) error {
	if outOfBound > 0 {
		return errors.Join(append(problems, errors.New(unit.Plural(outOfBound, "dropped ping lies further off than its bound", "dropped pings lie further off than their bound")))...)
	}
	if len(problems) > 0 {
		return command.Unusable(errors.Join(problems...))
	}
	return nil
}

// draw writes the picture to its file.
func (c *dedupeCmd) draw(p *program, s *study.Study) error {
	picture, ok := s.Picture()
	switch {
	case ok:
	case c.Rider != "":
		return fmt.Errorf("--rider: there is no ping of %s", c.Rider)
	default:
		return nil // there is no ping at all, which is in problems already
	}
	f, err := files.Create(c.SVG)
	if err != nil {
		return fmt.Errorf("--svg: %w", err)
	}
	if err := picture.WriteSVG(f); err != nil {
		return errors.Join(fmt.Errorf("--svg: %w", err), f.Discard())
	}
	if err := f.Commit(); err != nil {
		return fmt.Errorf("--svg: %w", err)
	}
	p.Wrote(c.SVG, len(picture.Marks))
	return nil
}
