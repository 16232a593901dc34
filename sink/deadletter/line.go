package deadletter

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/influxdata/line-protocol/v2/lineprotocol"

	"pingline"
	"pingline/sink/store"
)

// Earlier versions kept rows as InfluxDB's line protocol, in the dead letters
// and, on their way back, in the log.

// Precisions of the timestamp of a line.
const (
	precisionNano  = "ns"
	precisionMilli = "ms"
)

// entryOfLine returns the row of a letter of an earlier version. A timestamp
// that InfluxDB could not know in ms, the year 2262 or later, is in ns even
// where the letter does not say so.
func entryOfLine(line, precision string) (pingline.Entry, error) {
	e := pingline.Entry{Kind: pingline.Replayed, Line: line}
	switch {
	case line == "":
		return e, errors.New("it has no ping, no point and no line protocol")
	case precision != "" && precision != precisionMilli && precision != precisionNano:
		return e, fmt.Errorf("precision %q of its timestamp is neither ns nor ms", store.Clip(precision))
	case strings.ContainsRune(line, '\n') || len(line) > pingline.MaxReadyLine:
		return e, fmt.Errorf("its line protocol is not one line of at most %d bytes", pingline.MaxReadyLine)
	}
	at, _ := e.LineTime()
	const most = math.MaxInt64 / pingline.NanosPerMilli
	if precision == precisionNano || precision == "" && (at < -most || at > most) {
		e.Kind = pingline.ReplayedNano
	}
	if known, ok := parseLine(&e); ok {
		return known, nil
	}
	return e, nil
}

// parseLine returns a ready line as a ping or a point, and false if Pingline did
// not write it: it has another measurement, an unknown tag or field, a value of
// another type, or no time.
func parseLine(line *pingline.Entry) (pingline.Entry, bool) {
	e := pingline.Entry{Kind: line.Kind, To: line.To}
	dec := lineprotocol.NewDecoderWithBytes([]byte(line.Line))
	if !dec.Next() {
		return e, false
	}
	name, err := dec.Measurement()
	if err != nil {
		return e, false
	}
	p := &pingline.Point{Name: string(name)}
	for {
		key, value, err := dec.NextTag()
		if err != nil {
			return e, false
		}
		if key == nil {
			break
		}
		p.Tags = append(p.Tags, pingline.Tag{Key: string(key), Value: string(value)})
	}
	for {
		key, value, err := dec.NextField()
		if err != nil {
			return e, false
		}
		if key == nil {
			break
		}
		f, ok := fieldOfValue(string(key), value)
		if !ok {
			return e, false
		}
		p.Fields = append(p.Fields, f)
	}
	precision, unit := lineprotocol.Millisecond, int64(1)
	if line.Kind == pingline.ReplayedNano {
		precision, unit = lineprotocol.Nanosecond, pingline.NanosPerMilli
	}
	at, err := dec.Time(precision, time.Time{})
	if err != nil || at.IsZero() || dec.Next() {
		return e, false
	}
	ns := int64(0)
	if p.At = at.UnixMilli(); unit > 1 {
		ns = at.UnixNano() - p.At*unit
	}
	if p.Name == "location" {
		return pingOfPoint(p, ns)
	}
	slices.SortFunc(p.Tags, func(a, b pingline.Tag) int { return strings.Compare(a.Key, b.Key) })
	switch {
	case ns != 0 || p.Validate() != nil:
		return e, false
	case p.Name == "cell_activity":
		e.Kind = pingline.Activity
	case p.Name == "pingline" || strings.HasPrefix(p.Name, "pingline_"):
		e.Kind = pingline.Self
	default:
		return e, false
	}
	e.Point = p
	return e, true
}

func fieldOfValue(key string, v lineprotocol.Value) (pingline.PointField, bool) {
	switch v.Kind() {
	case lineprotocol.Int:
		return pingline.Int(key, v.IntV()), true
	case lineprotocol.Float:
		return pingline.Float(key, v.FloatV()), true
	case lineprotocol.String:
		return pingline.Text(key, v.StringV()), true
	case lineprotocol.Bool:
		return pingline.Bool(key, v.BoolV()), true
	}
	return pingline.PointField{}, false
}

// pingOfPoint returns a ping that is stored nano ns after p.At.
func pingOfPoint(p *pingline.Point, nano int64) (pingline.Entry, bool) {
	e := pingline.Entry{Kind: pingline.Replayed, Verdict: pingline.Accepted, Apart: nano != 0}
	e.At = p.At
	for _, t := range p.Tags {
		switch t.Key {
		case "rider":
			e.Rider = t.Value
		case "device":
			e.Device = t.Value
		case "late":
			e.Late = t.Value == "1"
		case "clock":
			e.Corrected = t.Value == clockCorrected
		case "cell":
			cell, err := strconv.ParseUint(t.Value, 16, 64)
			if err != nil {
				return e, false
			}
			e.Cell = cell
		default:
			return e, false
		}
	}
	lat, lon := math.NaN(), math.NaN()
	for i := range p.Fields {
		f := &p.Fields[i]
		switch {
		case f.Key == "event" && f.Type == pingline.TextField:
			e.Event = f.Text()
		case f.Key == "trip" && f.Type == pingline.TextField:
			e.Trip = f.Text()
		case f.Key == "skipped" && f.Type == pingline.IntField && f.Int() >= 0 && f.Int() <= math.MaxUint32:
			e.Skipped = uint32(f.Int())
		case f.Type != pingline.FloatField:
			return e, false
		case f.Key == "lat":
			lat = f.Float()
		case f.Key == "lon":
			lon = f.Float()
		case !setNumber(&e.Fix, f.Key, f.Float()):
			return e, false
		}
	}
	if e.SetPosition(lat, lon) != nil || checkNames(&e) != nil {
		return e, false
	}
	return e, !e.Apart || e.Nano() == nano
}
