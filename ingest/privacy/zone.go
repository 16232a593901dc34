package privacy

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"pingline"
)

// Limits of zones.
const (
	MaxZones    = 1000 // of all riders
	MaxKeyZones = 100  // of a key

	leastMetres = 10
	mostMetres  = 100_000
)

const (
	earth  = 6371008.8 // mean radius, metres
	radian = math.Pi / 180

	halfTurn = 180 * int64(pingline.E7) // of longitude, 1e-7 degree
	turn     = 2 * halfTurn
)

// Zones are circles on the ground. They do not change, and are safe for concurrent use.
type Zones struct {
	list []disc
	grid *zoneGrid // nil: there are so few that each is looked at
}

// disc is a zone: the points whose distance through the earth from its centre, on a sphere
// of radius 1, is at most chord. So neither poles nor the antimeridian are special.
type disc struct {
	lat, lon float64 // of the centre, degrees
	metres   float64

	latE7, lonE7 int32
	south, north int64 // latitudes beyond which no point is within, 1e-7 degree
	half         int64 // longitudes further than this from the centre are not within, 1e-7 degree
	at           onSphere
	chord2       float64 // chord squared
}

type onSphere struct{ x, y, z float64 }

func vectorOf(lat, lon float64) onSphere {
	sinLat, cosLat := math.Sincos(lat * radian)
	sinLon, cosLon := math.Sincos(lon * radian)
	return onSphere{cosLat * cosLon, cosLat * sinLon, sinLat}
}

func (v onSphere) distance2(w onSphere) float64 {
	x, y, z := v.x-w.x, v.y-w.y, v.z-w.z
	return x*x + y*y + z*z
}

// ParseZones returns the zones of texts LAT,LON,METRES: degrees, and a radius from 10 m to
// 100 km. It returns nil for none. An error names the zone by its place, and does not quote
// it: a zone tells where somebody lives.
func ParseZones(texts []string, most int) (*Zones, error) {
	if len(texts) == 0 {
		return nil, nil
	}
	if len(texts) > most {
		return nil, fmt.Errorf("%d zones are more than %d", len(texts), most)
	}
	z := &Zones{list: make([]disc, len(texts))}
	for i, text := range texts {
		if err := z.list[i].parse(text); err != nil {
			return nil, fmt.Errorf("zone %d: %w", i+1, err)
		}
	}
	if len(z.list) > few {
		z.grid = gridOf(z.list)
	}
	return z, nil
}

var errForm = errors.New("not of the form LAT,LON,METRES, such as 41.1496,-8.6110,300")

func (d *disc) parse(text string) error {
	parts := strings.Split(text, ",")
	if len(parts) != 3 {
		return errForm
	}
	for i, to := range []*float64{&d.lat, &d.lon, &d.metres} {
		v, err := strconv.ParseFloat(strings.TrimSpace(parts[i]), 64)
		if err != nil {
			return errForm
		}
		*to = v
	}
	if !(d.metres >= leastMetres && d.metres <= mostMetres) {
		return fmt.Errorf("METRES is not in [%d, %d]", leastMetres, mostMetres)
	}
	var f pingline.Fix
	if err := f.SetPosition(d.lat, d.lon); err != nil {
		return err
	}
	d.latE7, d.lonE7 = f.LatE7, f.LonE7
	d.bound()
	return nil
}

// bound sets the bounds of d: the exact one, and those that cost less to look at.
func (d *disc) bound() {
	const margin = 2 // 1e-7 degree, for rounding
	angle := d.metres / earth
	d.at = vectorOf(float64(d.latE7)/pingline.E7, float64(d.lonE7)/pingline.E7)
	chord := 2 * math.Sin(angle/2)
	d.chord2 = chord * chord
	reach := int64(math.Ceil(angle/radian*pingline.E7)) + margin
	d.south, d.north, d.half = int64(d.latE7)-reach, int64(d.latE7)+reach, halfTurn
	if d.south > -halfTurn/2 && d.north < halfTurn/2 { // beyond a pole the circle has all longitudes
		widest := math.Asin(min(math.Sin(angle)/math.Cos(float64(d.latE7)/pingline.E7*radian), 1))
		d.half = min(halfTurn, int64(math.Ceil(widest/radian*pingline.E7))+margin)
	}
}

// near reports whether f may be within d.
func (d *disc) near(f *pingline.Fix) bool {
	if lat := int64(f.LatE7); lat < d.south || lat > d.north {
		return false
	}
	apart := int64(f.LonE7) - int64(d.lonE7)
	apart = max(apart, -apart)
	return min(apart, turn-apart) <= d.half
}

// Len returns the number of zones; nil has none.
func (z *Zones) Len() int {
	if z == nil {
		return 0
	}
	return len(z.list)
}

// of returns the first zone that f is within, or nil.
func (z *Zones) of(f *pingline.Fix) *disc {
	if z == nil {
		return nil
	}
	var at onSphere
	within := func(d *disc) bool {
		if !d.near(f) {
			return false
		}
		if at == (onSphere{}) {
			at = vectorOf(f.Lat(), f.Lon())
		}
		return at.distance2(d.at) <= d.chord2
	}
	if z.grid != nil {
		for _, i := range z.grid.at(f) {
			if d := &z.list[i]; within(d) {
				return d
			}
		}
		return nil
	}
	for i := range z.list {
		if d := &z.list[i]; within(d) {
			return d
		}
	}
	return nil
}
