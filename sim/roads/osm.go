package roads

import (
	"context"
	"fmt"
	"io"

	"github.com/paulmach/osm"
	"github.com/paulmach/osm/osmpbf"
	"github.com/paulmach/osm/osmxml"
)

// osmFormat opens a scanner of a file's ways, or of its nodes.
type osmFormat func(ctx context.Context, r io.Reader, nodes bool) osm.Scanner

func xml(ctx context.Context, r io.Reader, _ bool) osm.Scanner { return osmxml.New(ctx, r) }

func pbf(ctx context.Context, r io.Reader, nodes bool) osm.Scanner {
	s := osmpbf.New(ctx, r, 2)
	s.SkipRelations, s.SkipNodes, s.SkipWays = true, !nodes, nodes
	return s
}

// readOSM draws the highways of an OSM file. Only the points of those are held in
// memory, whatever else the file has.
func (d *groundwork) readOSM(ctx context.Context, r io.ReadSeeker, format osmFormat) error {
	scan := func(nodes bool, take func(osm.Object) error) error {
		if _, err := r.Seek(0, io.SeekStart); err != nil {
			return err
		}
		s := format(ctx, r, nodes)
		defer func() { _ = s.Close() }()
		for s.Scan() {
			if err := take(s.Object()); err != nil {
				return err
			}
		}
		return s.Err()
	}
	err := scan(false, func(o osm.Object) error {
		if w, ok := o.(*osm.Way); ok {
			d.addWay(w)
		}
		return d.check()
	})
	if err != nil {
		return fmt.Errorf("OSM: %w", err)
	}
	found := make([]bool, len(d.at))
	err = scan(true, func(o osm.Object) error {
		n, ok := o.(*osm.Node)
		if !ok {
			return nil
		}
		v, used := d.known[uint64(n.ID)]
		if !used {
			return nil
		}
		d.at[v], found[v] = coordinate{n.Lat, n.Lon}, true
		return d.at[v].check()
	})
	if err != nil {
		return fmt.Errorf("OSM: %w", err)
	}
	d.cut(found)
	return nil
}

func (d *groundwork) addWay(o *osm.Way) {
	w := way{}
	if o.Tags.Find("highway") == "" {
		return
	}
	if !w.rules(o.Tags.Find) {
		d.unfit++
		return
	}
	for _, n := range o.Nodes {
		if v := d.vertex(uint64(n.ID), coordinate{}); len(w.points) == 0 || w.points[len(w.points)-1] != v {
			w.points = append(w.points, v)
		}
	}
	if len(w.points) < 2 {
		d.unfit++
		return
	}
	d.ways = append(d.ways, w)
}

// cut divides ways at points that are not in the file: an extract has cut them off.
func (d *groundwork) cut(found []bool) {
	whole := d.ways
	d.ways = nil
	for _, w := range whole {
		points := w.points
		for len(points) > 0 {
			n := 0
			for n < len(points) && found[points[n]] {
				n++
			}
			if n > 1 {
				w.points = points[:n:n]
				d.ways = append(d.ways, w)
			}
			points = points[min(n+1, len(points)):]
		}
	}
}
