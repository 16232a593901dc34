package partition

import (
	"fmt"
	"math"
)

// Outline returns the boundary of a valid cell as a ring of GeoJSON: longitude
// and latitude in degrees, counterclockwise, the first corner again at the end.
// Its longitudes are continuous, so across the antimeridian some are beyond ±180.
// Around a pole the ring goes on along the pole.
func Outline(cell uint64) [][2]float64 {
	ring := corners(cell)
	first := ring[0]
	ring = append(ring, first)
	for i := 1; i < len(ring); i++ {
		ring[i][0] += 360 * math.Round((ring[i-1][0]-ring[i][0])/360)
	}
	if last := ring[len(ring)-1][0]; math.Abs(last-first[0]) > 180 {
		pole := math.Copysign(90, first[1])
		ring = append(ring, [2]float64{last, pole}, [2]float64{first[0], pole}, first)
	}
	return ring
}

// Box is an area between two parallels and two meridians, in degrees. West may
// be greater than East: it then goes across the antimeridian.
type Box struct{ West, South, East, North float64 }

// Check returns an error unless the box's bounds are on the globe and South is not
// north of North.
func (b Box) Check() error {
	for _, x := range [...]struct {
		name       string
		v, degrees float64
	}{{"west", b.West, 180}, {"south", b.South, 90}, {"east", b.East, 180}, {"north", b.North, 90}} {
		if !(math.Abs(x.v) <= x.degrees) {
			return fmt.Errorf("%s %v not in [-%v, %v]", x.name, x.v, x.degrees, x.degrees)
		}
	}
	if b.South > b.North {
		return fmt.Errorf("south %v is north of north %v", b.South, b.North)
	}
	return nil
}

// width returns how many degrees of longitude b spans.
func (b Box) width() float64 {
	if b.West > b.East {
		return b.East - b.West + 360
	}
	return b.East - b.West
}

// Contains reports whether a position lies in b or on its edge.
func (b Box) Contains(lat, lon float64) bool {
	east := lon - b.West // of the western edge
	if east < 0 {
		east += 360
	}
	return lat >= b.South && lat <= b.North && (east <= b.width() || east == 360)
}

// CellsIn returns the cells of resolution res, in [0, MaxRes], that together
// cover box; a few of them may lie just outside. It returns an error if the box
// is not valid or takes more than most cells.
func CellsIn(box Box, res, most int) ([]uint64, error) {
	if err := box.Check(); err != nil {
		return nil, err
	}
	if res < 0 || res > MaxRes {
		return nil, fmt.Errorf("cell resolution %d not in [0, %d]", res, MaxRes)
	}
	// From the middle outwards, by neighbours: the cells that cover the box are connected.
	list := []uint64{cellAt(box.West+box.width()/2, box.South+(box.North-box.South)/2, res)}
	seen := map[uint64]bool{list[0]: true}
	for i := 0; i < len(list); i++ {
		for _, n := range neighbours(list[i]) {
			cell := uint64(n)
			if seen[cell] {
				continue
			}
			seen[cell] = true
			if box.Touches(Around(cell)) {
				list = append(list, cell)
			}
		}
		if len(list) > most {
			return nil, fmt.Errorf("more than %d cells of resolution %d", most, res)
		}
	}
	return list, nil
}

// Circle is a circle on the globe.
type Circle struct {
	Lat, Lon float64 // of its centre, degrees
	Radius   float64 // on the ground, as degrees of the great circle
}

// Around returns the circle around a valid cell.
func Around(cell uint64) Circle {
	c := centre(cell)
	middle, radius := unit(c[0], c[1]), 0.0
	for _, p := range corners(cell) {
		d := unit(p[0], p[1]).minus(middle)
		radius = max(radius, 2*math.Asin(math.Sqrt(d.dot(d))/2))
	}
	return Circle{Lat: c[1], Lon: c[0], Radius: radius * (180 / math.Pi)}
}

// Spread times the radius of the circle around a cell is the radius of a circle with
// the same centre that holds the circles around all finer cells within it, of any
// resolution: their circles reach beyond the cell's boundary. In a plane the factor is
// 1.053; a test tries the globe.
const Spread = 1.3

// Holds reports whether all of a circle lies in b.
func (b Box) Holds(c Circle) bool {
	if max(c.Lat-c.Radius, -90) < b.South || min(c.Lat+c.Radius, 90) > b.North {
		return false
	}
	if b.width() >= 360 {
		return true
	}
	if math.Abs(c.Lat)+c.Radius >= 90 {
		return false // every meridian passes it
	}
	off := math.Mod(c.Lon-b.West+720, 360) // east of the western edge
	return off >= c.reach() && off+c.reach() <= b.width()
}

// reach returns how many degrees of longitude a circle that holds no pole goes to
// either side of its centre.
func (c Circle) reach() float64 {
	const radian = math.Pi / 180
	return math.Asin(math.Sin(c.Radius*radian)/math.Cos(c.Lat*radian)) / radian
}

// Touches reports whether a circle reaches both b's range of latitudes and b's range
// of longitudes: true for every circle that overlaps b, and for a few near its corners.
func (b Box) Touches(c Circle) bool {
	if c.Lat+c.Radius < b.South || c.Lat-c.Radius > b.North {
		return false
	}
	if math.Abs(c.Lat)+c.Radius >= 90 {
		return true // every meridian passes it
	}
	reach := c.reach()
	off := math.Mod(c.Lon-b.West+720, 360) // east of the western edge
	return off <= b.width()+reach || off >= 360-reach
}
