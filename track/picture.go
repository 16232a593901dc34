package track

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"slices"

	"pingline"
)

// Picture shows a track and what is kept of it: all of it, the surroundings of
// the dropped ping that is furthest off, and how far off each is.
type Picture struct {
	Title string
	Note  string  // below the title
	Bound float64 // metres that a dropped ping may be off, unless it may be more
	Marks []Mark  // in any order
}

// Mark is a ping in a picture.
type Mark struct {
	At         int64 // ms since 1970
	LatE7      int32 // as in pingline.Fix
	LonE7      int32
	Kept, Late bool    // a late one is kept, but no line goes through it
	Off, Bound float64 // metres that a dropped one is off, and may be
}

// The layout, in pixels.
var (
	sheet   = panel{0, 0, 1200, 900}
	whole   = panel{30, 92, 740, 560}
	detail  = panel{800, 92, 370, 370}
	legend  = panel{800, 492, 370, 160}
	offsets = panel{76, 700, 1094, 150}
)

const style = `
text { font: 13px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #475569 }
.title { font-size: 22px; font-weight: 600; fill: #0f172a }
.head { font-weight: 600; fill: #0f172a }
.panel { fill: #f8fafc; stroke: #cbd5e1 }
.ping { fill: none; stroke: #64748b; stroke-width: 3; stroke-linecap: round }
.near .ping { stroke-width: 6 }
.track { fill: none; stroke: #94a3b8; stroke-width: 1.4; stroke-linejoin: round }
.keptline { fill: none; stroke: #e8590c; stroke-width: 1.8; stroke-linejoin: round; stroke-opacity: .9 }
.kept { fill: none; stroke: #c2410c; stroke-width: 6; stroke-linecap: round }
.near .kept { stroke-width: 10 }
.worst { fill: none; stroke: #2563eb; stroke-width: 7; stroke-linecap: round }
.late { fill: none; stroke: #7c3aed; stroke-width: 7; stroke-linecap: square }
.off { fill: none; stroke: #2563eb; stroke-width: 1.2 }
.bound { fill: #2563eb; fill-opacity: .08; stroke: #2563eb; stroke-dasharray: 5 4 }
.grid { stroke: #e2e8f0 }
.rule { fill: none; stroke: #0f172a; stroke-width: 1.5 }
.frame { fill: none; stroke: #0f172a; stroke-width: 1.2 }
.end { text-anchor: end } .middle { text-anchor: middle }
`

// WriteSVG draws the picture as a self-contained SVG. What would fall on a
// pixel already drawn is left out, so that a long track stays a small file.
func (p *Picture) WriteSVG(w io.Writer) error {
	s := newSketch(p)
	s.printf("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %g %g\" width=\"%g\" height=\"%g\">\n<style>%s</style>\n",
		sheet.w, sheet.h, sheet.w, sheet.h, style)
	s.printf("<rect width=\"%g\" height=\"%g\" fill=\"#fff\"/>\n", sheet.w, sheet.h)
	s.text(30, 44, "title", p.Title)
	s.text(30, 70, "", p.Note)
	if len(s.marks) > 0 {
		v := s.wholeView()
		s.drawWhole(v)
		s.drawDetail(v)
		s.drawLegend()
		s.drawOffsets()
	}
	s.printf("</svg>\n")
	_, err := w.Write(s.buf.Bytes())
	return err
}

// sketch is a picture being drawn.
type sketch struct {
	*Picture
	buf   bytes.Buffer
	marks []Mark // by time
	at    []spot // of the marks
	path  Path
	worst int     // the mark furthest off, or -1
	scale float64 // metres of a unit of longitude
	from  Mark    // where both coordinates are 0
}

// spot is a place on the ground: metres east and south of the first mark.
type spot struct{ x, y float64 }

func newSketch(p *Picture) *sketch {
	s := &sketch{Picture: p, marks: slices.Clone(p.Marks), worst: -1}
	slices.SortStableFunc(s.marks, func(a, b Mark) int { return cmp.Compare(a.At, b.At) })
	if len(s.marks) == 0 {
		return s
	}
	south, north := s.marks[0].LatE7, s.marks[0].LatE7
	for i, m := range s.marks {
		south, north = min(south, m.LatE7), max(north, m.LatE7)
		if m.Kept && !m.Late {
			s.path.Add(&pingline.Fix{At: m.At, LatE7: m.LatE7, LonE7: m.LonE7})
		}
		if !m.Kept && (s.worst < 0 || m.Off > s.marks[s.worst].Off) {
			s.worst = i
		}
	}
	s.from = s.marks[0]
	s.scale = earth * radian * max(math.Cos((float64(south)+float64(north))/2*radian), 1e-6)
	s.at = make([]spot, len(s.marks))
	for i, m := range s.marks {
		near := s.at[max(i-1, 0)]
		s.at[i] = s.spot(float64(m.LatE7), float64(m.LonE7), near)
	}
	return s
}

// spot returns the place of a position, in 1e-7 degree, by the short way round
// from a place near it.
func (s *sketch) spot(lat, lon float64, near spot) spot {
	x := near.x/s.scale + float64(s.from.LonE7)
	x += shortWay(math.Remainder(lon-x, turn))
	return spot{(x - float64(s.from.LonE7)) * s.scale, (float64(s.from.LatE7) - lat) * earth * radian}
}

// onPath returns where a reader has the track at the time of a mark.
func (s *sketch) onPath(i int) spot {
	m := &s.marks[i]
	if len(s.path.points) == 0 {
		return s.at[i]
	}
	s.path.sort()
	at, _ := slices.BinarySearchFunc(s.path.points, m.At, byTime)
	lat, lon := s.path.between(at, m.At)
	return s.spot(lat, lon, s.at[i])
}

// panel is a part of the sheet, in pixels.
type panel struct{ x, y, w, h float64 }

func (s *sketch) printf(format string, args ...any) { fmt.Fprintf(&s.buf, format, args...) }

// begin begins a path, to be ended by end.
func (s *sketch) begin(class string) { s.printf("<path class=\"%s\" d=\"", class) }

func (s *sketch) end() { s.printf("\"/>\n") }

func (s *sketch) text(x, y float64, class, text string) {
	s.printf("<text x=\"%.1f\" y=\"%.1f\" class=\"%s\">", x, y, class)
	_ = xml.EscapeText(&s.buf, []byte(text)) // a buffer takes all
	s.printf("</text>\n")
}
