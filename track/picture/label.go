package picture

import (
	"fmt"
	"math"
)

// label is a text beside a place, clear of the lines.
type label struct {
	Text, Anchor string
	X, Y         px // anchor of the text
	At           pixel
	R            px     // of a circle around the place, or 0
	Leader       string // path from the place to its text, if that is far away
}

type segment struct{ a, b pixel }

// box is a rectangle from its upper left corner on.
type box struct{ x, y, w, h px }

func (b box) grown(by px) box { return box{b.x - by, b.y - by, b.w + 2*by, b.h + 2*by} }

func (b box) meets(c box) bool {
	return b.x < c.x+c.w && c.x < b.x+b.w && b.y < c.y+c.h && c.y < b.y+b.h
}

func (b box) within(w, h px) bool { return b.x >= 0 && b.y >= 0 && b.x+b.w <= w && b.y+b.h <= h }

// crossed tells whether a part of s is in the box (Liang–Barsky).
func (b box) crossed(s segment) bool {
	from, to := px(0), px(1)
	clip := func(d, low, high px) bool { // low and high are ahead of a
		if d == 0 {
			return low <= 0 && high >= 0
		}
		low, high = low/d, high/d
		from, to = max(from, min(low, high)), min(to, max(low, high))
		return from <= to
	}
	return clip(s.b.X-s.a.X, b.x-s.a.X, b.x+b.w-s.a.X) && clip(s.b.Y-s.a.Y, b.y-s.a.Y, b.y+b.h-s.a.Y)
}

const (
	textHeight = 17
	ascent     = 13
	clear      = 6 // pixels around a label
)

// name puts a text beside a place: as near as it is clear of all lines, else in the
// margin. If other is set, it is a second place with a circle. Where there is no room in
// the margin either, the text is left out.
func (v *view) name(at pixel, r px, text string, other *pixel) {
	l := label{Text: text, At: at, R: r}
	around := box{at.X - r, at.Y - r, 2 * r, 2 * r}
	v.taken = append(v.taken, around)
	taken := v.taken
	if other != nil {
		taken = append(taken[:len(taken):len(taken)], box{other.X - r, other.Y - r, 2 * r, 2 * r})
	}
	size := box{w: px(textWidth(text, 13, true)), h: textHeight}
	b, ok := v.beside(at, size, taken)
	if !ok {
		if b, ok = v.inMargin(at, size, taken); !ok {
			return
		}
	}
	v.taken = append(v.taken, b)
	l.set(b)
	v.Labels = append(v.Labels, l)
}

// set puts the label into a box, its text to the side of its place.
func (l *label) set(b box) {
	l.Y = b.y + ascent
	switch {
	case b.x > l.At.X:
		l.X = b.x
	case b.x+b.w < l.At.X:
		l.X, l.Anchor = b.x+b.w, "end"
	default:
		l.X, l.Anchor = b.x+b.w/2, "middle"
	}
	x, y := min(max(l.At.X, b.x), b.x+b.w), min(max(l.At.Y, b.y), b.y+b.h) // point of the box nearest to the place
	if l.Anchor == "middle" {
		x = l.X
	}
	dx, dy := x-l.At.X, y-l.At.Y
	if far := px(math.Hypot(float64(dx), float64(dy))); far > 24 {
		l.Leader = fmt.Sprintf("M%v %vL%v %v", l.At.X+dx*l.R/far, l.At.Y+dy*l.R/far, x-3*dx/far, y-3*dy/far)
	}
}

// beside looks for room around a place, in growing circles.
func (v *view) beside(at pixel, size box, taken []box) (box, bool) {
	for _, far := range [...]px{12, 16, 22, 30, 40, 52, 64} {
		for turn := range 16 {
			sin, cos := math.Sincos(float64(turn)*math.Pi/8 - math.Pi/4) // the upper right is first
			b := size
			b.x = at.X + px(cos)*(far+size.w/2) - size.w/2
			b.y = at.Y + px(sin)*(far+size.h/2) - size.h/2
			if v.free(b, taken) {
				return b, true
			}
		}
	}
	return box{}, false
}

// inMargin looks for room along the upper and the lower edge, the nearest first.
func (v *view) inMargin(at pixel, size box, taken []box) (box, bool) {
	top, bottom := px(clear+1), v.H-size.h-clear-1
	if at.Y > v.H/2 {
		top, bottom = bottom, top
	}
	for _, y := range [...]px{top, bottom} {
		for away := px(0); away < v.W; away += 10 {
			for _, x := range [...]px{at.X - size.w/2 + away, at.X - size.w/2 - away} {
				if b := (box{x, y, size.w, size.h}); v.free(b, taken) {
					return b, true
				}
			}
		}
	}
	return box{}, false
}

func (v *view) free(b box, taken []box) bool {
	b = b.grown(clear)
	if !b.within(v.W, v.H) {
		return false
	}
	for _, t := range taken {
		if b.meets(t) {
			return false
		}
	}
	for _, s := range v.lines {
		if b.crossed(s) {
			return false
		}
	}
	return true
}
