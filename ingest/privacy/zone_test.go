package privacy

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"pingline"
)

// haversine is the distance of two positions on a sphere, metres, by the formula that
// everybody knows: the zones are found by another.
func haversine(aLat, aLon, bLat, bLon float64) float64 {
	square := func(v float64) float64 { return v * v }
	aLat, aLon, bLat, bLon = aLat*radian, aLon*radian, bLat*radian, bLon*radian
	h := square(math.Sin((bLat-aLat)/2)) + math.Cos(aLat)*math.Cos(bLat)*square(math.Sin((bLon-aLon)/2))
	return 2 * earth * math.Asin(math.Sqrt(min(h, 1)))
}

func zonesOf(t testing.TB, texts ...string) *Zones {
	t.Helper()
	z, err := ParseZones(texts, MaxZones)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func fixAt(lat, lon float64) *pingline.Fix {
	return &pingline.Fix{LatE7: int32(math.Round(lat * pingline.E7)), LonE7: int32(math.Round(lon * pingline.E7))}
}

// randomZone is anywhere, and often at a pole or at the antimeridian.
func randomZone(r *rand.Rand) (lat, lon, metres float64) {
	lat, lon = math.Asin(2*r.Float64()-1)/radian, 360*r.Float64()-180
	switch r.IntN(4) {
	case 0:
		lat = math.Copysign(90-r.ExpFloat64(), lat)
		lat = max(min(lat, 90), -90)
	case 1:
		lon = math.Copysign(180-min(r.ExpFloat64()/2, 1), lon)
	}
	return lat, lon, math.Exp(math.Log(leastMetres) + r.Float64()*math.Log(mostMetres/leastMetres))
}

// Few and many zones find the same as the distance to each of them, wherever they are: at the
// poles, across the antimeridian, one over the other.
func TestZonesAgainstEachDistance(t *testing.T) {
	inside := 0
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 7))
		n := 1 + r.IntN(few)
		if seed%2 == 0 {
			n = few + 1 + r.IntN(200)
		}
		var texts []string
		for range n {
			lat, lon, metres := randomZone(r)
			texts = append(texts, fmt.Sprintf("%.7f,%.7f,%.1f", lat, lon, metres))
		}
		z := zonesOf(t, texts...)
		if (z.grid != nil) != (n > few) {
			t.Fatalf("%d zones have a grid: %v", n, z.grid != nil)
		}
		for range 2000 {
			near := &z.list[r.IntN(n)] // most pings are about at a border
			away, way := near.metres*2*r.Float64(), 2*math.Pi*r.Float64()
			lat := near.lat + away/earth/radian*math.Cos(way)
			lon := near.lon + away/earth/radian*math.Sin(way)/max(math.Cos(near.lat*radian), 1e-3)
			if lat = max(min(lat, 90), -90); r.IntN(20) == 0 {
				lat = math.Copysign(90, lat)
			}
			f := fixAt(lat, math.Remainder(lon, 360))
			var want *disc
			unclear := false
			for i := range z.list {
				d := &z.list[i]
				off := haversine(float64(d.latE7)/pingline.E7, float64(d.lonE7)/pingline.E7, f.Lat(), f.Lon()) - d.metres
				unclear = unclear || math.Abs(off) < 1e-4 // rounding decides
				if off < 0 && want == nil {
					want = d
				}
			}
			if unclear {
				continue
			}
			if want != nil {
				inside++
			}
			if got := z.of(f); got != want {
				t.Fatalf("seed %d, of %d zones, at %v,%v: %+v, want %+v", seed, n, f.Lat(), f.Lon(), got, want)
			}
		}
	}
	if inside < 20_000 {
		t.Errorf("%d positions were within a zone", inside)
	}
}

