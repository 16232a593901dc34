package deadletter

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"pingline"
	"pingline/sink/store"
)

// Letter is a row that a store refuses for its content, and the reason. The row
// is a ping, a point, or a line of an earlier version. A row can be there
// twice, if the process died before the log knew that it had been put aside.
type Letter struct {
	At     time.Time // when it was refused
	Shard  string    // name of the shard that refused it
	Cause  string    // the reason in few words, an element of store.Reasons such as store.TypeConflict
	Reason string    // in the store's words

	Entry pingline.Entry // as it was in the log, without the filter's notes
}

// form is a letter as a line of JSON. Exactly one of Ping, Point and Line is
// set.
type form struct {
	At     time.Time  `json:"at"`
	Shard  string     `json:"shard"`
	Cause  string     `json:"cause,omitempty"` // "" in letters of earlier versions
	Reason string     `json:"reason"`
	Ping   *pingForm  `json:"ping,omitempty"`
	Point  *pointForm `json:"point,omitempty"`

	// Earlier versions kept rows as InfluxDB's line protocol.
	Status    int    `json:"status,omitempty"`    // HTTP status of the refusal
	Precision string `json:"precision,omitempty"` // of Line's timestamp: "ns", or "ms" or ""
	Line      string `json:"line,omitempty"`
}

// pingForm is a ping that was to be stored.
type pingForm struct {
	Rider  string      `json:"rider_id"`
	Device string      `json:"device_id,omitempty"`
	TS     int64       `json:"ts"`
	Lat    json.Number `json:"lat"`
	Lon    json.Number `json:"lon"`

	Numbers map[string]float32 `json:"numbers,omitempty"` // numbers that are known, by key of pingline.Numbers

	Event   string          `json:"event,omitempty"`
	Trip    string          `json:"trip_id,omitempty"`
	Attrs   json.RawMessage `json:"attrs,omitempty"`
	Cell    string          `json:"cell,omitempty"` // of H3, hexadecimal
	Skipped uint32          `json:"skipped,omitempty"`
	Late    bool            `json:"late,omitempty"`
	Clock   string          `json:"clock,omitempty"` // corrected, or ""
	Apart   bool            `json:"apart,omitempty"`
	SubKey  uint16          `json:"sub_key,omitempty"`
}

// clockCorrected is the clock of a ping whose time was corrected.
const clockCorrected = "corrected"

// pointForm is a point that was to be stored. Numbers are text, so that none
// loses a digit.
type pointForm struct {
	Kind   string      `json:"kind"` // activity or self
	Name   string      `json:"name"`
	Tags   [][2]string `json:"tags,omitempty"`   // key and value
	Fields [][3]string `json:"fields,omitempty"` // key, type and value
	TS     int64       `json:"ts"`
}

