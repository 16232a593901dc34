package picture

import (
	"fmt"
	"math"
	"strings"

	"pingline/internal/unit"
)

// view shows the ground in a panel.
type view struct {
	Name                       string
	W, H                       px
	Track, Line, Ties          string // paths of lines
	Dropped, Kept, Late, Worst string // paths of dots
	Bound, Frame               *shape
	Labels                     []label
	Rule, RuleY                px // length of a round number of metres, and its place
	RuleName                   string
	mid                        spot
	scale                      float64 // pixels in a metre
	lines                      []segment
	taken                      []box
}

// shape is a rectangle, or a circle around its place.
type shape struct{ X, Y, W, H, R px }

// margin is the space around the track in the whole view: a label fits in.
const margin = 34

// whole shows all of the track, in a panel whose width follows the track's shape.
func (g *ground) whole(wide float64) *view {
	lo, hi := g.at[0], g.at[0]
	for _, p := range g.at {
		lo, hi = spot{min(lo.x, p.x), min(lo.y, p.y)}, spot{max(hi.x, p.x), max(hi.y, p.y)}
	}
	w, h := max(hi.x-lo.x, 4*g.reach()), max(hi.y-lo.y, 4*g.reach())
	wide = max(wide, min(most, math.Ceil(w/h*(lowest-2*margin)+2*margin)))
	v := &view{W: px(wide), H: lowest, mid: spot{(lo.x + hi.x) / 2, (lo.y + hi.y) / 2}}
	v.scale = min((wide-2*margin)/w, (lowest-2*margin)/h)
	v.draw(g)
	return v
}

// near shows the surroundings of the mark furthest off. A line ties each dropped ping
// to the place at which a reader sees the track at the ping's time.
func (g *ground) near(whole *view) *view {
	v := &view{W: column, H: column, mid: g.at[g.worst], scale: max(column/(16*g.reach()), 2*whole.scale)}
	off := fmt.Sprintf("%.2f m", g.marks[g.worst].Off)
	if g.marks[g.worst].Off >= 1000 {
		off = unit.Comma(math.Round(g.marks[g.worst].Off)) + " m"
	}
	v.Name = "Where a dropped ping is furthest off: " + off
	at := v.dot(v.mid)
	v.Worst = fmt.Sprintf("M%v %vh0", at.X, at.Y)
	v.Bound = &shape{X: at.X, Y: at.Y, R: px(g.marks[g.worst].Bound * v.scale)}
	v.draw(g)
	var ties strings.Builder
	for i := range g.marks {
		if a, b := g.at[i], g.onPath(i); !g.marks[i].Kept && v.shows(a, a) {
			v.line(&ties, v.dot(a), v.dot(b))
		}
	}
	v.Ties = ties.String()
	v.taken = append(v.taken, box{at.X - v.Bound.R, at.Y - v.Bound.R, 2 * v.Bound.R, 2 * v.Bound.R})
	v.name(at, 0, off, nil)
	return v
}

// pixel is a place on a panel.
type pixel struct{ X, Y px }

func (v *view) dot(p spot) pixel {
	return pixel{v.W/2 + px((p.x-v.mid.x)*v.scale), v.H/2 + px((p.y-v.mid.y)*v.scale)}
}

// shows reports whether the panel shows a line, or a line comes close to the panel.
func (v *view) shows(a, b spot) bool {
	const near = 20
	p, q := v.dot(a), v.dot(b)
	return max(p.X, q.X) > -near && min(p.X, q.X) < v.W+near && max(p.Y, q.Y) > -near && min(p.Y, q.Y) < v.H+near
}

func (v *view) draw(g *ground) {
	v.Track = v.through(g, func(*Mark) bool { return true })
	v.Line = v.through(g, func(m *Mark) bool { return m.Kept && !m.Late })
	v.Dropped = v.dots(g, func(m *Mark) bool { return !m.Kept })
	v.Kept = v.dots(g, func(m *Mark) bool { return m.Kept && !m.Late })
	v.Late = v.dots(g, func(m *Mark) bool { return m.Late })
	v.addRule()
}

func (v *view) line(to *strings.Builder, a, b pixel) {
	fmt.Fprintf(to, "M%v %vL%v %v", a.X, a.Y, b.X, b.Y)
	v.lines = append(v.lines, segment{a, b})
}

// through returns the visible parts of a line through marks of the track.
func (v *view) through(g *ground, of func(*Mark) bool) string {
	var to strings.Builder
	var last spot
	first, down := true, false
	for i := g.begin; i < g.end; i++ {
		if !of(&g.marks[i]) {
			continue
		}
		pen, at := v.dot(last), v.dot(g.at[i])
		switch {
		case first:
			first = false
		case math.Abs(float64(at.X-pen.X)) < 0.5 && math.Abs(float64(at.Y-pen.Y)) < 0.5:
			continue
		case !v.shows(last, g.at[i]):
			down = false
		case down:
			fmt.Fprintf(&to, "L%v %v", at.X, at.Y)
			v.lines = append(v.lines, segment{pen, at})
		default:
			v.line(&to, pen, at)
			down = true
		}
		last = g.at[i]
	}
	return to.String()
}

// dots returns a dot for each visible mark, but not two on a pixel.
func (v *view) dots(g *ground, of func(*Mark) bool) string {
	d := dots{drawn: map[[2]int]bool{}}
	for i := range g.marks {
		if of(&g.marks[i]) && v.shows(g.at[i], g.at[i]) {
			d.add(v.dot(g.at[i]))
		}
	}
	return d.String()
}

// dots builds a path of dots.
type dots struct {
	strings.Builder
	drawn map[[2]int]bool
}

func (d *dots) add(at pixel) {
	if key := [2]int{int(at.X), int(at.Y)}; !d.drawn[key] {
		d.drawn[key] = true
		fmt.Fprintf(d, "M%v %vh0", at.X, at.Y)
	}
}

// addRule adds a length of a round number of metres, below the panel.
func (v *view) addRule() {
	metres := roundStep(float64(v.W) / 8 / v.scale)
	v.Rule, v.RuleY, v.RuleName = px(metres*v.scale), v.H+8, unit.Comma(metres)+" m"
	if metres >= 1000 {
		v.RuleName = unit.Comma(metres/1000) + " km"
	}
}

// showFrame frames the part of the view that near shows.
func (v *view) showFrame(near *view) {
	at, half := v.dot(near.mid), max(near.W/px(near.scale)*px(v.scale), 10)/2
	const inside = 2 // pixels from the panel's edge
	x, y := max(at.X-half, inside), max(at.Y-half, inside)
	u, w := min(at.X+half, v.W-inside), min(at.Y+half, v.H-inside)
	v.Frame = &shape{X: x, Y: y, W: u - x, H: w - y}
	a, b, c, d := pixel{x, y}, pixel{u, y}, pixel{u, w}, pixel{x, w}
	v.lines = append(v.lines, segment{a, b}, segment{b, c}, segment{c, d}, segment{d, a})
}

// nameEnds names the ends of the track.
func (g *ground) nameEnds(v *view) {
	a, b := v.dot(g.at[g.begin]), v.dot(g.at[g.end-1])
	if math.Hypot(float64(a.X-b.X), float64(a.Y-b.Y)) < 30 {
		v.name(a, 6, "start, end", &b)
		return
	}
	v.name(a, 6, "start", &b)
	v.name(b, 6, "end", &a)
}