func TestZonesAtTheEdgesOfTheMap(t *testing.T) {
	for _, tt := range []struct {
		name, zone string
		lat, lon   float64
		want       bool
	}{
		{"the centre", "41.15,-8.61,100", 41.15, -8.61, true},
		{"99 m north", "41.15,-8.61,100", 41.15089, -8.61, true},
		{"101 m north", "41.15,-8.61,100", 41.15091, -8.61, false},
		{"over the antimeridian to the west", "10,-179.9999,1000", 10, 179.995, true},
		{"over the antimeridian to the east", "10,179.9999,1000", 10, -179.995, true},
		{"180 is -180", "10,180,10", 10, -180, true},
		{"too far over the antimeridian", "10,179.9999,1000", 10, -179.98, false},
		{"over the pole", "89.9999,0,1000", 89.995, 180, true},
		{"at the pole, of any longitude", "90,0,10", 90, -123.4, true},
		{"near the pole, on the other side", "-89.9999,90,100", -89.9999, -90, true},
		{"too far over the pole", "89.9999,0,1000", 89.98, 180, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := zonesOf(t, tt.zone).of(fixAt(tt.lat, tt.lon)) != nil; got != tt.want {
				t.Errorf("within is %v", got)
			}
		})
	}
	if (*Zones)(nil).of(fixAt(1, 1)) != nil {
		t.Error("no zones have a position within")
	}
}

// A zone that cannot be read is named by its place; the error does not quote where somebody
// lives.
func TestZonesThatCannotBeRead(t *testing.T) {
	const good = "41.1579438,-8.6291053,300"
	for text, want := range map[string]string{
		"41.1579438,-8.6291053":       "zone 2: not of the form LAT,LON,METRES",
		"41.1579438,-8.6291053,300,1": "zone 2: not of the form LAT,LON,METRES",
		"41.1579438,-8.6291053,300m":  "zone 2: not of the form LAT,LON,METRES",
		"":                            "zone 2: not of the form LAT,LON,METRES",
		"91,-8.6291053,300":           "zone 2: lat: not in [-90, 90]",
		"NaN,-8.6291053,300":          "zone 2: lat: not in [-90, 90]",
		"41.1579438,180.1,300":        "zone 2: lon: not in [-180, 180]",
		"0,0,300":                     "zone 2: lat: position 0,0 is refused",
		"41.1579438,-8.6291053,9":     "zone 2: METRES is not in [10, 100000]",
		"41.1579438,-8.6291053,1e6":   "zone 2: METRES is not in [10, 100000]",
		"41.1579438,-8.6291053,NaN":   "zone 2: METRES is not in [10, 100000]",
	} {
		_, err := ParseZones([]string{good, text}, MaxZones)
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "41.1579438") || strings.Contains(err.Error(), "8.629") {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := ParseZones([]string{good, good}, 1); err == nil || err.Error() != "2 zones are more than 1" {
		t.Errorf("too many: %v", err)
	}
	if z, err := ParseZones(nil, 1); z != nil || err != nil || z.Len() != 0 {
		t.Errorf("none: %v %v", z, err)
	}
}

func FuzzParseZones(f *testing.F) {
	f.Add("41.15,-8.61,300", 41.15, -8.61)
	f.Add("90,180,100000", -90.0, 180.0)
	f.Add("-89.99999,-180,10", 89.0, 0.0)
	f.Fuzz(func(t *testing.T, text string, lat, lon float64) {
		list := make([]string, few+1)
		for i := range list {
			list[i] = text
		}
		z, err := ParseZones(list, MaxZones)
		if err != nil {
			return
		}
		var at pingline.Fix
		if z.of(&pingline.Fix{LatE7: z.list[0].latE7, LonE7: z.list[0].lonE7}) != &z.list[0] {
			t.Errorf("%q: the centre is not within", text)
		}
		if at.SetPosition(lat, lon) != nil {
			return
		}
		one, _ := ParseZones(list[:1], MaxZones)
		if (one.of(&at) != nil) != (z.of(&at) != nil) {
			t.Errorf("%q, at %v,%v: one zone and many differ", text, lat, lon)
		}
	})
}

// The memory of the grid is bounded, for as many of the largest zones as there may be.
func TestTheLargestZones(t *testing.T) {
	var texts []string
	r := rand.New(rand.NewPCG(1, 1))
	for range MaxZones {
		lat, lon, _ := randomZone(r)
		texts = append(texts, fmt.Sprintf("%f,%f,%d", lat, lon, mostMetres))
	}
	z := zonesOf(t, texts...)
	if n := len(z.grid.zones); n > 1_000_000 {
		t.Errorf("%d entries, in %d parts", n, len(z.grid.parts))
	}
	t.Logf("%d entries, in %d parts", len(z.grid.zones), len(z.grid.parts))
}
