package reads

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v2"

	"pingline"
	"pingline/internal/meridian"
	"pingline/internal/plainjson"
)

// mimeGeoJSON is the media type of GeoJSON, RFC 7946.
const mimeGeoJSON = "application/geo+json"

// wantsGeoJSON reports whether the client asks for GeoJSON instead of JSON, and lets the
// answer say that it depends on that.
func wantsGeoJSON(c *fiber.Ctx) bool {
	c.Vary(fiber.HeaderAccept)
	return strings.Contains(c.Get(fiber.HeaderAccept), mimeGeoJSON)
}

// answerLines answers with a line for each device, and its late points apart, because
// they are not on the line.
func (s *Routes) answerLines(c *fiber.Ctx, r *readInWork, rider string, list []pingline.Entry, end pageEnd) error {
	s.settle(r, len(list))
	head := append(plainjson.Append([]byte(`{"type":"FeatureCollection","rider_id":`), rider), `,"features":[`...)
	parts := []func([]byte) []byte{text(string(head))}
	slices.SortStableFunc(list, func(a, b pingline.Entry) int { return cmp.Or(cmp.Compare(a.Device, b.Device), lateBehind(&a, &b)) })
	list = slices.CompactFunc(list, func(a, b pingline.Entry) bool { // an event on a fix that is a corner already
		return !a.Late && !b.Late && a.Device == b.Device && a.At == b.At && a.SamePlace(&b.Fix)
	})
	for i := 0; i < len(list); {
		next := i + 1
		for next < len(list) && list[next].Device == list[i].Device && list[next].Late == list[i].Late {
			next++
		}
		if i > 0 {
			parts = append(parts, text(","))
		}
		parts = append(parts, lineOf(rider, list[i:next])...)
		i = next
	}
	return s.answer(c, r, mimeGeoJSON, inTurn(append(parts, end.text("]"))...), -1)
}

// lineOf returns a feature: either the line through a device's points that are not late,
// or its late points.
func lineOf(rider string, list []pingline.Entry) []func(dst []byte) []byte {
	first := &list[0]
	properties := map[string]any{"rider_id": rider}
	if first.Device != "" {
		properties["device_id"] = first.Device
	}
	if first.Late {
		properties["late"] = true
	}
	timesOf := func(property string, is func(e *pingline.Entry) bool) {
		var times []int64
		for i := range list {
			if is(&list[i]) {
				times = append(times, list[i].At)
			}
		}
		if times != nil {
			properties[property] = times
		}
	}
	timesOf("waiting", waits)
	timesOf("corrected", func(e *pingline.Entry) bool { return e.Corrected })
	about := plainjson.Append(nil, properties)
	if !first.Late && len(list) > 1 { // a line needs two points
		return drawn(list, about)
	}
	position := func(dst []byte, i int) []byte { return plainjson.Append(dst, [2]float64{list[i].Lon(), list[i].Lat()}) }
	kind, before, behind := "MultiPoint", "[", "]"
	if !first.Late {
		kind, before, behind = "Point", "", ""
	}
	return []func(dst []byte) []byte{
		text(`{"type":"Feature","geometry":{"type":"` + kind + `","coordinates":` + before),
		eachOf(len(list), position),
		text(behind + `},"properties":` + string(about[:len(about)-1]) + `,"times":[`),
		eachOf(len(list), func(dst []byte, i int) []byte { return strconv.AppendInt(dst, list[i].At, 10) }),
		text("]}}"),
	}
}

// drawn returns the feature of a line. A line that crosses the antimeridian has several
// parts, each with its own times.
func drawn(list []pingline.Entry, about []byte) []func(dst []byte) []byte {
	points := make([]meridian.Corner, len(list))
	for i := range list {
		points[i] = meridian.Corner{Lon: int64(list[i].LonE7), Lat: int64(list[i].LatE7), At: list[i].At}
	}
	line, parts := meridian.Cut(points)
	kind, before, behind := "LineString", "[", "]"
	if parts > 1 {
		kind, before, behind = "MultiLineString", "[[", "]]"
	}
	corners := func(one func(dst []byte, c *meridian.Corner) []byte) func(dst []byte) []byte {
		return eachOf(len(line), func(dst []byte, i int) []byte {
			if line[i].Starts && i > 0 {
				dst = append(dst, '[')
			}
			dst = one(dst, &line[i])
			if i+1 < len(line) && line[i+1].Starts {
				dst = append(dst, ']')
			}
			return dst
		})
	}
	return []func(dst []byte) []byte{
		text(`{"type":"Feature","geometry":{"type":"` + kind + `","coordinates":` + before),
		corners(func(dst []byte, c *meridian.Corner) []byte {
			return plainjson.Append(dst, [2]float64{float64(c.Lon) / pingline.E7, float64(c.Lat) / pingline.E7})
		}),
		text(behind + `},"properties":` + string(about[:len(about)-1]) + `,"times":` + before),
		corners(func(dst []byte, c *meridian.Corner) []byte { return strconv.AppendInt(dst, c.At, 10) }),
		text(behind + "}}"),
	}
}

func lateBehind(a, b *pingline.Entry) int {
	switch {
	case a.Late == b.Late:
		return 0
	case a.Late:
		return 1
	}
	return -1
}
