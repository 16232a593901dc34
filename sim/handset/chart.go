package handset

import (
	"math"

	"pingline"
)

const metresADeg = 6371008.8 * math.Pi / 180

// Chart is a map around a point on the globe, in metres east and north of it:
// longitudes are as long everywhere as at its origin.
type Chart struct {
	lat, lon       float64
	degLat, degLon float64 // degrees per metre
}

// NewChart returns the chart around a point, in degrees.
func NewChart(lat, lon float64) Chart {
	return Chart{lat, lon, 1 / metresADeg, 1 / (metresADeg * math.Cos(lat*math.Pi/180))}
}

// Place sets f's position.
func (c *Chart) Place(fix *pingline.Fix, east, north float64) {
	lon := c.lon + east*c.degLon
	if lon > 180 {
		lon -= 360
	} else if lon < -180 {
		lon += 360
	}
	fix.LatE7 = int32(math.Floor((c.lat+north*c.degLat)*pingline.E7 + 0.5))
	fix.LonE7 = int32(math.Floor(lon*pingline.E7 + 0.5))
}

// Metres returns where a position in degrees is in the chart, by the shorter way
// around the globe.
func (c *Chart) Metres(lat, lon float64) (east, north float64) {
	return math.Remainder(lon-c.lon, 360) / c.degLon, (lat - c.lat) / c.degLat
}

// Degrees returns the position of a place on the chart.
func (c *Chart) Degrees(east, north float64) (lat, lon float64) {
	return c.lat + north*c.degLat, math.Remainder(c.lon+east*c.degLon, 360)
}
