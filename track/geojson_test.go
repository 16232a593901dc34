package track

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pingline"
)

const geoSample = `{
  "type": "FeatureCollection", "bbox": [1, [2], {"features": []}],
  "features": [
    {"type": "Feature", "geometry": {"type": "LineString", "coordinates": [[-8.629105, 41.157812, 80.5], [-8.6292, 41.158]]},
     "properties": {"name": "Morning ride!", "time": "2025-10-09T08:00:00Z", "coordTimes": ["2025-10-09T08:53:20.123Z", "2025-10-09T08:53:21.123Z"]}},
    {"type": "Feature", "properties": {"rider_id": "r-1", "speed": 7.42, "course": "183.5", "battery": null, "timestamp": 1760000000},
     "geometry": {"type": "Point", "coordinates": [-8.629105, 41.157812]}}
  ]
}`

func TestReadGeoJSON(t *testing.T) {
	ride := func(at int64, lat, lon float64) pingline.Ping { return newPing(t, "Morning-ride", at, lat, lon, nil) }
	first := ride(1760000000123, 41.157812, -8.629105)
	first.SetOptional(pingline.HasAltitude, 80.5)
	second := ride(1760000001123, 41.158, -8.6292)
	point := newPing(t, "r-1", 1760000000000, 41.157812, -8.629105, map[pingline.Known]float64{pingline.HasSpeed: 7.42, pingline.HasHeading: 183.5})
	bare := func(at int64, lat, lon float64) pingline.Ping { return newPing(t, "a", at, lat, lon, nil) }
	line := func(kind, coordinates, properties string) string {
		return `{"type":"Feature","geometry":{"type":"` + kind + `","coordinates":` + coordinates + `},"properties":` + properties + `}`
	}
	for _, tt := range []struct {
		name, text string
		want       []pingline.Ping
	}{
		{"a collection", geoSample, []pingline.Ping{first, second, point}},
		{"a feature alone", line("LineString", "[[2,1],[3,1]]", `{"times":[1760000000123,1760000001123]}`), []pingline.Ping{bare(1760000000123, 1, 2), bare(1760000001123, 1, 3)}},
		{"a feature a line", line("Point", "[2,1]", `{"ts":1760000000123}`) + "\n" + line("Point", "[3,1]", `{"ts":1760000001123}`) + "\n", []pingline.Ping{bare(1760000000123, 1, 2), bare(1760000001123, 1, 3)}},
		{"a list of features", "[" + line("Point", "[2,1]", `{"ts":1760000000123}`) + "]", []pingline.Ping{bare(1760000000123, 1, 2)}},
		{"the type behind the features", `{"features":[` + line("Point", "[2,1]", `{"ts":1760000000123}`) + `],"type":"FeatureCollection"}`, []pingline.Ping{bare(1760000000123, 1, 2)}},
		{"several lines", line("MultiLineString", "[[[2,1],[3,1]],[[4,1],[5,1]]]", `{"coordTimes":[[1760000000123,1760000001123],[1760000002123,1760000003123]]}`), []pingline.Ping{bare(1760000000123, 1, 2), bare(1760000001123, 1, 3), bare(1760000002123, 1, 4), bare(1760000003123, 1, 5)}},
		{"points together", line("MultiPoint", "[[2,1],[3,1]]", `{"timestamps":[1760000000.123,"2025-10-09T10:53:21.123+02:00"]}`), []pingline.Ping{bare(1760000000123, 1, 2), bare(1760000001123, 1, 3)}},
		{"times of togeojson", line("LineString", "[[2,1],[3,1]]", `{"coordinateProperties":{"heart":[1,2],"times":["2025-10-09T08:53:20.123Z","2025-10-09T08:53:21.123Z"]}}`), []pingline.Ping{bare(1760000000123, 1, 2), bare(1760000001123, 1, 3)}},
		{"what is no track", `{"type":"FeatureCollection","features":[` + line("Polygon", "[[[2,1],[3,1],[3,2],[2,1]]]", `{}`) + `,{"type":"Feature","geometry":null,"properties":null},` + line("Point", "[2,1]", `{"ts":1760000000123}`) + "]}", []pingline.Ping{bare(1760000000123, 1, 2)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, file := range []string{"a.geojson", "a.json"} {
				if tt.name == "a list of features" && file == "a.json" {
					continue // it begins as a list of pings does
				}
				pings, raws, errs := readAll(t, file, tt.text)
				if !slices.Equal(pings, tt.want) || len(errs) > 0 {
					t.Errorf("%s: read %+v, %q, want %+v", file, pings, errs, tt.want)
				}
				if slices.ContainsFunc(raws, func(s string) bool { return s != "" }) {
					t.Errorf("%s: lines %q", file, raws)
				}
			}
		})
	}
}

