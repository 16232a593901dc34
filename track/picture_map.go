package track

import (
	"fmt"
	"math"
)

// view shows the ground in a panel.
type view struct {
	panel
	mid   spot
	scale float64 // pixels in a metre
}

func (v *view) px(p spot) (x, y float64) {
	return v.x + v.w/2 + (p.x-v.mid.x)*v.scale, v.y + v.h/2 + (p.y-v.mid.y)*v.scale
}

// meets reports whether a line can be seen, or at least comes close.
func (v *view) meets(a, b spot) bool {
	const margin = 20
	x, y := v.px(a)
	u, w := v.px(b)
	return max(x, u) > v.x-margin && min(x, u) < v.x+v.w+margin && max(y, w) > v.y-margin && min(y, w) < v.y+v.h+margin
}

// wholeView shows all of the track.
func (s *sketch) wholeView() *view {
	lo, hi := s.at[0], s.at[0]
	for _, p := range s.at {
		lo, hi = spot{min(lo.x, p.x), min(lo.y, p.y)}, spot{max(hi.x, p.x), max(hi.y, p.y)}
	}
	const margin = 30
	v := &view{panel: whole, mid: spot{(lo.x + hi.x) / 2, (lo.y + hi.y) / 2}}
	v.scale = min((whole.w-2*margin)/max(hi.x-lo.x, 4*s.reach()), (whole.h-3*margin)/max(hi.y-lo.y, 4*s.reach()))
	return v
}

// detailView shows the surroundings of the mark furthest off.
func (s *sketch) detailView(wide *view) *view {
	return &view{panel: detail, mid: s.at[s.worst], scale: max(detail.w/(16*s.reach()), 2*wide.scale)}
}

// reach is the length that a close look must show well, in metres.
func (s *sketch) reach() float64 {
	reach := max(s.Bound, 1)
	if s.worst >= 0 {
		reach = max(reach, s.marks[s.worst].Off, s.marks[s.worst].Bound)
	}
	return reach
}

// drawWhole draws all of the track, and a frame around what is drawn in detail.
func (s *sketch) drawWhole(v *view) {
	s.printf("<g class=\"whole\">\n")
	s.drawMarks(v, nil)
	s.drawEnds(v)
	if s.worst >= 0 {
		x, y := v.px(s.at[s.worst])
		side := max(detail.w/s.detailView(v).scale*v.scale, 10)
		s.printf("<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" class=\"frame\" clip-path=\"url(#c%g)\"/>\n", x-side/2, y-side/2, side, side, v.x)
	}
	s.drawRule(v)
	s.printf("</g>\n")
}

// drawEnds names the ends of the track.
func (s *sketch) drawEnds(v *view) {
	x, y := v.px(s.at[0])
	u, w := v.px(s.at[len(s.at)-1])
	if math.Abs(x-u) < 60 && math.Abs(y-w) < 16 {
		s.drawEnd(u, w, "")
		s.drawEnd(x, y, "start, end")
		return
	}
	s.drawEnd(x, y, "start")
	s.drawEnd(u, w, "end")
}

func (s *sketch) drawEnd(x, y float64, name string) {
	s.printf("<circle cx=\"%.1f\" cy=\"%.1f\" r=\"6\" class=\"rule\"/>\n", x, y)
	if x > whole.x+whole.w/2 {
		s.text(x-10, y-8, "head end", name)
	} else {
		s.text(x+10, y-8, "head", name)
	}
}

// drawDetail draws the surroundings of the mark furthest off, each dropped ping
// tied to where a reader has the track at its time.
func (s *sketch) drawDetail(wide *view) {
	if s.worst < 0 {
		s.printf("<rect x=\"%g\" y=\"%g\" width=\"%g\" height=\"%g\" class=\"panel\"/>\n", detail.x, detail.y, detail.w, detail.h)
		s.text(detail.x+detail.w/2, detail.y+detail.h/2, "middle", "every ping is kept")
		return
	}
	v := s.detailView(wide)
	x, y := v.px(s.at[s.worst])
	s.printf("<g class=\"near\">\n")
	s.drawMarks(v, func() {
		s.printf("<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\" class=\"bound\"/>\n", x, y, s.marks[s.worst].Bound*v.scale)
		s.drawTies(v)
	})
	s.printf("<path class=\"worst\" d=\"M%.1f %.1fh0\"/>\n", x, y)
	s.drawRule(v)
	s.printf("</g>\n")
	s.text(detail.x, detail.y-10, "head", fmt.Sprintf("Where a dropped ping is furthest off: %.2f m", s.marks[s.worst].Off))
}

