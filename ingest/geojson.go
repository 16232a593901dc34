package ingest

import (
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v2"

	"pingline"
	"pingline/partition"
)

// GeoJSON is RFC 7946.
const mimeGeoJSON = "application/geo+json"

type feature struct {
	Type       string         `json:"type"`
	Geometry   geometry       `json:"geometry"`
	Properties map[string]any `json:"properties"`
}

type geometry struct {
	Type        string `json:"type"`
	Coordinates any    `json:"coordinates"`
}

// geoJSON answers with a FeatureCollection; more are members of its own.
func geoJSON(c *fiber.Ctx, features []feature, more fiber.Map) error {
	answer := fiber.Map{"type": "FeatureCollection", "features": features}
	for k, v := range more {
		answer[k] = v
	}
	if err := c.JSON(answer); err != nil {
		return err
	}
	c.Set(fiber.HeaderContentType, mimeGeoJSON)
	return nil
}

// trackFeatures returns a line for each device, and the late points of each
// apart, as they are not on the line.
func trackFeatures(rider string, list []pingline.Entry) []feature {
	type key struct {
		device string
		late   bool
	}
	var order []key
	positions, times := make(map[key][][2]float64), make(map[key][]int64)
	for i := range list {
		e := &list[i]
		k := key{e.Device, e.Late}
		if positions[k] == nil {
			order = append(order, k)
		}
		if n := len(times[k]); !k.late && n > 0 && times[k][n-1] == e.At && positions[k][n-1] == [2]float64{e.Lon(), e.Lat()} {
			continue // an event on a fix that is there
		}
		positions[k] = append(positions[k], [2]float64{e.Lon(), e.Lat()})
		times[k] = append(times[k], e.At)
	}
	features := make([]feature, 0, len(order))
	for _, k := range order {
		g := geometry{"LineString", positions[k]}
		switch {
		case k.late:
			g.Type = "MultiPoint"
		case len(positions[k]) == 1: // a line has two ends
			g = geometry{"Point", positions[k][0]}
		}
		properties := map[string]any{"rider_id": rider, "times": times[k]}
		if k.device != "" {
			properties["device_id"] = k.device
		}
		if k.late {
			properties["late"] = true
		}
		features = append(features, feature{"Feature", g, properties})
	}
	return features
}

// Activity is what went on in one cell in one window.
type Activity struct {
	Cell      uint64
	Res       int
	From      int64 // start of the window, ms
	WindowS   int64 // its length, s
	Pings     uint64
	Riders    uint64
	Moving    uint64
	Waiting   uint64
	SpeedMean float64 // m/s
	SpeedMax  float64
}

// cellsMost is how many cells an answer holds.
const cellsMost = 10_000

// cells answers with the live activity in a box.
func (s *Server) cells(c *fiber.Ctx) error {
	if s.over.Heavy() {
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
	list, err := s.cfg.Reader.Cells(box, res, cellsMost+1)
	if err != nil {
		return &bodyError{errBadQuery, err.Error()}
	}
	if len(list) > cellsMost {
		return badQuery("bbox", "holds more than %d cells: take a smaller one, or a coarser res", cellsMost)
	}
	features := make([]feature, len(list))
	for i := range list {
		a := &list[i]
		features[i] = feature{"Feature", geometry{"Polygon", [][][2]float64{partition.Outline(a.Cell)}}, map[string]any{
			"cell": strconv.FormatUint(a.Cell, 16), "res": a.Res, "from": a.From, "window_s": a.WindowS,
			"pings": a.Pings, "riders": a.Riders, "moving": a.Moving, "waiting": a.Waiting,
			"speed_mean": a.SpeedMean, "speed_max": a.SpeedMax,
		}}
	}
	return geoJSON(c, features, nil)
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

// Partitions says how points are spread over shards.
type Partitions struct {
	Imbalance float64      `json:"imbalance"` // most ÷ mean points of a shard, since the start; 1 is even
	Shards    []ShardShare `json:"shards"`
	HotCells  []HotCell    `json:"hot_cells"`
}

// ShardShare is one shard's part.
type ShardShare struct {
	Name   string  `json:"name"`
	Points uint64  `json:"points"` // since the start
	Share  float64 `json:"share"`
	Up     bool    `json:"up"`
}

// HotCell is a cell that is split, or busier than one part may be.
type HotCell struct {
	Cell   string  `json:"cell"`
	Rate   float64 `json:"rate"` // pings/s
	Splits int     `json:"splits"`
}
