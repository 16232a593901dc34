package track

import (
	"bufio"
	"math"
	"strconv"

	"pingline"
)

// geoEncoder writes GeoJSON (RFC 7946), the features of GET /v1/riders/{id}/track:
// a line for each track, and its late points apart. A line is cut where it goes over
// the 180th meridian. Its times are ms since 1970, one for each position.
type geoEncoder struct{ keptTracks }

func (e *geoEncoder) begin(*bufio.Writer) {}

func (e *geoEncoder) ping(_ *bufio.Writer, p *pingline.Ping, late bool) { e.add(p, late) }

func (e *geoEncoder) end(w *bufio.Writer) {
	_, _ = w.WriteString(`{"type":"FeatureCollection","features":[`)
	between := "\n"
	for _, t := range e.all() {
		if len(t.line) > 0 {
			_, _ = w.WriteString(between)
			writeLine(w, t)
			between = ",\n"
		}
		if len(t.late) > 0 {
			_, _ = w.WriteString(between)
			feature(w, t, "MultiPoint", "", true, [][]geoPoint{geoPoints(t.late)})
			between = ",\n"
		}
	}
	_, _ = w.WriteString("\n]}\n")
}

// geoPoint is a position and when it was.
type geoPoint struct {
	at       int64 // ms
	lat, lon int64 // 1e-7 degree
}

func geoPoints(pings []pingline.Ping) []geoPoint {
	list := make([]geoPoint, len(pings))
	for i := range pings {
		list[i] = geoPoint{pings[i].At, int64(pings[i].LatE7), int64(pings[i].LonE7)}
	}
	return list
}

func writeLine(w *bufio.Writer, t *keptTrack) {
	points := geoPoints(t.line)
	switch parts := cut(points); {
	case len(points) == 1: // a line has two ends
		feature(w, t, "Point", "", false, [][]geoPoint{points})
	case len(parts) == 1:
		feature(w, t, "LineString", "", false, parts)
	default:
		feature(w, t, "MultiLineString", "[", false, parts)
	}
}

// cut cuts a line where the short way between two points goes over the 180th
// meridian, and lets both parts end there.
func cut(points []geoPoint) (parts [][]geoPoint) {
	begin := 0
	for i := 1; i < len(points); i++ {
		a, b := points[i-1], points[i]
		d := shortWay(float64(b.lon - a.lon))
		if d == float64(b.lon-a.lon) {
			continue
		}
		edge := int64(math.Copysign(turn/2, d))
		part := float64(edge-a.lon) / d
		at := geoPoint{a.at + int64(part*float64(b.at-a.at)), a.lat + int64(part*float64(b.lat-a.lat)), edge}
		parts = append(parts, append(points[begin:i:i], at))
		at.lon = -edge
		points[i-1], begin = at, i-1 // a is in the part before
	}
	return append(parts, points[begin:])
}

// feature writes a feature of one or more parts, within open and its counterpart.
func feature(w *bufio.Writer, t *keptTrack, kind, open string, late bool, parts [][]geoPoint) {
	_, _ = w.WriteString(`{"type":"Feature","geometry":{"type":"` + kind + `","coordinates":` + open)
	each(w, kind, parts, func(dst []byte, p geoPoint) []byte {
		dst = appendFixed(append(dst, '['), p.lon, 7)
		dst = appendFixed(append(dst, ','), p.lat, 7)
		return append(dst, ']')
	})
	if open != "" {
		_ = w.WriteByte(']')
	}
	_, _ = w.WriteString(`},"properties":{"rider_id":` + string(appendText(nil, t.rider)))
	if t.device != "" {
		_, _ = w.WriteString(`,"device_id":` + string(appendText(nil, t.device)))
	}
	if late {
		_, _ = w.WriteString(`,"late":true`)
	}
	_, _ = w.WriteString(`,"times":` + open)
	if kind == "Point" {
		kind = "LineString" // times are a list even of one
	}
	each(w, kind, parts, func(dst []byte, p geoPoint) []byte { return strconv.AppendInt(dst, p.at, 10) })
	if open != "" {
		_ = w.WriteByte(']')
	}
	_, _ = w.WriteString("}}")
}

// each writes the parts as lists, but for that of a Point.
func each(w *bufio.Writer, kind string, parts [][]geoPoint, of func(dst []byte, p geoPoint) []byte) {
	var b []byte
	for i, part := range parts {
		if i > 0 {
			b = append(b, ',')
		}
		if kind != "Point" {
			b = append(b, '[')
		}
		for j, p := range part {
			if j > 0 {
				b = append(b, ',')
			}
			b = of(b, p)
			if len(b) > 4096 {
				_, _ = w.Write(b)
				b = b[:0]
			}
		}
		if kind != "Point" {
			b = append(b, ']')
		}
	}
	_, _ = w.Write(b)
}
