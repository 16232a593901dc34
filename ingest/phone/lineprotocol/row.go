package lineprotocol

import (
	"fmt"
	"math"
	"strconv"

	"pingline"
	"pingline/ingest/phone"
	"pingline/ingest/phone/lenient"
)

// precisions are the units of timestamps, in ns.
var precisions = map[string]int64{
	"": 1, "n": 1, "ns": 1, "u": 1e3, "us": 1e3, "µ": 1e3, "ms": 1e6, "s": 1e9, "m": 60e9, "h": 3600e9,
}

// unit returns the unit of the timestamps of a request, in ns.
func unit(r *phone.Request) (int64, error) {
	var text string
	lenient.Parameters(r.Query, func(key, value string) {
		if key == "precision" {
			text = value
		}
	})
	ns, ok := precisions[text]
	if !ok {
		return 0, &phone.Error{Kind: phone.ErrMalformed, Text: fmt.Sprintf("invalid precision %.16q: use n, ns, u, us, ms, s, m or h", text)}
	}
	return ns, nil
}

var (
	errNoPosition = &pingline.FieldError{Field: "lat", Reason: "no position: the line has neither lat nor lon"}
	errOther      = &pingline.FieldError{Field: "lat", Reason: "no position: lines of this measurement are none"}
	errNobody     = &pingline.FieldError{Field: "rider_id", Reason: "missing: the line has no tag that names a rider"}
	errNumber     = &pingline.FieldError{Field: "lat", Reason: "lat or lon is not a number"}
)

func (k *keys) decode(r *phone.Request, to *phone.Pings) error {
	ns, err := unit(r)
	if err != nil {
		return err
	}
	p := lineReader{text: r.Body, line: 1}
	var row positionLine
	for p.begin() {
		line, told := p.line, len(to.Rejected)
		if err := row.read(&p, k); err != nil {
			p.skipLine()
			err = to.Reject(err)
			if err != nil {
				return err
			}
		} else if err := row.add(r, to, k, ns); err != nil {
			return err
		}
		if last := len(to.Rejected) - 1; last >= told {
			to.Rejected[last].Reason = "line " + strconv.Itoa(line) + ": " + to.Rejected[last].Reason
		}
	}
	return nil
}

// positionLine is a line with the values that have a meaning.
type positionLine struct {
	draft phone.Draft
	given uint16 // bit f: the line has field f
	wrong bool   // lat or lon is no number
	other bool   // of a measurement whose lines are no positions
	timed bool
	at    int64 // as it stands in the line

	upTo []byte // the line up to its timestamp
	ours bool   // of a measurement of Pingline, if lines are passed on

	rank                       int // of rider, from 1; 0: none
	rider, device, event, trip escapedText
}

// read reads a line to its end, or returns an error where it is malformed.
func (w *positionLine) read(p *lineReader, k *keys) error {
	w.draft.Reset()
	w.given, w.wrong, w.other, w.rank = 0, false, false, 0
	w.rider, w.device, w.event, w.trip = escapedText{}, escapedText{}, escapedText{}, escapedText{}
	from := p.i
	measurement, err := p.measurement()
	if err != nil {
		return err
	}
	w.ours = k.pass && isOurs(string(p.plain(measurement)))
	w.other = k.measurements != nil && !k.measurements[string(p.plain(measurement))]
	for p.more(',') {
		key, value, err := p.tag()
		if err != nil {
			return err
		}
		if m, ok := k.names[string(p.plain(key))]; ok {
			w.text(m, value)
		}
	}
	if err := p.space(); err != nil {
		return err
	}
	for first := true; first || p.more(','); first = false {
		key, value, err := p.field()
		if err != nil {
			return err
		}
		m, ok := k.names[string(p.plain(key))]
		switch {
		case !ok:
		case value.kind == textValue:
			w.text(m, value.text)
		case value.kind == numberValue:
			w.number(m.field, value.number)
		}
	}
	w.upTo = p.text[from:p.i]
	w.at, w.timed, err = p.end()
	return err
}

// text takes a tag, or a field that is a string.
func (w *positionLine) text(m meanings, t escapedText) {
	if len(t.text) == 0 {
		return
	}
	if m.rider > 0 && (w.rank == 0 || m.rider < w.rank) {
		w.rank, w.rider = m.rider, t
	}
	switch m.field {
	case phone.Device:
		w.device = t
	case phone.Event:
		w.event = t
	case phone.Trip:
		w.trip = t
	case phone.Lat, phone.Lon:
		w.given |= 1 << m.field
		w.wrong = true
	}
}

func (w *positionLine) number(f phone.Field, v float64) {
	switch f {
	case phone.NoField, phone.Device, phone.Event, phone.Trip:
	case phone.Battery:
		lenient.SetShare(&w.draft, v, true)
	default:
		w.draft.SetNumber(f, v)
		w.given |= 1 << f
	}
}

// add adds the ping, if the line is a position.
func (w *positionLine) add(r *phone.Request, to *phone.Pings, k *keys, ns int64) error {
	none := errNoPosition
	if w.other {
		none = errOther
	}
	if w.other || w.given&(1<<phone.Lat|1<<phone.Lon) == 0 {
		switch {
		case k.drop:
			return nil
		case k.pass:
			return w.passOn(r, to, ns)
		}
		return to.Reject(none)
	}
	d := &w.draft
	rider := w.rider.string()
	if !lenient.SetSender(d, r, rider) {
		return to.Reject(errNobody)
	}
	if device := w.device.string(); device != "" && device != rider && pingline.CheckID("device_id", device) == nil {
		d.SetName(phone.Device, device)
	}
	if len(w.event.text) > 0 {
		d.SetName(phone.Event, w.event.string())
	}
	if len(w.trip.text) > 0 {
		lenient.SetTrip(d, w.trip.string())
	}
	if w.wrong {
		return to.RejectDraft(d, errNumber)
	}
	lenient.SetTime(d, r, milliseconds(w.at, ns), w.timed)
	return to.Add(d)
}

// milliseconds returns a timestamp in a unit of ns, ms since 1970, rounded down. One beyond int64
// is at its end.
func milliseconds(at, ns int64) int64 {
	if ns < 1e6 {
		by := 1e6 / ns
		ms := at / by
		if at%by < 0 {
			ms--
		}
		return ms
	}
	times := ns / 1e6
	switch {
	case at > math.MaxInt64/times:
		return math.MaxInt64
	case at < math.MinInt64/times:
		return math.MinInt64
	}
	return at * times
}
