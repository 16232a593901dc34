package roads

import (
	"bytes"
	"context"
	"math"
	"os"
	"strings"
	"testing"
)

func TestVillageIsReadInEachFormat(t *testing.T) {
	village := grid(14, 11)
	for name, text := range map[string][]byte{"testdata/village.geojson": village.geoJSON(), "testdata/village.osm": village.xml()} {
		if *update {
			if err := os.WriteFile(name, text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if in, err := os.ReadFile(name); err != nil || !bytes.Equal(in, text) {
			t.Errorf("%s is another one, %v: go test ./sim/roads -update", name, err)
		}
	}
	paths := village.files(t)
	paths["testdata/village.geojson"], paths["testdata/village.osm"] = "testdata/village.geojson", "testdata/village.osm"
	var first *Network
	for name, path := range paths {
		n, err := Open(t.Context(), path)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if first == nil {
			first = n
			t.Logf("%s: %v", name, n.Extent())
		}
		a, b := first.Extent(), n.Extent()
		if math.Abs(a.Kilometres-b.Kilometres) > 0.001 {
			t.Errorf("%s: %v, want %v", name, b, a)
		}
		if a.Kilometres = b.Kilometres; a != b || len(first.edges) != len(n.edges) {
			t.Errorf("%s: %+v, %d edges, want %+v, %d", name, b, len(n.edges), a, len(first.edges))
			continue
		}
		for i, e := range n.edges {
			if f := first.edges[i]; e.to != f.to || e.flags != f.flags || e.speed != f.speed || math.Abs(float64(e.length-f.length)) > 0.05 {
				t.Fatalf("%s: edge %d is %+v, want %+v", name, i, e, f)
			}
		}
	}
	if s := first.Extent(); s.LeftOut != 1 || s.Unfit != 1 || s.Ways != 34 || s.Vertices != 155 || s.Kilometres < 25 || s.Kilometres > 32 {
		t.Errorf("the village is %+v", s)
	}
	if text := first.Extent().String(); !strings.Contains(text, "1 ways are left out") {
		t.Errorf("the village is %q", text)
	}
}

func TestNetworkRefuses(t *testing.T) {
	line := func(coordinates string) string {
		return `{"type":"FeatureCollection","features":[{"type":"Feature","properties":{},"geometry":{"type":"LineString","coordinates":` + coordinates + `}}]}`
	}
	for name, tt := range map[string]struct{ file, want string }{
		"nothing":           {"", "it is empty"},
		"a picture":         {"\x89PNG\r\n", "neither GeoJSON nor OSM XML nor OSM PBF"},
		"no features":       {`{"type":"FeatureCollection"}`, "not a FeatureCollection"},
		"an empty list":     {`{"features":[]}`, "no streets: it has no lines"},
		"points only":       {`{"features":[{"geometry":{"type":"Point","coordinates":[1,2]}}]}`, "none of its 1 lines is one"},
		"one point":         {line(`[[1,2]]`), "none of its 1 lines is one"},
		"a short line":      {line(`[[1,2],[1.001,2]]`), "111 m of streets: less than 1000 m"},
		"no latitude":       {line(`[[1],[2]]`), "feature 0: position [1] has no longitude and latitude"},
		"the pole":          {line(`[[1,2],[1,89]]`), "position 89,1 is not within 80 degrees"},
		"half a file":       {`{"features":[{"geometry":{"type":"LineString"`, "unexpected EOF"},
		"after a feature":   {strings.TrimSuffix(line(`[[1,2],[1.1,2]]`), "]}"), "unexpected EOF"},
		"other coordinates": {line(`"x"`), "feature 0"},
		"lines that cross without a shared point": {`{"features":[
			{"geometry":{"type":"LineString","coordinates":[[1,2],[1.1,2]]}},{"geometry":{"type":"LineString","coordinates":[[1.05,1.95],[1.05,2.05]]}},
			{"geometry":{"type":"LineString","coordinates":[[1.06,1.95],[1.06,2.05]]}}]}`, "do not hang together: the largest of 3 parts has 1 of 3 ways"},
		"an empty OSM file": {`<osm version="0.6"></osm>`, "no streets: it has no lines"},
		"half an OSM file":  {`<osm version="0.6"><node id="1" lat="1" lon="2"/><way id="1"><nd ref="1"/>`, "OSM: "},
		"an OSM file without the points of its ways": {
			`<osm version="0.6"><way id="1"><nd ref="1"/><nd ref="2"/><tag k="highway" v="residential"/></way></osm>`, "no streets"},
		"half a PBF file": {string(grid(5, 5).pbf()[:400]), "OSM: "},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Read(t.Context(), strings.NewReader(tt.file))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
	if _, err := Open(t.Context(), t.TempDir()+"/none.osm"); err == nil {
		t.Error("a file that is not there is read")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := NewTown(ctx, TownConfig{Network: grid(6, 6).network(t)}); err == nil {
		t.Error("a town was built after its time")
	}
}

func FuzzRead(f *testing.F) {
	small := grid(3, 3)
	f.Add(small.geoJSON())
	f.Add(small.xml())
	whole := small.pbf()
	f.Add(whole)
	f.Fuzz(func(t *testing.T, b []byte) {
		// The decoder of PBF panics at some damage, in a goroutine of its own.
		if bytes.Contains(b, []byte("OSMHeader")) && !bytes.Equal(b, whole) {
			t.Skip("damaged PBF")
		}
		n, err := Read(t.Context(), bytes.NewReader(b))
		if err == nil && (len(n.at) < 2 || len(n.edges) < 2 || n.extent.Ways < 1) {
			t.Errorf("a network of %d vertices", len(n.at))
		}
	})
}

func TestRules(t *testing.T) {
	for tags, want := range map[string]way{
		"highway=residential":                      {speed: 30, foot: true, forward: true, backward: true},
		"highway=residential maxspeed=20_mph":      {speed: 32.19, foot: true, forward: true, backward: true},
		"highway=motorway":                         {speed: 100, forward: true},
		"highway=primary oneway=-1":                {speed: 60, foot: true, backward: true},
		"highway=primary junction=roundabout":      {speed: 60, foot: true, forward: true},
		"highway=footway maxspeed=50":              {foot: true, forward: true, backward: true},
		"highway=tertiary tunnel=yes maxspeed=sgn": {speed: 50, foot: true, forward: true, backward: true, tunnel: true},
		"highway=service access=private":           {},
		"highway=pedestrian area=yes":              {},
		"highway=proposed":                         {},
		"waterway=river":                           {},
	} {
		var w way
		street := w.rules(func(key string) string {
			for tag := range strings.FieldsSeq(tags) {
				if k, v, _ := strings.Cut(tag, "="); k == key {
					return strings.ReplaceAll(v, "_", " ")
				}
			}
			return ""
		})
		if want.speed == 0 && !want.foot {
			if street {
				t.Errorf("%s is a street", tags)
			}
			continue
		}
		if math.Abs(w.speed/kmh-want.speed) > 0.01 {
			t.Errorf("%s: %.2f km/h, want %.2f", tags, w.speed/kmh, want.speed)
		}
		if w.speed = want.speed; !street || w.foot != want.foot || w.forward != want.forward || w.backward != want.backward || w.tunnel != want.tunnel {
			t.Errorf("%s: %+v, want %+v", tags, w, want)
		}
	}
}

// The ways of the router are as short as those of a method that shares nothing with it.
func TestWaysAreTheShortest(t *testing.T) {
	net := grid(9, 8).network(t)
	for _, open := range []edgeFlags{drivable, walkable} {
		r := newRouter(net, open)
		n := len(net.at)
		best := make([][]float64, n) // Floyd and Warshall
		for a := range best {
			best[a] = make([]float64, n)
			for b := range best[a] {
				if best[a][b] = math.Inf(1); a == b {
					best[a][b] = 0
				}
			}
			for _, e := range net.edges[net.first[a]:net.first[a+1]] {
				cost := float64(e.length)
				if r.byTime {
					cost /= float64(e.speed)
				}
				if e.flags&open != 0 {
					best[a][e.to] = min(best[a][e.to], cost)
				}
			}
		}
		for k := range n {
			for a := range n {
				for b := range n {
					best[a][b] = min(best[a][b], best[a][k]+best[k][b])
				}
			}
		}
		for a := range uint32(n) {
			r.spread(a, 1e6, nil)
			for b := range uint32(n) {
				way, cost, at := r.way(a, b), 0.0, a
				for _, i := range way {
					e := net.edges[i]
					if i < net.first[at] || i >= net.first[at+1] || e.flags&open == 0 {
						t.Fatalf("the way from %d to %d is not open at %d", a, b, at)
					}
					at = e.to
					if cost += float64(e.length); r.byTime {
						cost += float64(e.length)/float64(e.speed) - float64(e.length)
					}
				}
				if math.IsInf(best[a][b], 1) != (a != b && len(way) == 0) || !math.IsInf(best[a][b], 1) && (at != b || math.Abs(cost-best[a][b]) > 0.01) {
					t.Fatalf("from %d to %d: %.3f by %v, want %.3f", a, b, cost, way, best[a][b])
				}
			}
		}
		core := net.core(open)
		for _, a := range core {
			for _, b := range core {
				if math.IsInf(best[a][b], 1) {
					t.Fatalf("no way in the core from %d to %d", a, b)
				}
			}
		}
		if len(core) < n*9/10 {
			t.Errorf("the core has %d of %d vertices", len(core), n)
		}
	}
}
