package lenient

import (
	"net/url"
	"slices"
	"strings"

	"pingline"
	"pingline/ingest/phone"
)

// Units of speed, in m/s.
const (
	KilometresPerHour = 1 / 3.6
	Knot              = 1852.0 / 3600
)

// SetNumber sets a number of a draft, if it is known.
func SetNumber(d *phone.Draft, f phone.Field, v float64, known bool) {
	if known {
		d.SetNumber(f, v)
	}
}

// SetPositive sets a number of a draft, if it is known: apps write -1 for a speed, heading,
// accuracy or charge that is not.
func SetPositive(d *phone.Draft, f phone.Field, v float64, known bool) {
	if known && v >= 0 {
		d.SetNumber(f, v)
	}
}

// SetPercent sets the battery from 0 to 100, if it is known; -1 and more than 100 are not.
func SetPercent(d *phone.Draft, v float64, known bool) {
	if known && v >= 0 && v <= 100 {
		d.SetNumber(phone.Battery, v/100)
	}
}

// SetShare sets the battery from 0 to 1, if it is known; some apps send 0 to 100 in its
// place, which is told by being more than 1.
func SetShare(d *phone.Draft, v float64, known bool) {
	if v > 1 {
		v /= 100
	}
	SetPositive(d, phone.Battery, v, known && v <= 1)
}

// SetRider sets the rider: who has the credentials of the request or, if nobody is known by
// them, the first of names that is not "".
func SetRider(d *phone.Draft, r *phone.Request, names ...string) {
	if r.Rider != "" {
		d.SetName(phone.Rider, r.Rider)
		return
	}
	for _, name := range names {
		if name != "" {
			d.SetName(phone.Rider, name)
			return
		}
	}
}

// SetSender sets the rider as SetRider does, by the first of names that is more than white
// space. Where the credentials are of another rider than that name, it is the device, so that
// the phones of a rider are told apart; unless it is no valid id: the position is worth keeping.
// It returns false if nothing names a rider.
func SetSender(d *phone.Draft, r *phone.Request, names ...string) (named bool) {
	name := ""
	for _, n := range names {
		if name = strings.TrimSpace(n); name != "" {
			break
		}
	}
	SetRider(d, r, name)
	if r.Rider != "" && r.Rider != name {
		setID(d, phone.Device, name)
	}
	return r.Rider != "" || name != ""
}

// SetTrip sets the trip, unless it is no valid id.
func SetTrip(d *phone.Draft, name string) { setID(d, phone.Trip, strings.TrimSpace(name)) }

func setID(d *phone.Draft, f phone.Field, name string) {
	if name != "" && pingline.CheckID(f.String(), name) == nil { // the error costs more than to look
		d.SetName(f, name)
	}
}

// SetSOS sets the event sos if an alarm, or one of a list with commas, is sos.
func SetSOS(d *phone.Draft, alarm string) {
	for one := range strings.SplitSeq(alarm, ",") {
		if strings.EqualFold(strings.TrimSpace(one), "sos") {
			d.SetName(phone.Event, "sos")
		}
	}
}

// Mistake answers 400 if none of the pings of a request could be judged, and one of them was
// rejected for a reason that a person has to mend in the app: the phone then keeps it, and its
// user sees that something is wrong. It returns false if that is not so.
func Mistake(to *phone.Reply, got *phone.Outcome, reasons ...*pingline.FieldError) bool {
	if got.Err != nil || len(got.Judged)+len(got.Shed) > 0 {
		return false
	}
	for i := range got.Pings.Rejected {
		for _, e := range reasons {
			if got.Pings.Rejected[i].Reason == e.Reason {
				to.Refuse(&phone.Error{Kind: phone.ErrMalformed, Text: e.Error()})
				return true
			}
		}
	}
	return false
}

// SetTime sets the time or, if it is not known, that of the request.
func SetTime(d *phone.Draft, r *phone.Request, ms int64, known bool) {
	if !known {
		ms = r.Now.UnixMilli()
	}
	d.SetTime(ms)
}

// Segment returns the segment of a path behind another, unescaped; "" if there is none:
// behind "owntracks" it is "k" of /v1/owntracks/k.
func Segment(path, behind string) string {
	segments := strings.Split(path, "/")
	at := slices.Index(segments, behind) + 1
	if at == 0 || at == len(segments) {
		return ""
	}
	if text, err := url.PathUnescape(segments[at]); err == nil {
		return text
	}
	return segments[at]
}
