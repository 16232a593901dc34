package track

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"math"
	"strconv"

	"pingline"
	"pingline/track/values"
)

// geojson reads the features of GeoJSON (RFC 7946) that have times: lines and groups
// of points with a time for each position, in the property coordTimes, times or
// timestamps or in coordinateProperties.times, and points with a time of their own.
// The other properties of a feature are named as those of POST /v1/pings, or as other
// loggers name them; without a rider, the rider is the feature's name, or that of the
// file. The third number of a position is its altitude. Other geometries are not tracks.
type geojson struct {
	lists   *values.Lists
	file    string
	feature geoFeature
	names   names
}

// geoFeature is a feature that is being read.
type geoFeature struct {
	line             int
	row              rowText // what is the same for all its positions
	positions, times []byte  // the rest of their lists
	outer, outerTime []byte  // the rest of the lists of a geometry with several parts
}

func newGeoJSON(in *bufio.Reader, file string) *geojson {
	return &geojson{lists: values.NewLists(in, []string{"features"}, []string{"geometry", "properties"}), file: nameOfFile(file)}
}

func (g *geojson) header() []byte { return nil }

func (g *geojson) next(p *pingline.Ping) ([]byte, int, error) {
	for {
		position, at, ok := g.feature.next()
		if ok {
			return nil, g.feature.line, g.ping(p, position, at)
		}
		_, text, line, err := g.lists.Next()
		if err != nil {
			return nil, line, err
		}
		// The text is that of the cursor, which is not read on before the feature's end.
		if g.feature, err = g.open(text); err != nil {
			return nil, line, err
		}
		g.feature.line = line
	}
}

// open returns the feature with a text.
func (g *geojson) open(text []byte) (f geoFeature, err error) {
	var kind string
	var coordinates, properties []byte
	if values.TrimLeft(text)[0] != '{' {
		return f, lineError("not a GeoJSON feature")
	}
	for key, value := range values.Members(text) {
		switch {
		case string(key) == "geometry" && value[0] == '{':
			for key, value := range values.Members(value) {
				switch string(key) {
				case "type":
					kind = string(values.Text(value))
				case "coordinates":
					coordinates = value
				}
			}
		case string(key) == "properties" && value[0] == '{':
			properties = value
		}
	}
	var times []byte
	f.row, times = g.properties(properties)
	switch kind {
	case "Point":
		if times == nil && f.row[ts] == nil {
			return f, &pingline.FieldError{Field: ts.String(), Reason: "missing: a Point needs the property time or timestamp"}
		}
		f.positions, f.times = append(bytes.Clone(coordinates), ']'), values.Opened(times)
		return f, nil
	case "LineString", "MultiPoint":
		f.row[ts] = nil
		f.positions, f.times = values.Opened(coordinates), values.Opened(times)
	case "MultiLineString":
		f.row[ts] = nil
		f.outer, f.outerTime = values.Opened(coordinates), values.Opened(times)
	default:
		return f, nil
	}
	if times == nil {
		return geoFeature{}, &pingline.FieldError{Field: ts.String(), Reason: "a " + kind + " needs a time for each of its positions, in the property coordTimes, times or timestamps"}
	}
	return f, nil
}

// properties returns the fields that properties have, and the times of positions.
func (g *geojson) properties(object []byte) (row rowText, times []byte) {
	var name string
	if object == nil {
		object = []byte("{}")
	}
	for key, value := range values.Members(object) {
		switch string(key) {
		case "name", "title":
			name = nameOf(string(values.Text(value)))
			continue
		case "coordTimes", "times", "timestamps":
			if value[0] == '[' {
				times = value
				continue
			}
		case "coordinateProperties":
			if value[0] == '{' {
				for key, value := range values.Members(value) {
					if string(key) == "times" && times == nil && value[0] == '[' {
						times = value
					}
				}
			}
			continue
		}
		own := fieldOf(key) != unknown
		c := column{field: fieldOf(key)}
		if !own {
			c = aliasOf(key)
		}
		if text := values.Text(value); c.field != unknown && len(text) > 0 && (own || row[c.field] == nil) {
			row[c.field] = c.read(text, nil)
		}
	}
	if row[rider] == nil {
		row[rider] = []byte(cmp.Or(name, g.file))
	}
	return row, times
}

// next returns the next position and its time, which is nil if there is none.
func (f *geoFeature) next() (position, at []byte, ok bool) {
	for {
		if position, f.positions, ok = values.Element(f.positions); ok {
			at, f.times, _ = values.Element(f.times)
			return position, at, true
		}
		var part, times []byte
		if part, f.outer, ok = values.Element(f.outer); !ok {
			return nil, nil, false
		}
		times, f.outerTime, _ = values.Element(f.outerTime)
		f.positions, f.times = values.Opened(part), values.Opened(times)
	}
}

func (g *geojson) ping(p *pingline.Ping, position, at []byte) error {
	row := g.feature.row
	if at != nil { // a time of its own counts before the feature's
		row[ts] = values.Text(at)
	}
	if len(row[ts]) == 0 {
		return &pingline.FieldError{Field: ts.String(), Reason: "missing: there are fewer times than positions"}
	}
	c := column{field: ts}
	row[ts] = msOf(c.read(row[ts], nil))
	n := 0
	for rest := values.Opened(position); ; n++ {
		var text []byte
		var ok bool
		if text, rest, ok = values.Element(rest); !ok {
			break
		}
		if f := [...]field{lon, lat, altitude}; n < len(f) {
			row[f[n]] = values.Text(text)
		}
	}
	if n < 2 {
		return lineError(fmt.Sprintf("a position of %d numbers", n))
	}
	return row.ping(p, &g.names)
}

// msOf returns a time as it is, or in ms if it is a number that would be ms of the
// years before 1973: it is seconds then.
func msOf(at []byte) []byte {
	const year1973 = 1e11
	if v, err := strconv.ParseFloat(string(at), 64); err == nil && math.Abs(v) < year1973 {
		return strconv.AppendInt(nil, int64(math.Round(v*1000)), 10)
	}
	return at
}
