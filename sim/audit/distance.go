package audit

import (
	"math"

	"pingline"
)

// between returns the distance of p from the line between two points of
// different times, or from the one if both are the same.
func between(p, a, b *auditRecord) float64 {
	share := 0.0
	if b.at != a.at {
		share = float64(p.at-a.at) / float64(b.at-a.at)
	}
	// In 1e-7 degree; 64 bits, for the way round may be 360 degrees long.
	turn := int64(b.lon) - int64(a.lon)
	if turn > 180*pingline.E7 {
		turn -= 360 * pingline.E7
	} else if turn < -180*pingline.E7 {
		turn += 360 * pingline.E7
	}
	lat := float64(a.lat) + share*float64(int64(b.lat)-int64(a.lat))
	lon := float64(a.lon) + share*float64(turn)
	return greatCircle(lat, lon, float64(p.lat), float64(p.lon))
}

// greatCircle returns the distance in metres between two positions in 1e-7
// degree on a sphere (haversine formula).
func greatCircle(lat1, lon1, lat2, lon2 float64) float64 {
	const radius, rad = 6371008.8, math.Pi / 180 / pingline.E7
	s, c := math.Sin((lat2-lat1)*rad/2), math.Sin((lon2-lon1)*rad/2)
	h := s*s + math.Cos(lat1*rad)*math.Cos(lat2*rad)*c*c
	return 2 * radius * math.Asin(math.Sqrt(min(1, h)))
}
