// Package roads has towns of real streets: a network read from GeoJSON lines, OSM XML
// or OSM PBF, and a Town whose riders take the shortest ways on it.
//
// The package promises that a town is a pure function of its network, seed and time, and
// that a network in several parts is cut down to the largest, and says so. It does not
// promise to obey turn restrictions, gates or timetables.
package roads

import (
	"fmt"
	"math"

	"pingline/sim/handset"
)

// Network is streets and the crossings between them: the largest part of a file's that
// hangs together. It does not change.
type Network struct {
	chart  handset.Chart
	at     []corner // the vertices: crossings, ends and bends
	first  []uint32 // the edges of vertex v are edges[first[v]:first[v+1]]
	edges  []edge
	extent Extent
}

// Extent says how large a network is.
type Extent struct {
	Ways       int // lines of the file that are in it
	LeftOut    int // lines of the file that are not connected to those
	Unfit      int // lines of the file that are no streets
	Vertices   int
	Kilometres float64
}

func (s Extent) String() string {
	text := fmt.Sprintf("%d ways of %.0f km", s.Ways, s.Kilometres)
	if s.LeftOut > 0 {
		text += fmt.Sprintf("; %d ways are left out: they are not connected to those", s.LeftOut)
	}
	return text
}

// Extent says how large the network is.
func (n *Network) Extent() Extent { return n.extent }

// corner is a place on the chart, in metres.
type corner struct{ east, north float32 }

func (a corner) distance(b corner) float64 {
	return math.Hypot(float64(a.east-b.east), float64(a.north-b.north))
}

// edge is one direction of a street between two vertices.
type edge struct {
	to     uint32
	length float32 // metres
	speed  uint8   // the limit, m/s
	flags  edgeFlags
}

type edgeFlags uint8

const (
	drivable edgeFlags = 1 << iota // for cars and buses, in this direction
	walkable                       // for walkers and couriers
	covered                        // a tunnel
)

// way is a line of a file: a street with the same rules all along.
type way struct {
	points   []uint32 // vertices of the groundwork
	speed    float64  // the limit, m/s; 0 means closed to cars
	foot     bool
	forward  bool // open to cars in the direction of its points
	backward bool
	tunnel   bool
}

// groundwork is the ways of a file so far.
type groundwork struct {
	known map[uint64]uint32 // a vertex by its id or position
	at    []coordinate
	ways  []way
	unfit int
}

type coordinate struct{ lat, lon float64 }

// mostVertices is how many vertices a network may have: those of a large country.
const mostVertices = 50_000_000

func newGroundwork() *groundwork { return &groundwork{known: make(map[uint64]uint32)} }

// vertex returns the vertex of a key; a new one if there is none.
func (d *groundwork) vertex(key uint64, p coordinate) uint32 {
	v, known := d.known[key]
	if !known {
		v = uint32(len(d.at))
		d.known[key] = v
		d.at = append(d.at, p)
	}
	return v
}

func (d *groundwork) check() error {
	if len(d.at) > mostVertices {
		return fmt.Errorf("more than %d points: cut a town out of it", mostVertices)
	}
	return nil
}

// A network with less than this is no town, and one of which the largest part has less
// than this share of all is torn.
const (
	leastMetres = 1000
	leastShare  = 0.5
)

// network joins what is drawn. It keeps the largest part that hangs together, and
// refuses a file without streets, and one whose lines do not meet.
func (d *groundwork) network() (*Network, error) {
	if len(d.ways) == 0 {
		if d.unfit > 0 {
			return nil, fmt.Errorf("no streets: none of its %d lines is one", d.unfit)
		}
		return nil, fmt.Errorf("no streets: it has no lines")
	}
	parts := newParts(len(d.at))
	for i := range d.ways {
		points := d.ways[i].points
		for k := range points[1:] {
			parts.join(points[k], points[k+1])
		}
	}
	metres, all := make(map[uint32]float64), 0.0
	for i := range d.ways {
		w := &d.ways[i]
		length := d.length(w)
		metres[parts.of(w.points[0])] += length
		all += length
	}
	largest, most := uint32(0), 0.0
	for part, length := range metres {
		if length > most || length == most && part < largest {
			largest, most = part, length
		}
	}
	var kept []way
	for _, w := range d.ways {
		if parts.of(w.points[0]) == largest {
			kept = append(kept, w)
		}
	}
	switch {
	case most < leastShare*all:
		return nil, fmt.Errorf("its streets do not hang together: the largest of %d parts has %d of %d ways, %.1f of %.1f km; ways must share the points at which they meet",
			len(metres), len(kept), len(d.ways), most/1000, all/1000)
	case most < leastMetres:
		return nil, fmt.Errorf("%.0f m of streets: less than %d m", most, leastMetres)
	}
	n := d.build(kept)
	n.extent.LeftOut = len(d.ways) - len(kept)
	n.extent.Kilometres = most / 1000
	return n, nil
}

