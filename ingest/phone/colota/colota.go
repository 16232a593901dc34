// Package colota is the protocol of the app Colota for Android: POST of a fix, a JSON object
// with the short names of OwnTracks, but without a _type, with a speed in m/s, and with the
// heading as bear.
//
// The app sends a fix again until an answer is 2xx, five times or for ever, and reads nothing
// of the answer but its status. So a fix that can never be stored is answered 2xx.
//
// The rider is the key's or, without one, the rider_id of the app's custom fields, which are
// texts that it adds to each fix; device_id is the device.
//
// Source: dietrichmax/colota:apps/docs/docs/api-reference.md and configuration/field-mapping.md.
package colota

import (
	"net/http"

	"pingline/ingest/phone"
	"pingline/ingest/phone/lenient"
)

// Protocol takes a fix.
var Protocol = phone.Protocol{
	Name:    "colota",
	Routes:  []string{"POST /v1/colota", "POST /v1/colota/{key}"},
	Bound:   lenient.Most,
	Decode:  decode,
	Reply:   func(to *phone.Reply, _ *phone.Request, _ *phone.Outcome) { to.Status = http.StatusOK },
	Repeats: true,
}

func decode(r *phone.Request, to *phone.Pings) error {
	body, err := lenient.Parse(r.Body)
	if err != nil {
		return err
	}
	var d phone.Draft
	position, rider := false, ""
	body.Members(func(key string, v lenient.Value) {
		number, known := v.Number()
		switch key {
		case "lat":
			position = true
			lenient.SetNumber(&d, phone.Lat, number, known)
		case "lon":
			position = true
			lenient.SetNumber(&d, phone.Lon, number, known)
		case "tst":
			if ms, ok := v.Time(); ok {
				d.SetTime(ms)
			}
		case "acc":
			lenient.SetPositive(&d, phone.Accuracy, number, known)
		case "alt":
			lenient.SetNumber(&d, phone.Altitude, number, known)
		case "vel":
			lenient.SetPositive(&d, phone.Speed, number, known)
		case "bear":
			lenient.SetPositive(&d, phone.Heading, number, known)
		case "batt":
			lenient.SetPercent(&d, number, known)
		case "rider_id":
			rider = v.Text()
		case "device_id":
			d.SetName(phone.Device, v.Text())
		}
	})
	if !position {
		return nil
	}
	lenient.SetRider(&d, r, rider)
	return to.Add(&d)
}
