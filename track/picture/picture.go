// Package picture draws a track, and the part of it that is kept, as a self-contained
// SVG.
//
// It shows all of the track, the surroundings of the dropped ping that is furthest
// off, and how far off each dropped ping is. Browsers set to dark pages show it dark.
// Words, colours and strokes are in the template picture.svg; the code computes places
// and numbers. A label lies clear of the track. A dot on a pixel already drawn is left
// out, so that the file of a long track stays small.
package picture

import (
	"bytes"
	_ "embed" // the template
	"fmt"
	"html/template"
	"io"
	"strconv"
	"strings"
	"unicode"

	"pingline/internal/unit"
)

// Picture is a track with the fate of each of its pings.
type Picture struct {
	Title string
	Note  string  // below the title
	Bound float64 // metres that a dropped ping may be off, unless its own Bound is greater
	Marks []Mark  // in any order
}

// Mark is a ping in a picture.
type Mark struct {
	At         int64 // ms since 1970
	LatE7      int32 // as in pingline.Fix
	LonE7      int32
	Kept, Late bool    // a late ping is kept, but no line goes through it
	Off, Bound float64 // metres that a dropped ping is off, and may be off
}

// Span returns the first and the last time of the track, in ms since 1970, leaving out
// late marks at either end: their clocks are wrong. Without a mark both are 0.
func (p *Picture) Span() (first, last int64) {
	g := newGround(p)
	if len(g.marks) == 0 {
		return 0, 0
	}
	return g.marks[g.begin].At, g.marks[g.end-1].At
}

//go:embed picture.svg
var source string

var page = template.Must(template.New("picture").Parse(source))

// WriteSVG draws the picture.
func (p *Picture) WriteSVG(w io.Writer) error {
	var b bytes.Buffer // the template writes in many small pieces
	if err := page.Execute(&b, p.lay()); err != nil {
		return err
	}
	_, err := w.Write(b.Bytes())
	return err
}

// px is a length on the sheet, in pixels.
type px float64

func (v px) String() string {
	return strings.TrimSuffix(strconv.FormatFloat(float64(v), 'f', 1, 64), ".0")
}

// sheet is a picture laid out: the data of the template.
type sheet struct {
	Title, Name, Note string // Name is the title as far as there is room
	W, H              px
	Whole, Near       *view // nil: there is nothing to see
	Column            px    // X of the right column
	Legend            []legendRow
	Chart             *chart
}

// The layout, as the template has it.
const (
	edge     = 30
	column   = 370 // width of the right column
	lowest   = 560 // height of the left column
	least    = 420 // least and greatest width of the left column
	most     = 900
	longName = 60 // characters of a title
)

// lay lays the picture out. The sheet is wide enough for the track and for the words.
func (p *Picture) lay() *sheet {
	s := &sheet{Title: printable(p.Title), Note: printable(p.Note), H: 950}
	s.Name = shorten(s.Title, longName)
	g := newGround(p)
	words := max(textWidth(s.Name, 22, true), textWidth(s.Note, 13, false))
	wide := max(least, words-column-edge)
	if len(g.marks) > 0 {
		s.Legend = g.legend()
		s.Chart = g.chart()
		wide = max(wide, s.Chart.words()-column-edge)
		s.Whole = g.whole(wide)
		wide = float64(s.Whole.W)
		s.Chart.draw(g, wide+edge+column-46)
		if g.worst >= 0 {
			s.Near = g.near(s.Whole)
			s.Whole.showFrame(s.Near)
		}
		g.nameEnds(s.Whole)
	}
	s.Column = px(edge + wide + edge)
	s.W = s.Column + column + edge
	return s
}

// legendRow is a line of the legend.
type legendRow struct {
	Class, Text  string
	X, Y, Length px
}

func (g *ground) legend() (rows []legendRow) {
	dropped, late := 0, 0
	for i := range g.marks {
		if !g.marks[i].Kept {
			dropped++
		} else if g.marks[i].Late {
			late++
		}
	}
	n := len(g.marks)
	add := func(class string, x, length px, format string, args ...any) {
		rows = append(rows, legendRow{class, fmt.Sprintf(format, args...), x, px(428 + 24*len(rows)), length})
	}
	add("ping", 14, 0, "dropped: %s of %s pings", number(dropped), number(n))
	add("kept", 14, 0, "kept: %s (%.1f %%)", number(n-dropped), 100*float64(n-dropped)/float64(n))
	add("track", 0, 28, "the track of all pings")
	add("keptline", 0, 28, "the track that a reader draws")
	if g.worst >= 0 {
		add("off", 0, 28, "from a dropped ping to that track, at its time")
		add("bound", 0, 0, "the bound of the one furthest off: %s m", metres(g.marks[g.worst].Bound))
		add("frame", 0, 0, "the part that is shown above")
	}
	if late > 0 {
		add("late", 14, 0, "late: %s of the kept, beside the track", number(late))
	}
	return rows
}

func number(n int) string { return unit.Comma(float64(n)) }

// metres writes a length to four digits.
func metres(m float64) string {
	v, _ := strconv.ParseFloat(strconv.FormatFloat(m, 'g', 4, 64), 64) // FormatFloat wrote it: no error
	return unit.Comma(v)
}

// printable returns text without characters that XML cannot hold or people cannot see.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsGraphic(r) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

// shorten leaves out the middle of a text of more than n characters.
func shorten(text string, n int) string {
	r := []rune(text)
	if len(r) <= n {
		return text
	}
	return string(r[:n/2]) + "…" + string(r[len(r)-n/2+1:])
}

// textWidth returns the width of a text, in pixels, in the widest of the fonts in use.
func textWidth(text string, size float64, bold bool) float64 {
	em := 0.0
	for _, r := range text {
		switch {
		case r >= 0x2e80: // Chinese, Japanese, Korean, emoji
			em++
		case bold:
			em += 0.7
		default:
			em += 0.62
		}
	}
	return em * size
}
