package rollup

import (
	"strconv"
	"strings"
	"time"

	"pingline"
	"pingline/partition"
)

// Measurement is the name of the measurement that totals are stored under.
const Measurement = "cell_activity"

// CellActivity is the activity in a cell in a window.
type CellActivity struct {
	Cell   uint64        // H3
	Res    int           // its resolution
	From   int64         // ms since 1970: when the window begins
	Window time.Duration // its length

	Pings   uint64
	Riders  uint64 // distinct; exact up to 6,000
	Moving  uint64 // riders seen moving
	Waiting uint64 // riders not seen moving

	HasSpeed  bool    // some ping knows its speed
	SpeedMean float64 // of the pings that know their speed, m/s, to the mm/s
	SpeedMax  float64 // of the pings that know their speed, m/s

	Parts uint64 // of the riders that are in it, if the riders are in several; else 0
}

// endless is before every window.
const endless = -1 << 62

// Point returns a as a point; it names the node, if that has a name:
//
//	cell_activity,cell=8839220f09fffff,node=a,res=8,window=10s pings=412i,riders=37i,moving=30i,waiting=7i,speed_mean=6.1,speed_max=19.4 1760000010000000000
func (a *CellActivity) Point(node string) *pingline.Point {
	p := &pingline.Point{Name: Measurement, At: a.From}
	p.Tags = append(make([]pingline.Tag, 0, 4), pingline.Tag{Key: "cell", Value: strconv.FormatUint(a.Cell, 16)})
	if node != "" {
		p.Tags = append(p.Tags, pingline.Tag{Key: "node", Value: node})
	}
	p.Tags = append(p.Tags, pingline.Tag{Key: "res", Value: strconv.Itoa(a.Res)}, pingline.Tag{Key: "window", Value: Tidy(a.Window)})
	p.Fields = append(make([]pingline.PointField, 0, 7),
		pingline.Int("pings", int64(a.Pings)),
		pingline.Int("riders", int64(a.Riders)),
		pingline.Int("moving", int64(a.Moving)),
		pingline.Int("waiting", int64(a.Waiting)),
	)
	if a.HasSpeed {
		p.Fields = append(p.Fields, pingline.Float("speed_mean", a.SpeedMean), pingline.Float("speed_max", shortest(a.SpeedMax)))
	}
	if a.Parts > 0 {
		p.Fields = append(p.Fields, pingline.Int("parts", int64(a.Parts)))
	}
	return p
}

// Names returns the tags and the fields of the points of Measurement.
func Names() (tags, fields []string) {
	p := (&CellActivity{HasSpeed: true, Parts: 1}).Point("n")
	for i := range p.Tags {
		tags = append(tags, p.Tags[i].Key)
	}
	for i := range p.Fields {
		fields = append(fields, p.Fields[i].Key)
	}
	return tags, fields
}

// ActivityOf returns the activity that a stored point tells of, and the node that counted
// it; ok is false for a point that is no total of a cell.
func ActivityOf(p *pingline.Point) (a CellActivity, node string, ok bool) {
	a.From = p.At
	for _, t := range p.Tags {
		var err error
		switch t.Key {
		case "cell":
			a.Cell, err = partition.ParseCell(t.Value)
		case "res":
			a.Res, err = strconv.Atoi(t.Value)
		case "window":
			a.Window, err = time.ParseDuration(t.Value)
		case "node":
			node = t.Value
		}
		if err != nil {
			return a, node, false
		}
	}
	for i := range p.Fields {
		f := &p.Fields[i]
		switch f.Key {
		case "pings":
			a.Pings = uint64(f.Int())
		case "riders":
			a.Riders = uint64(f.Int())
		case "moving":
			a.Moving = uint64(f.Int())
		case "waiting":
			a.Waiting = uint64(f.Int())
		case "speed_mean":
			a.SpeedMean, a.HasSpeed = f.Float(), true
		case "speed_max":
			a.SpeedMax = f.Float()
		case "parts":
			a.Parts = uint64(f.Int())
		}
	}
	return a, node, p.Name == Measurement && a.Cell != 0 && a.Window > 0 && a.Pings > 0
}

// shortest returns the shortest decimal number that is v as a float32: 19.4, where
// v is 19.399999618530273.
func shortest(v float64) float64 {
	var text [24]byte
	short, err := strconv.ParseFloat(string(strconv.AppendFloat(text[:0], v, 'g', -1, 32)), 64)
	if err != nil {
		return v
	}
	return short
}

// Tidy is d as people write it: 10s, 1m, 1h30m.
func Tidy(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}
