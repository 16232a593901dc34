package track

import (
	"bufio"
	"strconv"

	"pingline"
	"pingline/internal/meridian"
)

// geoEncoder writes GeoJSON (RFC 7946) with the features of GET /v1/riders/{id}/track:
// a line for each track, and its late points apart. A line is cut where it crosses
// the 180th meridian. Each position has a time, ms since 1970.
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
			feature(w, t, "MultiPoint", "", true, [][]meridian.Corner{corners(t.late)})
			between = ",\n"
		}
	}
	_, _ = w.WriteString("\n]}\n")
}

func corners(pings []pingline.Ping) []meridian.Corner {
	list := make([]meridian.Corner, len(pings))
	for i := range pings {
		list[i] = meridian.Corner{At: pings[i].At, Lat: int64(pings[i].LatE7), Lon: int64(pings[i].LonE7)}
	}
	return list
}

func writeLine(w *bufio.Writer, t *keptTrack) {
	points := corners(t.line)
	switch parts := cut(points); {
	case len(points) == 1: // a LineString needs two positions
		feature(w, t, "Point", "", false, [][]meridian.Corner{points})
	case len(parts) == 1:
		feature(w, t, "LineString", "", false, parts)
	default:
		feature(w, t, "MultiLineString", "[", false, parts)
	}
}

// cut cuts a line where it crosses the antimeridian.
func cut(points []meridian.Corner) (parts [][]meridian.Corner) {
	line, n := meridian.Cut(points)
	parts = make([][]meridian.Corner, 0, n)
	begin := 0
	for i := range line {
		if line[i].Starts && i > 0 {
			parts, begin = append(parts, line[begin:i]), i
		}
	}
	return append(parts, line[begin:])
}

// feature writes a feature of at least one part, between the bracket open and its
// counterpart.
func feature(w *bufio.Writer, t *keptTrack, kind, open string, late bool, parts [][]meridian.Corner) {
	_, _ = w.WriteString(`{"type":"Feature","geometry":{"type":"` + kind + `","coordinates":` + open)
	each(w, kind, parts, func(dst []byte, p meridian.Corner) []byte {
		dst = appendFixed(append(dst, '['), p.Lon, 7)
		dst = appendFixed(append(dst, ','), p.Lat, 7)
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
		kind = "LineString" // the times of a Point are a list, too
	}
	each(w, kind, parts, func(dst []byte, p meridian.Corner) []byte { return strconv.AppendInt(dst, p.At, 10) })
	if open != "" {
		_ = w.WriteByte(']')
	}
	_, _ = w.WriteString("}}")
}

// each writes each part as a list; a Point has no list.
func each(w *bufio.Writer, kind string, parts [][]meridian.Corner, of func(dst []byte, p meridian.Corner) []byte) {
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
