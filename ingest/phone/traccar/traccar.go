// Package traccar is the protocol in which a Traccar server forwards positions
// (forward.type=json): for trackers of which Traccar knows the protocol and Pingline does not.
//
// An object has a device and a position, with speed in knots. A request without a position is
// acknowledged. A body that cannot be read is answered 400, and so is a device without a name:
// Traccar logs it, and with forward.retry sends it again a few times.
//
// Sources: traccar/traccar:src/main/java/org/traccar/forward/{PositionData,PositionForwarderJson}.java
// and …/model/Position.java; tess1o/geopulse:GpsIngestResourceContractTest.java.
package traccar

import (
	"bytes"

	"pingline"
	"pingline/ingest/phone"
	"pingline/ingest/phone/lenient"
)

// Protocol is POST /v1/traccar.
var Protocol = phone.Protocol{
	Name:   "traccar",
	Routes: []string{"POST /v1/traccar", "POST /v1/traccar/{key}"},
	Bound:  bound,
	Decode: decode,
	Reply:  reply,
}

// bound counts the objects. Texts with escapes are copied.
func bound(r *phone.Request) (pings, copied int) {
	return bytes.Count(r.Body, []byte("{")), 8 * len(r.Body)
}

var noID = &pingline.FieldError{Field: "rider_id", Reason: "missing: neither device.uniqueId nor the key names a rider"}

func reply(to *phone.Reply, _ *phone.Request, got *phone.Outcome) {
	if got.Err != nil {
		to.Refuse(got.Err)
		return
	}
	lenient.Mistake(to, got, noID)
}

// decode reads an object, or an array of them.
func decode(r *phone.Request, to *phone.Pings) error {
	body, err := lenient.Parse(r.Body)
	if err != nil {
		return err
	}
	body.Items(func(item lenient.Value) bool {
		var f forwarded
		item.Members(f.member)
		err = f.add(r, to)
		return err == nil
	})
	return err
}

// forwarded is a position that Traccar forwards.
type forwarded struct {
	id, alarm string
	times     [3]string // fixTime, deviceTime, serverTime
	notValid  bool

	lat, lon, speed, course, altitude, accuracy, battery lenient.Optional
}

func (f *forwarded) member(key string, v lenient.Value) {
	switch key {
	case "device":
		v.Members(func(key string, v lenient.Value) {
			if key == "uniqueId" {
				f.id = v.Text()
			}
		})
	case "position":
		v.Members(f.position)
	}
}

func (f *forwarded) position(key string, v lenient.Value) {
	switch key {
	case "latitude":
		f.lat.Take(v)
	case "longitude":
		f.lon.Take(v)
	case "speed":
		f.speed.Take(v)
	case "course":
		f.course.Take(v)
	case "altitude":
		f.altitude.Take(v)
	case "accuracy":
		f.accuracy.Take(v)
	case "fixTime":
		f.times[0] = v.Text()
	case "deviceTime":
		f.times[1] = v.Text()
	case "serverTime":
		f.times[2] = v.Text()
	case "valid":
		f.notValid = v.Exists() && !v.True()
	case "attributes":
		v.Members(func(key string, v lenient.Value) {
			switch key {
			case "batteryLevel":
				f.battery.Take(v)
			case "alarm":
				f.alarm = v.Text()
			}
		})
	}
}

// add makes a ping, if there is a position.
func (f *forwarded) add(r *phone.Request, to *phone.Pings) error {
	if r.Rider == "" && f.id == "" {
		return to.Reject(noID)
	}
	var d phone.Draft
	lenient.SetSender(&d, r, f.id)
	switch {
	case !f.lat.Given && !f.lon.Given:
		return nil
	case f.notValid:
		return to.RejectDraft(&d, &pingline.FieldError{Field: "lat", Reason: "Traccar says that the position is not valid"})
	}
	for _, at := range f.times {
		if at == "" {
			continue
		}
		ms, ok := lenient.ParseTime(at)
		if !ok {
			return to.RejectDraft(&d, &pingline.FieldError{Field: "ts", Reason: "not a time"})
		}
		d.SetTime(ms)
		break
	}
	lenient.SetNumber(&d, phone.Lat, f.lat.V, f.lat.Known)
	lenient.SetNumber(&d, phone.Lon, f.lon.V, f.lon.Known)
	lenient.SetPositive(&d, phone.Speed, f.speed.V*lenient.Knot, f.speed.Known)
	// Traccar writes 0 for values that the tracker has not told.
	lenient.SetPositive(&d, phone.Heading, f.course.V, f.course.Known && f.course.V > 0)
	lenient.SetPositive(&d, phone.Accuracy, f.accuracy.V, f.accuracy.Known && f.accuracy.V > 0)
	lenient.SetNumber(&d, phone.Altitude, f.altitude.V, f.altitude.Known && f.altitude.V != 0)
	lenient.SetPercent(&d, f.battery.V, f.battery.Known)
	lenient.SetSOS(&d, f.alarm)
	return to.Add(&d)
}
