package roads

import (
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"pingline/sim/handset"
)

var update = flag.Bool("update", false, "write testdata anew")

// drawnWay is a way of a made-up place, as OSM has it.
type drawnWay struct {
	nodes []int64
	tags  [][2]string
}

// drawn is a made-up place.
type drawn struct {
	nodes []coordinate // node n has the id n+1
	ways  []drawnWay
}

// grid draws streets between crossings some 100 m apart that are not quite in line. Every
// fourth street is a main road, the seventh one-way, and part of the fifth a tunnel; there
// is a footpath, and beyond a river a lane that no bridge leads to.
func grid(columns, rows int) *drawn {
	d := &drawn{}
	chart := handset.NewChart(12.5, 45.25) // in the sea
	node := func(x, y float64) int64 {
		lat, lon := chart.Degrees(x, y)
		d.nodes = append(d.nodes, coordinate{math.Round(lat*1e6) / 1e6, math.Round(lon*1e6) / 1e6})
		return int64(len(d.nodes))
	}
	crossings := make([][]int64, rows)
	for y := range rows {
		for x := range columns {
			h := handset.Scramble(uint64(y*columns + x))
			crossings[y] = append(crossings[y], node(100*float64(x)+40*handset.Unit(h), 100*float64(y)+40*handset.Unit(handset.Scramble(h))))
		}
	}
	street := func(n int, nodes []int64) {
		tags := [][2]string{{"highway", "residential"}}
		switch {
		case n%4 == 0:
			tags = [][2]string{{"highway", "secondary"}, {"maxspeed", "50"}}
		case n%7 == 3:
			tags = append(tags, [2]string{"oneway", "yes"})
		case n%5 == 1 && len(nodes) > 8:
			d.ways = append(d.ways, drawnWay{nodes[:4], tags}, drawnWay{nodes[3:8], append(tags[:1:1], [2]string{"tunnel", "yes"})})
			nodes = nodes[7:]
		}
		d.ways = append(d.ways, drawnWay{nodes, tags})
	}
	for y := range rows {
		street(y, crossings[y])
	}
	for x := range columns {
		var nodes []int64
		for y := range rows {
			nodes = append(nodes, crossings[y][x])
		}
		street(x+rows, nodes)
	}
	d.ways = append(d.ways,
		drawnWay{[]int64{crossings[1][1], node(170, 170), crossings[2][2]}, [][2]string{{"highway", "footway"}}},
		drawnWay{[]int64{node(0, -500), node(300, -520)}, [][2]string{{"highway", "track"}}},
		drawnWay{[]int64{node(0, -700), node(90, -700)}, [][2]string{{"highway", "construction"}}},
	)
	return d
}

func (d *drawn) geoJSON() []byte {
	type object map[string]any
	features := []any{}
	for _, w := range d.ways {
		line, tags := [][2]float64{}, object{}
		for _, n := range w.nodes {
			line = append(line, [2]float64{d.nodes[n-1].lon, d.nodes[n-1].lat})
		}
		for _, t := range w.tags {
			tags[t[0]] = t[1]
		}
		features = append(features, object{"type": "Feature", "properties": tags, "geometry": object{"type": "LineString", "coordinates": line}})
	}
	b, err := json.Marshal(object{"type": "FeatureCollection", "features": features})
	if err != nil {
		panic(err)
	}
	return []byte(strings.ReplaceAll(string(b), `{"geometry"`, "\n"+`{"geometry"`) + "\n")
}

func (d *drawn) xml() []byte {
	var b strings.Builder
	b.WriteString("<?xml version='1.0' encoding='UTF-8'?>\n<osm version=\"0.6\" generator=\"go test ./sim/roads -update\">\n")
	for i, p := range d.nodes {
		fmt.Fprintf(&b, "<node id=\"%d\" lat=\"%.6f\" lon=\"%.6f\"/>\n", i+1, p.lat, p.lon)
	}
	for i, w := range d.ways {
		fmt.Fprintf(&b, "<way id=\"%d\">", i+1)
		for _, n := range w.nodes {
			fmt.Fprintf(&b, "<nd ref=\"%d\"/>", n)
		}
		for _, t := range w.tags {
			fmt.Fprintf(&b, "<tag k=\"%s\" v=\"%s\"/>", t[0], t[1])
		}
		b.WriteString("</way>\n")
	}
	b.WriteString("</osm>\n")
	return []byte(b.String())
}

// pbf returns the place as a file of https://wiki.openstreetmap.org/wiki/PBF_Format with
// one block of dense nodes and ways.
func (d *drawn) pbf() []byte {
	bytesOf := func(b []byte, field protowire.Number, value []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), value)
	}
	number := func(b []byte, field protowire.Number, v uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), v)
	}
	blob := func(out []byte, kind string, block []byte) []byte {
		body := number(bytesOf(nil, 1, block), 2, uint64(len(block)))
		header := number(bytesOf(nil, 1, []byte(kind)), 3, uint64(len(body)))
		out = append(out, byte(len(header)>>24), byte(len(header)>>16), byte(len(header)>>8), byte(len(header)))
		return append(append(out, header...), body...)
	}
	table, at := bytesOf(nil, 1, nil), map[string]uint64{"": 0}
	word := func(s string) uint64 {
		if _, known := at[s]; !known {
			at[s] = uint64(len(at))
			table = bytesOf(table, 1, []byte(s))
		}
		return at[s]
	}
	delta := func(values []int64) (packed []byte) {
		last := int64(0)
		for _, v := range values {
			packed = protowire.AppendVarint(packed, protowire.EncodeZigZag(v-last))
			last = v
		}
		return packed
	}
	var ids, lats, lons []int64
	for i, p := range d.nodes {
		ids = append(ids, int64(i+1))
		lats, lons = append(lats, int64(math.Round(p.lat*1e7))), append(lons, int64(math.Round(p.lon*1e7)))
	}
	dense := bytesOf(bytesOf(bytesOf(nil, 1, delta(ids)), 8, delta(lats)), 9, delta(lons))
	group := bytesOf(nil, 2, dense)
	var ways []byte
	for i, w := range d.ways {
		var keys, values []byte
		for _, t := range w.tags {
			keys, values = protowire.AppendVarint(keys, word(t[0])), protowire.AppendVarint(values, word(t[1]))
		}
		ways = bytesOf(ways, 3, bytesOf(bytesOf(bytesOf(number(nil, 1, uint64(i+1)), 2, keys), 3, values), 8, delta(w.nodes)))
	}
	block := bytesOf(bytesOf(bytesOf(nil, 1, table), 2, group), 2, ways)
	head := bytesOf(bytesOf(nil, 4, []byte("OsmSchema-V0.6")), 4, []byte("DenseNodes"))
	return blob(blob(nil, "OSMHeader", head), "OSMData", block)
}

// files writes a place in each format and returns the paths.
func (d *drawn) files(t *testing.T) map[string]string {
	t.Helper()
	dir := t.TempDir()
	paths := map[string]string{}
	for name, text := range map[string][]byte{"place.geojson": d.geoJSON(), "place.osm": d.xml(), "place.osm.pbf": d.pbf()} {
		paths[name] = dir + "/" + name
		if err := os.WriteFile(paths[name], text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return paths
}

func (d *drawn) network(t testing.TB) *Network {
	t.Helper()
	groundwork := newGroundwork()
	if err := groundwork.readGeoJSON(strings.NewReader(string(d.geoJSON()))); err != nil {
		t.Fatal(err)
	}
	n, err := groundwork.network()
	if err != nil {
		t.Fatal(err)
	}
	return n
}