func (d *groundwork) length(w *way) (metres float64) {
	for k := range w.points[1:] {
		a, b := d.at[w.points[k]], d.at[w.points[k+1]]
		chart := handset.NewChart(a.lat, a.lon)
		metres += math.Hypot(chart.Metres(b.lat, b.lon))
	}
	return metres
}

// build returns the network of ways that hang together.
func (d *groundwork) build(ways []way) *Network {
	renamed := make([]uint32, len(d.at)) // 0: not in it, or else the vertex's number and 1
	var list []coordinate
	vertex := func(old uint32) uint32 {
		if renamed[old] == 0 {
			list = append(list, d.at[old])
			renamed[old] = uint32(len(list))
		}
		return renamed[old] - 1
	}
	degree := make([]uint32, len(d.at)+1)
	for i := range ways {
		for k := range ways[i].points {
			v := vertex(ways[i].points[k])
			ways[i].points[k] = v
			if k > 0 {
				degree[ways[i].points[k-1]]++
				degree[v]++
			}
		}
	}
	n := &Network{chart: chartOf(list), at: make([]corner, len(list)), first: make([]uint32, len(list)+1)}
	for v, p := range list {
		east, north := n.chart.Metres(p.lat, p.lon)
		n.at[v] = corner{float32(east), float32(north)}
		n.first[v+1] = n.first[v] + degree[v]
	}
	n.edges = make([]edge, n.first[len(list)])
	filled := append([]uint32(nil), n.first[:len(list)]...)
	add := func(a, b uint32, w *way, open bool) {
		e := edge{to: b, length: float32(n.at[a].distance(n.at[b])), speed: uint8(min(max(w.speed, 1), 60))}
		if open && w.speed > 0 {
			e.flags |= drivable
		}
		if w.foot {
			e.flags |= walkable
		}
		if w.tunnel {
			e.flags |= covered
		}
		n.edges[filled[a]] = e
		filled[a]++
	}
	for i := range ways {
		w := &ways[i]
		for k := range w.points[1:] {
			a, b := w.points[k], w.points[k+1]
			add(a, b, w, w.forward)
			add(b, a, w, w.backward)
		}
	}
	n.extent = Extent{Ways: len(ways), Unfit: d.unfit, Vertices: len(list)}
	return n
}

// chartOf returns the chart around the middle of some positions.
func chartOf(list []coordinate) handset.Chart {
	near := handset.NewChart(list[0].lat, list[0].lon)
	var box [4]float64 // west, south, east, north of the first, in metres
	for _, p := range list {
		east, north := near.Metres(p.lat, p.lon)
		box = [4]float64{min(box[0], east), min(box[1], north), max(box[2], east), max(box[3], north)}
	}
	lat, lon := near.Degrees((box[0]+box[2])/2, (box[1]+box[3])/2)
	return handset.NewChart(lat, lon)
}

// parts is a disjoint-set forest of vertices.
type parts []uint32

func newParts(n int) parts {
	p := make(parts, n)
	for v := range p {
		p[v] = uint32(v)
	}
	return p
}

// of returns the part a vertex is in, by one of its vertices.
func (p parts) of(v uint32) uint32 {
	for p[v] != v {
		p[v] = p[p[v]]
		v = p[v]
	}
	return v
}

func (p parts) join(a, b uint32) {
	if a, b = p.of(a), p.of(b); a < b {
		p[b] = a
	} else {
		p[a] = b
	}
}