func (s *sketch) drawTies(v *view) {
	s.begin("off")
	for i := range s.marks {
		if !s.marks[i].Kept && v.meets(s.at[i], s.at[i]) {
			x, y := v.px(s.at[i])
			u, w := v.px(s.onPath(i))
			s.printf("M%.1f %.1fL%.1f %.1f", x, y, u, w)
		}
	}
	s.end()
}

// drawMarks draws panel, track and kept track; what between draws, if it is
// not nil, goes between their lines and their points.
func (s *sketch) drawMarks(v *view, between func()) {
	s.printf("<clipPath id=\"c%g\"><rect x=\"%g\" y=\"%g\" width=\"%g\" height=\"%g\"/></clipPath>\n", v.x, v.x, v.y, v.w, v.h)
	s.printf("<rect x=\"%g\" y=\"%g\" width=\"%g\" height=\"%g\" class=\"panel\"/>\n<g clip-path=\"url(#c%g)\">\n", v.x, v.y, v.w, v.h, v.x)
	s.drawLine(v, "track", func(m *Mark) bool { return true })
	s.drawLine(v, "keptline", func(m *Mark) bool { return m.Kept && !m.Late })
	if between != nil {
		between()
	}
	s.drawDots(v, "ping", func(m *Mark) bool { return !m.Kept })
	s.drawDots(v, "kept", func(m *Mark) bool { return m.Kept && !m.Late })
	s.drawDots(v, "late", func(m *Mark) bool { return m.Late })
	s.printf("</g>\n")
}

// drawLine draws a line through marks, as far as it can be seen.
func (s *sketch) drawLine(v *view, class string, through func(*Mark) bool) {
	s.begin(class)
	var pen, last spot // in pixels; on the ground
	first, down := true, false
	for i := range s.marks {
		if !through(&s.marks[i]) {
			continue
		}
		x, y := v.px(s.at[i])
		switch {
		case first:
			first = false
		case math.Abs(x-pen.x) < 0.5 && math.Abs(y-pen.y) < 0.5:
			continue
		case !v.meets(last, s.at[i]):
			down = false
		default:
			if !down {
				s.printf("M%.1f %.1f", pen.x, pen.y)
			}
			s.printf("L%.1f %.1f", x, y)
			down = true
		}
		pen, last = spot{x, y}, s.at[i]
	}
	s.end()
}

// drawDots draws a dot for each mark that can be seen, one to a pixel.
func (s *sketch) drawDots(v *view, class string, of func(*Mark) bool) {
	drawn := map[[2]int]bool{}
	s.begin(class)
	for i := range s.marks {
		if !of(&s.marks[i]) || !v.meets(s.at[i], s.at[i]) {
			continue
		}
		x, y := v.px(s.at[i])
		if pixel := [2]int{int(x), int(y)}; !drawn[pixel] {
			drawn[pixel] = true
			s.printf("M%.1f %.1fh0", x, y)
		}
	}
	s.end()
}

// drawRule draws a length of a round number of metres.
func (s *sketch) drawRule(v *view) {
	metres := math.Pow(10, math.Floor(math.Log10(v.w/4/v.scale)))
	for _, n := range [...]float64{5, 2} {
		if n*metres*v.scale <= v.w/4 {
			metres *= n
			break
		}
	}
	name := fmt.Sprintf("%g m", metres)
	if metres >= 1000 {
		name = fmt.Sprintf("%g km", metres/1000)
	}
	x, y := v.x+16, v.y+v.h-16
	s.printf("<path class=\"rule\" d=\"M%.1f %.1fv5h%.1fv-5\"/>\n", x, y-5, metres*v.scale)
	s.text(x+metres*v.scale+8, y+1, "", name)
}
