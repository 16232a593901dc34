package picture

import (
	"cmp"
	"math"
	"slices"

	"pingline"
	"pingline/track"
)

// ground is the track on a plane.
type ground struct {
	*Picture
	marks []Mark // by time
	begin int    // the track is marks[begin:end]: late marks before and behind it have a wrong clock
	end   int
	at    []spot // spot of each mark
	path  track.Path
	worst int     // index of the mark furthest off, or -1
	scale float64 // metres of a unit of longitude
	from  Mark    // where both coordinates are 0
}

// spot is a place on the ground: metres east and south of the first mark.
type spot struct{ x, y float64 }

const degree = 6_371_008.8 * math.Pi / 180 / pingline.E7 // metres of 1e-7 degree of latitude

func newGround(p *Picture) *ground {
	g := &ground{Picture: p, marks: slices.Clone(p.Marks), worst: -1}
	slices.SortStableFunc(g.marks, func(a, b Mark) int { return cmp.Compare(a.At, b.At) })
	if len(g.marks) == 0 {
		return g
	}
	south, north := g.marks[0].LatE7, g.marks[0].LatE7
	for i, m := range g.marks {
		south, north = min(south, m.LatE7), max(north, m.LatE7)
		if m.Kept && !m.Late {
			g.path.Add(&pingline.Fix{At: m.At, LatE7: m.LatE7, LonE7: m.LonE7})
		}
		if !m.Kept && (g.worst < 0 || m.Off > g.marks[g.worst].Off) {
			g.worst = i
		}
	}
	g.begin, g.end = span(g.marks)
	g.from = g.marks[0]
	middle := (float64(south) + float64(north)) / 2 / pingline.E7
	g.scale = degree * max(math.Cos(middle*math.Pi/180), 1e-6)
	g.at = make([]spot, len(g.marks))
	for i, m := range g.marks {
		g.at[i] = g.spot(float64(m.LatE7), float64(m.LonE7), g.at[max(i-1, 0)])
	}
	return g
}

// span returns the part of marks, in order of time, from the first that is not late
// to the last, or all if each is late.
func span(marks []Mark) (begin, end int) {
	onTime := func(m Mark) bool { return !m.Late }
	if begin = slices.IndexFunc(marks, onTime); begin < 0 {
		return 0, len(marks)
	}
	for end = len(marks); !onTime(marks[end-1]); end-- {
	}
	return begin, end
}

// spot returns the place of a position, in 1e-7 degree, by the short way round
// from a place near it.
func (g *ground) spot(lat, lon float64, near spot) spot {
	x := near.x/g.scale + float64(g.from.LonE7)
	x += math.Remainder(lon-x, 360*pingline.E7)
	return spot{(x - float64(g.from.LonE7)) * g.scale, (float64(g.from.LatE7) - lat) * degree}
}

// onPath returns the place at which a reader sees the track at the time of a mark.
func (g *ground) onPath(i int) spot {
	lat, lon, ok := g.path.At(g.marks[i].At)
	if !ok {
		return g.at[i]
	}
	return g.spot(lat, lon, g.at[i])
}

// reach is the length, in metres, that the near view must show well.
func (g *ground) reach() float64 {
	reach := max(g.Bound, 1)
	if g.worst >= 0 {
		reach = max(reach, g.marks[g.worst].Off, g.marks[g.worst].Bound)
	}
	return reach
}
