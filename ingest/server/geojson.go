package server

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v2"

	"pingline"
	"pingline/internal/meridian"
	"pingline/partition"
	"pingline/query"
)

// GeoJSON is RFC 7946.
const mimeGeoJSON = "application/geo+json"

// answerLines answers with a line for each device, and the late points of each
// apart, as they are not on the line.
func (s *reads) answerLines(c *fiber.Ctx, r *readInWork, rider string, list []pingline.Entry, end pageEnd) error {
	r.bytes.settle(readBytes + int64(len(list))*leftBytes)
	s.rates.Pay(r.client, len(list)/pointsOfOne)
	head := append(appendJSON([]byte(`{"type":"FeatureCollection","rider_id":`), rider), `,"features":[`...)
	parts := []func([]byte) []byte{text(string(head))}
	slices.SortStableFunc(list, func(a, b pingline.Entry) int { return cmp.Or(cmp.Compare(a.Device, b.Device), lateBehind(&a, &b)) })
	list = slices.CompactFunc(list, func(a, b pingline.Entry) bool { // an event on a fix that is there
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

// lineOf is a feature: the points of a device that are not late as a line, or the
// late ones.
func lineOf(rider string, list []pingline.Entry) []func(dst []byte) []byte {
	first := &list[0]
	properties := map[string]any{"rider_id": rider}
	if first.Device != "" {
		properties["device_id"] = first.Device
	}
	if first.Late {
		properties["late"] = true
	}
	var waiting []int64
	for i := range list {
		if waits(&list[i]) {
			waiting = append(waiting, list[i].At)
		}
	}
	if waiting != nil {
		properties["waiting"] = waiting
	}
	about := appendJSON(nil, properties)
	if !first.Late && len(list) > 1 { // a line has two ends
		return drawn(list, about)
	}
	position := func(dst []byte, i int) []byte { return appendJSON(dst, [2]float64{list[i].Lon(), list[i].Lat()}) }
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

// drawn is the feature of a line: of several parts, each with times of its own, if it
// crosses the antimeridian.
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
			return appendJSON(dst, [2]float64{float64(c.Lon) / pingline.E7, float64(c.Lat) / pingline.E7})
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

const (
	cellsMost = 10_000 // cells that an answer holds
	cellBytes = 1024   // a cell in memory while an answer is made; half of it then
)

// cells answers with the live activity in a box.
func (s *reads) cells(c *fiber.Ctx, r *readInWork) error {
	if s.over.Policy().NoReads {
		return readLater("overloaded, cells are not read")
	}
	box, err := boxParam(c)
	if err != nil {
		return err
	}
	res, err := intParam(c, "res", -1, 0, partition.MaxRes)
	if err != nil {
		return err
	}
	a := s.recent.get(area{box, res}, func(a *areaAnswer) { s.lookAround(r, a) })
	r.also = a.release
	if a.err != nil {
		return a.err
	}
	s.rates.Pay(r.client, a.cells/pointsOfOne)
	return s.answer(c, r, mimeGeoJSON, bytes.NewReader(a.body), len(a.body))
}

// lookAround makes an answer, at the expense of the client who asks first.
func (s *reads) lookAround(r *readInWork, a *areaAnswer) {
	a.claim = claim{of: r.bytes.of, share: r.bytes.share}
	if !a.claim.take(min(cellsMost*cellBytes, s.answers.most/4-readBytes)) {
		a.err = readLater("answers take more than %d bytes, or of this client more than a quarter of that", s.answers.most)
		return
	}
	list, err := s.reader.Cells(a.box, a.res, cellsMost+1)
	switch {
	case err != nil:
		a.err = &reasonError{errBadQuery, err.Error()}
	case len(list) > cellsMost:
		a.err = badQuery("bbox", "holds more than %d cells: take a smaller one, or a coarser res", cellsMost)
	default:
		a.cells, a.body = len(list), featuresOf(list)
	}
	a.claim.settle(int64(cap(a.body)))
}

// featuresOf is a FeatureCollection with a polygon for each cell.
func featuresOf(list []query.Activity) []byte {
	out := append(make([]byte, 0, 64+len(list)*cellBytes/2), `{"type":"FeatureCollection","features":[`...)
	for i := range list {
		if i > 0 {
			out = append(out, ',')
		}
		a := &list[i]
		out = append(out, `{"type":"Feature","geometry":{"type":"Polygon","coordinates":`...)
		out = appendJSON(out, [][][2]float64{partition.Outline(a.Cell)})
		out = append(append(append(out, `},"properties":{"cell":"`...), strconv.FormatUint(a.Cell, 16)...), '"')
		for _, p := range [...]struct {
			name string
			v    int64
		}{
			{"res", int64(a.Res)}, {"from", a.From}, {"window_s", a.WindowS}, {"pings", int64(a.Pings)},
			{"riders", int64(a.Riders)}, {"moving", int64(a.Moving)}, {"waiting", int64(a.Waiting)},
		} {
			out = strconv.AppendInt(append(append(append(out, `,"`...), p.name...), `":`...), p.v, 10)
		}
		out = appendJSON(append(out, `,"speed_mean":`...), a.SpeedMean)
		out = append(appendJSON(append(out, `,"speed_max":`...), a.SpeedMax), "}}"...)
	}
	return append(out, "]}"...)
}

func boxParam(c *fiber.Ctx) (box partition.Box, err error) {
	v := c.Query("bbox")
	parts := strings.Split(v, ",")
	to := [...]*float64{&box.West, &box.South, &box.East, &box.North}
	if len(parts) != len(to) {
		return box, badQuery("bbox", "%q is not of the form west,south,east,north in degrees", v)
	}
	for i, p := range parts {
		if *to[i], err = strconv.ParseFloat(strings.TrimSpace(p), 64); err != nil {
			return box, badQuery("bbox", "%q is not a number", p)
		}
	}
	if err := box.Check(); err != nil {
		return box, badQuery("bbox", "%v", err)
	}
	return box, nil
}
