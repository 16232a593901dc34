package roads

import (
	"strconv"
	"strings"
)

// limits says how fast cars go on a highway of OSM by its kind, in km/h, where no
// maxspeed is given. 0 is closed to cars.
var limits = map[string]float64{
	"motorway": 100, "motorway_link": 60, "trunk": 80, "trunk_link": 50,
	"primary": 60, "primary_link": 40, "secondary": 50, "secondary_link": 40,
	"tertiary": 50, "tertiary_link": 40, "unclassified": 40, "road": 40,
	"residential": 30, "living_street": 15, "service": 20,
	"pedestrian": 0, "footway": 0, "path": 0, "steps": 0, "cycleway": 0, "bridleway": 0, "track": 0, "corridor": 0,
}

const kmh = 1 / 3.6 // m/s

// rules sets what OSM's tags say about a way, and reports whether it is a street at all.
func (w *way) rules(tag func(key string) string) bool {
	limit, street := limits[tag("highway")]
	if access := tag("access"); !street || access == "no" || access == "private" || tag("area") == "yes" {
		return false
	}
	class := tag("highway")
	w.foot = !strings.HasPrefix(class, "motorway") && !strings.HasPrefix(class, "trunk") && tag("foot") != "no"
	if v := maxSpeed(tag("maxspeed")); v > 0 && limit > 0 {
		limit = v
	}
	w.speed = limit * kmh
	w.forward, w.backward = true, true
	switch oneway := tag("oneway"); {
	case oneway == "yes" || oneway == "1" || oneway == "true", class == "motorway", tag("junction") == "roundabout":
		w.backward = oneway == "no"
	case oneway == "-1" || oneway == "reverse":
		w.forward = false
	}
	tunnel := tag("tunnel")
	w.tunnel = tunnel != "" && tunnel != "no"
	return w.speed > 0 || w.foot
}

// maxSpeed reads a speed limit such as 50 or 30 mph, in km/h; 0 of another.
func maxSpeed(text string) float64 {
	number, mph := strings.CutSuffix(strings.TrimSpace(text), "mph")
	v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || !(v >= 5 && v <= 200) {
		return 0
	}
	if mph {
		v *= 1.609344
	}
	return v
}
