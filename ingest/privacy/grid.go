package privacy

import (
	"math"

	"pingline"
)

// few is the most zones that are looked at one by one.
const few = 8

// zoneGrid says which zones reach into a part of the globe: rows of a tenth of a degree, each
// cut into pieces about as wide as the row is high.
type zoneGrid struct {
	rows  [gridRows]bool      // some zone reaches into the row
	parts map[uint32]zoneSpan // by row and piece
	zones []uint16            // numbers of zones, in order in each zoneSpan
}

// zoneSpan is a stretch of zoneGrid.zones.
type zoneSpan struct{ from, to uint32 }

const (
	gridRows = 1800
	rowE7    = 1_000_000 // height of a row, 1e-7 degree
	widest   = 3600      // pieces of the row at the equator
)

// pieces is the number of pieces of each row.
var pieces = func() (n [gridRows]int64) {
	for row := range n {
		middle := (float64(row)+0.5)/10 - 90
		n[row] = max(1, int64(widest*math.Cos(middle*radian)))
	}
	return n
}()

func rowOf(latE7 int64) int64 {
	return min(max((latE7+halfTurn/2)/rowE7, 0), gridRows-1)
}

func partOf(row, piece int64) uint32 { return uint32(row*widest + piece) }

// gridOf returns the grid of at most 65,536 zones.
func gridOf(list []disc) *zoneGrid {
	of := make(map[uint32][]uint16)
	g := new(zoneGrid)
	for i := range list {
		d := &list[i]
		for row := rowOf(max(d.south, -halfTurn/2)); row <= rowOf(min(d.north, halfTurn/2)); row++ {
			n := pieces[row]
			// Of the turn before, this one and the next, so that no division is of a
			// negative number.
			west := (int64(d.lonE7) + halfTurn + turn - d.half) * n / turn
			east := (int64(d.lonE7) + halfTurn + turn + d.half) * n / turn
			for piece := west; piece <= min(east, west+n-1); piece++ {
				part := partOf(row, piece%n)
				of[part] = append(of[part], uint16(i))
			}
			g.rows[row] = true
		}
	}
	g.parts = make(map[uint32]zoneSpan, len(of))
	for part, zones := range of {
		from := uint32(len(g.zones))
		g.zones = append(g.zones, zones...)
		g.parts[part] = zoneSpan{from, from + uint32(len(zones))}
	}
	return g
}

// at returns the numbers of the zones that may have f within.
func (g *zoneGrid) at(f *pingline.Fix) []uint16 {
	row := rowOf(int64(f.LatE7))
	if !g.rows[row] {
		return nil
	}
	n := pieces[row]
	s := g.parts[partOf(row, (int64(f.LonE7)+halfTurn)*n/turn%n)]
	return g.zones[s.from:s.to]
}
