package track

import (
	"fmt"
	"math"
	"slices"
	"time"
)

func (s *sketch) drawLegend() {
	dropped, late := 0, 0
	for i := range s.marks {
		if !s.marks[i].Kept {
			dropped++
		} else if s.marks[i].Late {
			late++
		}
	}
	n := len(s.marks)
	type row struct{ class, text string }
	rows := []row{
		{"ping", fmt.Sprintf("dropped: %d of %d pings", dropped, n)},
		{"kept", fmt.Sprintf("kept: %d (%.1f %%)", n-dropped, 100*float64(n-dropped)/float64(n))},
		{"track", "the track of all pings"},
		{"keptline", "the track that a reader draws"},
	}
	if s.worst >= 0 {
		rows = append(rows, row{"off", "from a dropped ping to that track, at its time"},
			row{"bound", fmt.Sprintf("the bound of the one furthest off: %.4g m", s.marks[s.worst].Bound)})
	}
	if late > 0 {
		rows = append(rows, row{"late", fmt.Sprintf("late: %d of the kept, beside the track", late)})
	}
	s.printf("<g class=\"near\">\n")
	for i, r := range rows {
		x, y := legend.x+14, legend.y+12+float64(i)*24
		switch r.class {
		case "track", "keptline", "off":
			s.printf("<path class=\"%s\" d=\"M%g %gh28\"/>\n", r.class, x-14, y)
		case "bound":
			s.printf("<circle class=\"%s\" cx=\"%g\" cy=\"%g\" r=\"10\"/>\n", r.class, x, y)
		default:
			s.printf("<path class=\"%s\" d=\"M%g %gh0\"/>\n", r.class, x, y)
		}
		s.text(x+26, y+4, "", r.text)
	}
	s.printf("</g>\n")
}

// drawOffsets draws how far off each dropped ping is, over time.
func (s *sketch) drawOffsets() {
	first, last := s.marks[0].At, s.marks[len(s.marks)-1].At
	v := offsets
	most := 1.15 * s.reach()
	x := func(at int64) float64 { return v.x + v.w*float64(at-first)/float64(max(last-first, 1)) }
	y := func(off float64) float64 { return v.y + v.h*(1-off/most) }
	s.text(v.x-46, v.y-12, "head", "How far off each dropped ping is, in metres")
	s.printf("<rect x=\"%g\" y=\"%g\" width=\"%g\" height=\"%g\" class=\"panel\"/>\n", v.x, v.y, v.w, v.h)
	step := roundStep(most / 4)
	for off := 0.0; off < most; off += step {
		s.printf("<path class=\"grid\" d=\"M%g %.1fh%g\"/>\n", v.x, y(off), v.w)
		s.text(v.x-8, y(off)+4, "end", fmt.Sprintf("%g", off))
	}
	for _, t := range ticks(first, last) {
		s.printf("<path class=\"grid\" d=\"M%.1f %gv%g\"/>\n", x(t.at), v.y, v.h)
		s.text(x(t.at), v.y+v.h+20, "middle", t.name)
	}
	drawn := map[[2]int]bool{}
	s.begin("ping")
	for i := range s.marks {
		m := &s.marks[i]
		px, py := x(m.At), y(m.Off)
		if pixel := [2]int{int(px), int(py)}; !m.Kept && !drawn[pixel] {
			drawn[pixel] = true
			s.printf("M%.1f %.1fh0", px, py)
		}
	}
	s.end()
	if s.Bound > 0 {
		s.printf("<path class=\"bound\" d=\"M%g %.1fh%g\"/>\n", v.x, y(s.Bound), v.w)
		name := fmt.Sprintf("dashed: the bound of %g m", s.Bound)
		if slices.ContainsFunc(s.marks, func(m Mark) bool { return !m.Kept && m.Bound > s.Bound }) {
			name += "; it is more where a fix says it is less accurate"
		}
		s.text(v.x+v.w, v.y-12, "end", name)
	}
}

// roundStep returns 1, 2 or 5 times a power of ten, not less than least.
func roundStep(least float64) float64 {
	step := math.Pow(10, math.Floor(math.Log10(least)))
	for _, n := range [...]float64{1, 2, 5} {
		if n*step >= least {
			return n * step
		}
	}
	return 10 * step
}

type tick struct {
	at   int64
	name string
}

// ticks returns a few round times, UTC, between two.
func ticks(first, last int64) (all []tick) {
	steps := [...]time.Duration{
		time.Second, 5 * time.Second, 15 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 15 * time.Minute, 30 * time.Minute,
		time.Hour, 2 * time.Hour, 6 * time.Hour, 12 * time.Hour, day, 2 * day, 7 * day, 30 * day, 365 * day, 3650 * day, 36500 * day,
	}
	const most = 10
	for _, step := range steps {
		ms := step.Milliseconds()
		if (last-first)/ms > most {
			continue
		}
		layout := "15:04"
		switch {
		case step < time.Minute:
			layout = "15:04:05"
		case step >= 365*day:
			layout = "2006"
		case step >= day:
			layout = "2 Jan"
		}
		for at := first - first%ms; at <= last; at += ms {
			if at >= first {
				all = append(all, tick{at, time.UnixMilli(at).UTC().Format(layout)})
			}
		}
		break
	}
	return all
}

const day = 24 * time.Hour
