package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"pingline"
	"pingline/track"
)

// portrait is the picture of one track of all that are studied.
type portrait struct {
	track.Picture
	pings int // of the track, as far as chosen
}

// sitter returns the number of a recording's track that is to be drawn, in
// place of the one before, or -1.
func (d *portrait) sitter(x *exam) int {
	if x.cmd.SVG == "" {
		return -1
	}
	best := -1
	for n, name := range x.tracks.names {
		if pings := x.tracks.progress[n].pings; pings > d.pings && (x.cmd.Rider == "" || x.cmd.Rider == name.rider) {
			best, d.pings = n, pings
		}
	}
	if best >= 0 {
		name := x.tracks.names[best]
		d.Title = name.rider
		if name.device != "" {
			d.Title += ", device " + name.device
		}
		d.Note = filepath.Base(x.recording.name)
		d.Marks = d.Marks[:0]
	}
	return best
}

func (d *portrait) add(f *pingline.Fix, what fate, off, bound float64) {
	d.Marks = append(d.Marks, track.Mark{
		At: f.At, LatE7: f.LatE7, LonE7: f.LonE7, Kept: what != dropped, Late: what == keptLate, Off: off, Bound: bound,
	})
}

// write writes the picture to its file.
func (d *portrait) write(c *dedupeCmd) error {
	switch {
	case len(d.Marks) > 0:
	case c.Rider != "":
		return fmt.Errorf("--rider: there is no ping of %s", c.Rider)
	default:
		return nil // and no ping at all: that is said
	}
	from, to := d.Marks[0].At, d.Marks[0].At
	for _, m := range d.Marks {
		from, to = min(from, m.At), max(to, m.At)
	}
	const layout = "2006-01-02 15:04"
	d.Note += fmt.Sprintf(": %d pings, %s to %s UTC", d.pings, time.UnixMilli(from).UTC().Format(layout), time.UnixMilli(to).UTC().Format(layout))
	d.Bound = c.MaxError
	f, err := track.CreateOutput(c.SVG)
	if err != nil {
		return fmt.Errorf("--svg: %w", err)
	}
	if err := d.WriteSVG(f); err != nil {
		return errors.Join(fmt.Errorf("--svg: %w", err), f.Discard())
	}
	if err := f.Commit(); err != nil {
		return fmt.Errorf("--svg: %w", err)
	}
	return nil
}
