package track

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"pingline"
	"pingline/track/values"
)

// timeline reads a Google Timeline: Records.json as Takeout has it ("locations"), and
// what a phone exports itself ("semanticSegments" and "rawSignals" on Android, a list of
// segments on iOS). Of a segment it takes the timelinePath. The rider is the name of the
// file. Locations have the number of their phone as device, and raw signals, which are
// a track beside that of the segments, the device raw. Entries without a position, of
// which there are many, are not fixes.
type timeline struct {
	lists *values.Lists
	file  string
	path  []byte // the rest of the path of a segment
	start int64  // of the segment, ms
	begun int    // line of the segment
	names names
}

func newTimeline(in *bufio.Reader, file string) *timeline {
	return &timeline{lists: values.NewLists(in, []string{"locations", "semanticSegments", "rawSignals"}, nil), file: nameOfFile(file)}
}

func (t *timeline) header() []byte { return nil }

func (t *timeline) next(p *pingline.Ping) ([]byte, int, error) {
	for {
		// Behind its last point the path is nil: its text is good until the next entry.
		text, rest, ok := values.Element(t.path)
		if t.path = rest; ok {
			return nil, t.begun, t.pointOfPath(p, text)
		}
		key, text, line, err := t.lists.Next()
		if err != nil {
			return nil, line, err
		}
		found := false
		switch key {
		case "locations":
			found, err = t.location(p, text)
		case "rawSignals":
			found, err = t.signal(p, text)
		default:
			t.begun = line
			err = t.segment(text)
		}
		if found || err != nil {
			return nil, line, err
		}
	}
}

// unmarshal reads an entry into v.
func unmarshal(text []byte, v any) error {
	if err := json.Unmarshal(text, v); err != nil {
		return lineError("not an entry of a timeline: " + err.Error())
	}
	return nil
}

// location reads an entry of Records.json.
func (t *timeline) location(p *pingline.Ping, text []byte) (found bool, err error) {
	var l struct {
		LatitudeE7, LongitudeE7               *float64
		Timestamp, TimestampMs                string
		Accuracy, Altitude, Velocity, Heading *float64
		DeviceTag                             json.Number
	}
	if err := unmarshal(text, &l); err != nil {
		return false, err
	}
	if l.LatitudeE7 == nil || l.LongitudeE7 == nil {
		return false, nil
	}
	at := l.Timestamp
	if at == "" {
		at = l.TimestampMs
	}
	if err := t.fill(p, unwrapped(*l.LatitudeE7)/pingline.E7, unwrapped(*l.LongitudeE7)/pingline.E7, at); err != nil {
		return true, err
	}
	if p.Device = t.names.of([]byte(l.DeviceTag)); p.Device != "" {
		if err := pingline.CheckID(device.String(), p.Device); err != nil {
			return true, err
		}
	}
	setKnown(p, pingline.HasAccuracy, l.Accuracy)
	setKnown(p, pingline.HasAltitude, l.Altitude)
	setKnown(p, pingline.HasSpeed, l.Velocity)
	setKnown(p, pingline.HasHeading, l.Heading)
	return true, nil
}

// unwrapped mends a coordinate that some exports have as an unsigned number of 32 bits.
func unwrapped(e7 float64) float64 {
	if e7 > math.MaxInt32 {
		return e7 - 1<<32
	}
	return e7
}

// rawDevice is the device of raw signals.
const rawDevice = "raw"

// signal reads a raw signal; those of other kinds have no position.
func (t *timeline) signal(p *pingline.Ping, text []byte) (found bool, err error) {
	var s struct {
		Position *struct {
			LatLng                                               string
			Timestamp                                            string
			AccuracyMeters, AltitudeMeters, SpeedMetersPerSecond *float64
		}
	}
	if err := unmarshal(text, &s); err != nil || s.Position == nil {
		return false, err
	}
	if err := t.place(p, s.Position.LatLng, s.Position.Timestamp); err != nil {
		return true, err
	}
	p.Device = rawDevice
	setKnown(p, pingline.HasAccuracy, s.Position.AccuracyMeters)
	setKnown(p, pingline.HasAltitude, s.Position.AltitudeMeters)
	setKnown(p, pingline.HasSpeed, s.Position.SpeedMetersPerSecond)
	return true, nil
}

// segment goes into the path of a segment, if it has one.
func (t *timeline) segment(text []byte) error {
	t.path, t.start = nil, 0
	if text[0] != '{' {
		return lineError("not an entry of a timeline")
	}
	for key, value := range values.Members(text) {
		switch string(key) {
		case "timelinePath":
			t.path = values.Opened(value)
		case "startTime":
			t.start, _ = parseTime(string(values.Text(value))) // each point may have its own
		}
	}
	return nil
}

// pointOfPath reads a point of a path: its time, or minutes since the segment began.
func (t *timeline) pointOfPath(p *pingline.Ping, text []byte) error {
	var w struct {
		Point, Time                        string
		DurationMinutesOffsetFromStartTime json.Number
	}
	if err := unmarshal(text, &w); err != nil {
		return err
	}
	if w.Time == "" && t.start != 0 {
		minutes, err := w.DurationMinutesOffsetFromStartTime.Float64()
		if err != nil || math.Abs(minutes) > 1e6 {
			return errTime
		}
		w.Time = strconv.FormatInt(t.start+int64(minutes*float64(time.Minute/time.Millisecond)), 10)
	}
	return t.place(p, w.Point, w.Time)
}

// place fills in a position such as "41.1578°, -8.6291°" or "geo:41.1578,-8.6291".
func (t *timeline) place(p *pingline.Ping, text, at string) error {
	a, b, ok := strings.Cut(strings.TrimPrefix(strings.ReplaceAll(text, "°", ""), "geo:"), ",")
	north, err := strconv.ParseFloat(strings.TrimSpace(a), 64)
	east, err2 := strconv.ParseFloat(strings.TrimSpace(b), 64)
	if !ok || err != nil || err2 != nil {
		return &pingline.FieldError{Field: lat.String(), Reason: fmt.Sprintf("%.40q is not a position", text)}
	}
	return t.fill(p, north, east, at)
}

// fill makes p a ping at a position.
func (t *timeline) fill(p *pingline.Ping, north, east float64, at string) (err error) {
	if at == "" {
		return &pingline.FieldError{Field: ts.String(), Reason: "missing"}
	}
	p.Rider = t.file
	if p.At, err = parseTime(at); err != nil {
		return err
	}
	return p.SetPosition(north, east)
}

func setKnown(p *pingline.Ping, k pingline.Known, v *float64) {
	if v != nil {
		p.SetOptional(k, *v)
	}
}
