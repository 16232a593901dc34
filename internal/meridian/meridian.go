// Package meridian cuts lines where they cross the antimeridian, as RFC 7946, 3.1.9,
// asks of GeoJSON: else they would be drawn round the world.
package meridian

import (
	"math"

	"pingline"
)

// half is 180 degrees of longitude, 1e-7 degree.
const half = 180 * pingline.E7

// Corner is a point of a drawn line.
type Corner struct {
	Lon, Lat int64 // 1e-7 degree
	At       int64 // ms
	Starts   bool  // whether a part of the line begins here
}

// Cut returns the corners of the line through points, cut where it crosses the
// antimeridian: there a part ends, the next part begins at the other side, and both
// corners have the place and time of the crossing. Between two points the line goes the
// short way round. Each part has at least two corners if points has.
func Cut(points []Corner) (line []Corner, parts int) {
	line = make([]Corner, 0, len(points))
	for i, q := range points {
		q.Starts = i == 0
		if q.Starts {
			parts = 1
		} else if p := &line[len(line)-1]; max(q.Lon-p.Lon, p.Lon-q.Lon) > half {
			edge := int64(half)
			if p.Lon < 0 {
				edge = -edge
			}
			left, right := half-max(p.Lon, -p.Lon), half-max(q.Lon, -q.Lon)
			switch {
			case right == 0: // on the meridian, written from its other side
				q.Lon = edge
			case left == 0 && p.Starts:
				p.Lon = -edge
			default:
				part := float64(left) / float64(left+right)
				between := func(a, b int64) int64 { return a + int64(math.Round(part*float64(b-a))) }
				cut := Corner{Lon: edge, Lat: between(p.Lat, q.Lat), At: between(p.At, q.At)}
				if left > 0 {
					line = append(line, cut)
				}
				cut.Lon, cut.Starts = -edge, true
				line, parts = append(line, cut), parts+1
			}
		}
		line = append(line, q)
	}
	return line, parts
}
