package roads

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"

	"pingline"
)

// feature is one of GeoJSON (RFC 7946), as far as streets need it.
type feature struct {
	Geometry *struct {
		Type        string          `json:"type"`
		Coordinates json.RawMessage `json:"coordinates"`
	} `json:"geometry"`
	Properties map[string]any `json:"properties"`
}

// readGeoJSON draws the lines of a FeatureCollection. Their properties are read like
// OSM's tags; a line without highway is a residential street. Lines meet where they
// have the same position to a tenth of a millionth of a degree. Features are read one
// after the other: the file is never in memory as a whole.
func (d *groundwork) readGeoJSON(r io.Reader) error {
	dec := json.NewDecoder(r)
	if _, err := dec.Token(); err != nil {
		return err
	}
	found := false
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return brokenJSON(err)
		}
		if key != "features" {
			var other json.RawMessage
			if err := dec.Decode(&other); err != nil {
				return brokenJSON(err)
			}
			continue
		}
		found = true
		if open, err := dec.Token(); err != nil || open != json.Delim('[') {
			return fmt.Errorf("GeoJSON: features are not a list")
		}
		for n := 0; dec.More(); n++ {
			var f feature
			if err := dec.Decode(&f); err != nil {
				return fmt.Errorf("feature %d: %w", n, brokenJSON(err))
			}
			if err := d.addFeature(&f); err != nil {
				return fmt.Errorf("feature %d: %w", n, err)
			}
		}
		if _, err := dec.Token(); err != nil {
			return brokenJSON(err)
		}
	}
	if _, err := dec.Token(); err != nil {
		return brokenJSON(err)
	}
	if !found {
		return errors.New("GeoJSON without features: not a FeatureCollection")
	}
	return nil
}

func brokenJSON(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("GeoJSON: %w", err)
}

func (d *groundwork) addFeature(f *feature) error {
	if f.Geometry == nil {
		d.unfit++
		return nil
	}
	var lines [][][]float64
	var err error
	switch f.Geometry.Type {
	case "LineString":
		lines = make([][][]float64, 1)
		err = json.Unmarshal(f.Geometry.Coordinates, &lines[0])
	case "MultiLineString":
		err = json.Unmarshal(f.Geometry.Coordinates, &lines)
	default:
		d.unfit++
		return nil
	}
	if err != nil {
		return err
	}
	w := way{}
	if !w.rules(func(key string) string {
		switch v := f.Properties[key].(type) {
		case string:
			return v
		case float64:
			return fmt.Sprint(v)
		case bool:
			return map[bool]string{true: "yes", false: "no"}[v]
		}
		if key == "highway" {
			return "residential"
		}
		return ""
	}) {
		d.unfit++
		return nil
	}
	for _, line := range lines {
		if err := d.addLine(w, line); err != nil {
			return err
		}
	}
	return d.check()
}

// addLine draws one line, given by longitudes and latitudes.
func (d *groundwork) addLine(w way, line [][]float64) error {
	w.points = nil
	for _, c := range line {
		if len(c) < 2 {
			return fmt.Errorf("position %v has no longitude and latitude", c)
		}
		p := coordinate{lat: c[1], lon: c[0]}
		if err := p.check(); err != nil {
			return err
		}
		key := uint64(uint32(int32(math.Round(p.lat*pingline.E7))))<<32 | uint64(uint32(int32(math.Round(p.lon*pingline.E7))))
		if v := d.vertex(key, p); len(w.points) == 0 || w.points[len(w.points)-1] != v {
			w.points = append(w.points, v)
		}
	}
	if len(w.points) < 2 {
		d.unfit++
		return nil
	}
	d.ways = append(d.ways, w)
	return nil
}

// check refuses a position beyond the globe, and one near the poles, where a chart is of
// no use.
func (p coordinate) check() error {
	if !(math.Abs(p.lat) <= 80 && math.Abs(p.lon) <= 180) {
		return fmt.Errorf("position %g,%g is not within 80 degrees of the equator", p.lat, p.lon)
	}
	return nil
}
