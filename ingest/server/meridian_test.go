package server

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"testing"
	"time"
)

// A line over the antimeridian is cut there (RFC 7946, 3.1.9), and never goes round the
// world.
func TestLinesOverTheAntimeridian(t *testing.T) {
	type lons []float64
	for _, tt := range []struct {
		name  string
		lons  lons
		kind  string
		parts int
		way   float64 // sum of |Δlon| within parts
	}{
		{"from west to east", lons{179.5, 179.6, 179.7, 179.8, 179.9, 180, -179.9, -179.8, -179.7, -179.6, -179.5}, "MultiLineString", 2, 1},
		{"between two points", lons{179.5, -179.5}, "MultiLineString", 2, 1},
		{"to and fro", lons{-179.8, 179.8, -179.8, 179.8}, "MultiLineString", 4, 1.2},
		{"from the meridian on", lons{180, -179.9, -179.8}, "LineString", 1, 0.2},
		{"up to the meridian", lons{179.8, 179.9, -180}, "LineString", 1, 0.2},
		{"along the meridian, from both its sides", lons{180, -180, 180, -180}, "LineString", 1, 0},
		{"over it after a rest on it", lons{179.9, -180, 180, -179.9}, "MultiLineString", 2, 0.2},
		{"far from it", lons{-1, 1, 179, 0}, "LineString", 1, 359},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, s, url := readServer(t)
			at := time.Now().Add(-time.Hour).UnixMilli()
			body := "["
			for i, lon := range tt.lons {
				body += fmt.Sprintf(`{"rider_id":"r","ts":%d,"lat":%v,"lon":%v},`, at+int64(i)*60_000, -17+float64(i%2)*0.05, lon)
			}
			// It comes too late to be on the line.
			late := fmt.Sprintf(`{"rider_id":"r","ts":%d,"lat":-18,"lon":-179}`, at)
			for _, b := range []string{body[:len(body)-1] + "]", late} {
				if a := send(t, http.MethodPost, url+"/v1/pings", []byte(b)); a.status != http.StatusOK {
					t.Fatalf("%d %s", a.status, a.body)
				}
			}
			s.carry(s.log.Last() + 1)
			a := send(t, http.MethodGet, url+"/v1/riders/r/track", nil, "Accept", mimeGeoJSON)
			var g struct {
				Features []struct {
					Geometry struct {
						Type        string
						Coordinates json.RawMessage
					}
					Properties struct{ Times json.RawMessage }
				}
			}
			if err := json.Unmarshal([]byte(a.body), &g); err != nil || len(g.Features) != 2 || g.Features[1].Geometry.Type != "MultiPoint" {
				t.Fatalf("%d %s: %v", a.status, a.body, err)
			}
			f := &g.Features[0]
			if f.Geometry.Type != tt.kind {
				t.Fatalf("a %s, want a %s: %s", f.Geometry.Type, tt.kind, a.body)
			}
			parts, times := make([][][2]float64, 1), make([][]int64, 1)
			var toParts, toTimes any = &parts[0], &times[0]
			if tt.kind == "MultiLineString" {
				toParts, toTimes = &parts, &times
			}
			if err := json.Unmarshal(f.Geometry.Coordinates, toParts); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(f.Properties.Times, toTimes); err != nil {
				t.Fatal(err)
			}
			if len(parts) != tt.parts || len(times) != tt.parts {
				t.Fatalf("%d parts, times of %d, want %d: %s", len(parts), len(times), tt.parts, a.body)
			}
			way, before := 0.0, int64(0)
			for i, part := range parts {
				if len(part) < 2 || len(part) != len(times[i]) {
					t.Errorf("part %d has %d corners and %d times", i, len(part), len(times[i]))
				}
				for k, c := range part {
					if times[i][k] < before {
						t.Errorf("part %d: times %v", i, times[i])
					}
					if before = times[i][k]; k > 0 {
						way += math.Abs(c[0] - part[k-1][0])
					}
				}
				if i > 0 {
					end, from := parts[i-1][len(parts[i-1])-1], part[0]
					if math.Abs(end[0]) != 180 || from[0] != -end[0] || from[1] != end[1] || times[i][0] != times[i-1][len(times[i-1])-1] {
						t.Errorf("part %d begins at %v, and the one before ends at %v", i, from, end)
					}
				}
			}
			if math.Abs(way-tt.way) > 1e-6 {
				t.Errorf("%v degrees of longitude, want %v: %s", way, tt.way, a.body)
			}
		})
	}
}