// Row returns the row as JSON, or as line protocol if an earlier version wrote it
// and it is not Pingline's.
func (l *Letter) Row() string {
	var v any = newPingForm(&l.Entry)
	switch e := &l.Entry; {
	case e.IsLine():
		return e.Line
	case e.Point != nil:
		v = newPointForm(e)
	}
	text, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// MarshalJSON writes a letter as a line without newline.
func (l *Letter) MarshalJSON() ([]byte, error) {
	f := form{At: l.At, Shard: l.Shard, Cause: l.Cause, Reason: l.Reason}
	switch e := &l.Entry; {
	case e.IsLine():
		f.Line, f.Precision = e.Line, precisionMilli
		if e.Kind == pingline.ReplayedNano {
			f.Precision = precisionNano
		}
	case e.Point != nil:
		f.Point = newPointForm(e)
	default:
		f.Ping = newPingForm(e)
	}
	return json.Marshal(f)
}

func newPingForm(e *pingline.Entry) *pingForm {
	p := &pingForm{
		Rider: e.Rider, Device: e.Device, TS: e.At, Lat: decimal(e.LatE7), Lon: decimal(e.LonE7),
		Event: e.Event, Trip: e.Trip, Skipped: e.Skipped, Late: e.Late, Apart: e.Apart, SubKey: e.SubKey,
	}
	if e.Corrected {
		p.Clock = clockCorrected
	}
	if e.Cell != 0 {
		p.Cell = strconv.FormatUint(e.Cell, 16)
	}
	if e.Attrs != "" {
		p.Attrs = e.Attrs.AppendJSON(nil)
	}
	for i, v := range e.Fix.Numbers() {
		if e.Known&(1<<i) == 0 {
			continue
		}
		if p.Numbers == nil {
			p.Numbers = make(map[string]float32)
		}
		p.Numbers[pingline.Numbers[i].Key] = v
	}
	return p
}

// decimal writes v × 1e-7 exactly.
func decimal(v int32) json.Number {
	return json.Number(strconv.FormatFloat(float64(v)/pingline.E7, 'f', 7, 64))
}

func newPointForm(e *pingline.Entry) *pointForm {
	p := &pointForm{Kind: "self", Name: e.Point.Name, TS: e.Point.At}
	if e.Kind == pingline.Activity {
		p.Kind = "activity"
	}
	for _, t := range e.Point.Tags {
		p.Tags = append(p.Tags, [2]string{t.Key, t.Value})
	}
	for i := range e.Point.Fields {
		f := &e.Point.Fields[i]
		var kind, value string
		switch f.Type {
		case pingline.IntField:
			kind, value = "int", strconv.FormatInt(f.Int(), 10)
		case pingline.FloatField:
			kind, value = "float", strconv.FormatFloat(f.Float(), 'g', -1, 64)
		case pingline.BoolField:
			kind, value = "bool", strconv.FormatBool(f.Bool())
		default:
			kind, value = "text", f.Text()
		}
		p.Fields = append(p.Fields, [3]string{f.Key, kind, value})
	}
	return p
}

// UnmarshalJSON reads a letter of this form, or of the earlier form, in which
// every row is line protocol. It turns lines that Pingline wrote into pings and
// points; rows of other writers stay lines.
func (l *Letter) UnmarshalJSON(b []byte) error {
	var f form
	if err := json.Unmarshal(b, &f); err != nil {
		return err
	}
	*l = Letter{At: f.At, Shard: f.Shard, Cause: f.Cause, Reason: f.Reason}
	if l.Cause == "" {
		l.Cause = causeOf(f.Status, f.Reason)
	}
	var err error
	switch {
	case f.Ping != nil:
		l.Entry, err = f.Ping.entry()
	case f.Point != nil:
		l.Entry, err = f.Point.entry()
	default:
		l.Entry, err = entryOfLine(f.Line, f.Precision)
	}
	l.Entry.To = f.Shard
	if f.Shard != "" {
		err = errors.Join(err, pingline.CheckName("shard", f.Shard))
	}
	return err
}

func (p *pingForm) entry() (pingline.Entry, error) {
	e := pingline.Entry{
		Kind: pingline.Replayed, Cell: 0, Skipped: p.Skipped, SubKey: p.SubKey, Verdict: pingline.Accepted, Late: p.Late, Apart: p.Apart,
	}
	e.Rider, e.Device, e.Event, e.Trip, e.At, e.Corrected = p.Rider, p.Device, p.Event, p.Trip, p.TS, p.Clock == clockCorrected
	lat, err := p.Lat.Float64()
	if err != nil {
		return e, fmt.Errorf("lat: %w", err)
	}
	lon, err := p.Lon.Float64()
	if err != nil {
		return e, fmt.Errorf("lon: %w", err)
	}
	if err := e.SetPosition(lat, lon); err != nil {
		return e, err
	}
	for key, v := range p.Numbers {
		if !setNumber(&e.Fix, key, float64(v)) {
			return e, fmt.Errorf("%q is no number of a ping, or %v is out of its range", key, v)
		}
	}
	if p.Cell != "" {
		if e.Cell, err = strconv.ParseUint(p.Cell, 16, 64); err != nil {
			return e, fmt.Errorf("cell: %w", err)
		}
	}
	if p.Attrs != nil {
		if e.Attrs, err = pingline.ParseAttrs(p.Attrs); err != nil {
			return e, err
		}
	}
	return e, checkNames(&e)
}

// setNumber sets the optional number of a key; it reports false if no number
// has that key, or if v is out of its range.
func setNumber(f *pingline.Fix, key string, v float64) bool {
	for i := range pingline.Numbers {
		if pingline.Numbers[i].Key == key {
			return !f.SetOptional(1<<i, v)
		}
	}
	return false
}

// checkNames returns an error if a ping has a name that the log cannot hold.
func checkNames(e *pingline.Entry) error {
	err := pingline.CheckID("rider_id", e.Rider)
	if e.Device != "" {
		err = errors.Join(err, pingline.CheckID("device_id", e.Device))
	}
	if e.Event != "" {
		err = errors.Join(err, pingline.CheckEvent(e.Event))
	}
	if e.Trip != "" {
		err = errors.Join(err, pingline.CheckID("trip_id", e.Trip))
	}
	return err
}

func (p *pointForm) entry() (pingline.Entry, error) {
	e := pingline.Entry{Kind: pingline.Self, Point: &pingline.Point{Name: p.Name, At: p.TS}}
	if p.Kind == "activity" {
		e.Kind = pingline.Activity
	}
	for _, t := range p.Tags {
		e.Point.Tags = append(e.Point.Tags, pingline.Tag{Key: t[0], Value: t[1]})
	}
	for _, f := range p.Fields {
		field, err := fieldOf(f[0], f[1], f[2])
		if err != nil {
			return e, fmt.Errorf("field %q: %w", f[0], err)
		}
		e.Point.Fields = append(e.Point.Fields, field)
	}
	return e, e.Point.Validate()
}

func fieldOf(key, kind, value string) (pingline.PointField, error) {
	switch kind {
	case "int":
		v, err := strconv.ParseInt(value, 10, 64)
		return pingline.Int(key, v), err
	case "float":
		v, err := strconv.ParseFloat(value, 64)
		return pingline.Float(key, v), err
	case "bool":
		v, err := strconv.ParseBool(value)
		return pingline.Bool(key, v), err
	case "text":
		return pingline.Text(key, value), nil
	}
	return pingline.PointField{}, fmt.Errorf("unknown type %q", kind)
}

// causeOf returns the cause of a letter of an earlier version, which does not
// name it.
func causeOf(status int, reason string) string {
	said, _, _ := strings.Cut(strings.ReplaceAll(reason, "'", `"`), `"`) // a quoted name or line must not decide the cause
	switch {
	case status == http.StatusRequestEntityTooLarge:
		return store.TooLarge
	case strings.Contains(said, "unable to parse"):
		return store.Unparsable
	case strings.Contains(said, "field type conflict"):
		return store.TypeConflict
	case strings.Contains(said, "beyond retention policy"), strings.Contains(said, "outside retention policy"):
		return store.Expired
	}
	return store.Other
}
