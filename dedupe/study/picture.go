package study

import (
	"fmt"
	"path/filepath"
	"time"

	"pingline"
	"pingline/internal/unit"
	"pingline/track/picture"
)

// drawing is the picture of the longest of the tracks studied.
type drawing struct {
	picture.Picture
	pings int // number of pings of the track chosen so far
}

// choose returns the number of the recording's longest track, if it is longer than the
// track chosen before and replaces it, or else -1.
func (d *drawing) choose(x *reading) int {
	if !x.cfg.Draw {
		return -1
	}
	best := -1
	for n, name := range x.tracks.names {
		if pings := x.tracks.clocks[n].pings; pings > d.pings && (x.cfg.Rider == "" || x.cfg.Rider == name.rider) {
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

func (d *drawing) add(f *pingline.Fix, what fate, off, bound float64) {
	d.Marks = append(d.Marks, picture.Mark{
		At: f.At, LatE7: f.LatE7, LonE7: f.LonE7, Kept: what != dropped, Late: what == keptLate, Off: off, Bound: bound,
	})
}

// Picture returns the picture of the track with the most pings, or false if there
// was none to draw.
func (s *Study) Picture() (*picture.Picture, bool) {
	p := s.picture.Picture
	if len(p.Marks) == 0 {
		return nil, false
	}
	from, to := p.Span()
	const layout = "2006-01-02 15:04"
	p.Note += fmt.Sprintf(": %s pings, %s to %s UTC", unit.Comma(float64(s.picture.pings)), time.UnixMilli(from).UTC().Format(layout), time.UnixMilli(to).UTC().Format(layout))
	p.Bound = s.cfg.Bound.MaxError
	return &p, true
}