// A feature or a position that is refused is named by its line, and does not stop the
// reading.
func TestReadGeoJSONRefuses(t *testing.T) {
	const good = `{"type":"Feature","geometry":{"type":"Point","coordinates":[2,1]},"properties":{"ts":1760000000123}}`
	feature := func(kind, coordinates, properties string) string {
		return `{"type":"Feature","geometry":{"type":"` + kind + `","coordinates":` + coordinates + `},"properties":` + properties + `}`
	}
	for _, tt := range []struct {
		name, text, want string
		besides          int // pings of the feature that are good
	}{
		{"a line without times", feature("LineString", "[[2,1],[3,1]]", `{"time":"2025-10-09T08:53:20Z"}`), "ts: a LineString needs a time for each of its positions", 0},
		{"a point without a time", feature("Point", "[2,1]", `null`), "ts: missing: a Point needs the property time", 0},
		{"fewer times than positions", feature("LineString", "[[2,1],[3,1]]", `{"times":[1760000000123]}`), "ts: missing: there are fewer times", 1},
		{"a position of one number", feature("LineString", "[[2,1],[3]]", `{"times":[1760000000123,1760000001123]}`), "a position of 1 numbers", 1},
		{"a position that is a word", feature("Point", `"here"`, `{"ts":1760000000123}`), "a position of 0 numbers", 0},
		{"a latitude off the globe", feature("Point", "[2,91]", `{"ts":1760000000123}`), "lat: not in [-90, 90]", 0},
		{"a longitude in words", feature("Point", `["x",1]`, `{"ts":1760000000123}`), "lon: not a number", 0},
		{"a time that is none", feature("Point", "[2,1]", `{"time":"yesterday"}`), "ts: neither whole ms", 0},
		{"a bad rider", feature("Point", "[2,1]", `{"ts":1760000000123,"rider_id":"\\"}`), "rider_id: a backslash", 0},
		{"a word", `feature`, "not JSON: invalid character", 0},
		{"a number", `7`, "not a GeoJSON feature", 0},
		{"a very long feature", `{"x":"` + strings.Repeat("x", 16<<20) + `"}`, "a value of more than 16 MiB", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pings, _, errs := readAll(t, "a.geojson", "{\"type\":\"FeatureCollection\",\"features\":[\n"+good+",\n"+tt.text+",\n"+good+"]}")
			if len(pings) != 2+tt.besides {
				t.Errorf("%d pings, want %d", len(pings), 2+tt.besides)
			}
			if len(errs) != 1 || !strings.HasPrefix(errs[0], "a.geojson line 3: ") || !strings.Contains(errs[0], tt.want) {
				t.Errorf("errors %.200q, want %q", errs, tt.want)
			}
		})
	}
	for _, text := range []string{`{"type":"FeatureCollection","features":[` + good, `{"features" 7}`, `{"features":`, `{"type":}`, `[`, `7`, `{"x":"`} {
		pings, _, errs := readAll(t, "a.geojson", text)
		if len(errs) != 1 || !strings.Contains(errs[0], "read JSON: ") {
			t.Errorf("%s: %d pings, %q", text, len(pings), errs)
		}
	}
}

// GeoJSON that was written has each position and time, and the names of the track.
func TestWrittenGeoJSONReadsBack(t *testing.T) {
	var pings []pingline.Ping
	for i := int64(1); i <= 500; i++ {
		p := newPing(t, "r.-1--", 1e12+i*987, float64(i)/13, -float64(i)/7, nil)
		if i > 250 {
			p.Device = "watch"
		}
		pings = append(pings, p)
	}
	alone := newPing(t, "alone", 1e12, 1, 2, nil)
	late := pings[7]
	late.LatE7++
	path := filepath.Join(t.TempDir(), "a.geojson.gz")
	w, err := Create(path, GeoJSON)
	if err != nil {
		t.Fatal(err)
	}
	for i := range pings {
		err = errors.Join(err, w.Write(&pings[i], false))
	}
	if err = errors.Join(err, w.Write(&late, true), w.Write(&alone, false), w.Close()); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := append(slices.Insert(slices.Clone(pings), 250, late), alone)
	if got, _, errs := readAll(t, path, string(text)); !slices.Equal(got, want) || len(errs) > 0 {
		t.Errorf("wrote %d pings, read %d, %q", len(want), len(got), errs)
	}
}
