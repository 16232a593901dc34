// Package homeassistant is the protocol of Home Assistant's companion apps, which post to
// their webhook, and of rest_command templates by which Home Assistant passes positions on.
//
// A message of the webhook has neither a time nor a name: it is at its receipt, and the rider
// is the key's, or else the id in the path. The id names nobody if it may be a secret, as a key
// or the id that Home Assistant has made up itself.
//
// Sources: home-assistant/android 01b933c: app/src/full/java/…/sensors/LocationSensorManager.kt
// (sendLocationUpdate); home-assistant/core:homeassistant/components/mobile_app/webhook.py and tests/
// components/mobile_app/test_device_tracker.py; for the template tess1o/geopulse:backend/src/
// test/java/org/github/tess1o/geopulse/gps/integrations/GpsIngestResourceContractTest.java.
package homeassistant

import (
	"errors"
	"strings"

	"pingline/ingest/phone"
	"pingline/ingest/phone/lenient"
)

// Protocol is POST /api/webhook/{key}, and POST /v1/homeassistant for templates.
var Protocol = phone.Protocol{
	Name:    "homeassistant",
	Routes:  []string{"POST /v1/homeassistant", "POST /v1/homeassistant/{key}", "POST /api/webhook/{key}"},
	Bound:   lenient.Most,
	Decode:  decode,
	Reply:   reply,
	Repeats: true,
}

// errEncrypted is why a position cannot be read: the secret is between app and Home Assistant.
var errEncrypted = errors.New("encrypted: have Home Assistant pass the position on by a rest_command")

// decode reads {"type":"update_location","data":…}, or a template's {"location":…}. Messages
// of other types are of sensors and registrations.
func decode(r *phone.Request, to *phone.Pings) error {
	body, err := lenient.Parse(r.Body)
	if err != nil {
		return err
	}
	var d phone.Draft
	var data, location, battery, at lenient.Value
	kind, device, encrypted := "", "", false
	body.Members(func(key string, v lenient.Value) {
		switch key {
		case "type":
			kind = v.Text()
		case "data":
			data = v
		case "encrypted":
			encrypted = v.Exists()
		case "location":
			location = v
		case "battery":
			battery = v
		case "timestamp":
			at = v
		case "device_id":
			device = v.Text()
		}
	})
	switch {
	case kind == "update_location" && encrypted:
		return to.Reject(errEncrypted)
	case kind == "update_location":
		if !data.Member("gps").Exists() { // the name of a zone alone
			return nil
		}
		setNumbers(&d, data)
	case kind == "" && location.IsObject():
		setNumbers(&d, location)
		setBattery(&d, battery)
	default:
		return nil
	}
	if ms, known := at.Time(); known || at.Text() == "" {
		lenient.SetTime(&d, r, ms, known)
	}
	lenient.SetSender(&d, r, device, nameOf(r.Path))
	return to.Add(&d)
}

// setNumbers sets position and numbers, by the names of both forms. The apps send what their
// receiver says, so the speed is in m/s. Android has 0 for an accuracy, an altitude and a course
// that the receiver has not told, and the app sends these; so 0 counts as unknown.
func setNumbers(d *phone.Draft, members lenient.Value) {
	members.Members(func(key string, v lenient.Value) {
		n, known := v.Number()
		switch key {
		case "gps": // latitude first, unlike GeoJSON
			field := phone.Lat
			v.Items(func(v lenient.Value) bool {
				n, known := v.Number()
				lenient.SetNumber(d, field, n, known)
				field++
				return field <= phone.Lon
			})
		case "latitude":
			lenient.SetNumber(d, phone.Lat, n, known)
		case "longitude":
			lenient.SetNumber(d, phone.Lon, n, known)
		case "gps_accuracy", "accuracy":
			lenient.SetPositive(d, phone.Accuracy, n, known && n > 0)
		case "altitude":
			lenient.SetNumber(d, phone.Altitude, n, known && n != 0)
		case "speed":
			lenient.SetPositive(d, phone.Speed, n, known)
		case "course":
			lenient.SetPositive(d, phone.Heading, n, known && n > 0)
		case "battery":
			setBattery(d, v)
		}
	})
}

// setBattery sets percent, alone or as {"level":85}: 1 is one percent.
func setBattery(d *phone.Draft, v lenient.Value) {
	if v.IsObject() {
		v = v.Member("level")
	}
	n, known := v.Number()
	lenient.SetPercent(d, n, known)
}

// nameOf returns the id of a webhook, if it is a name that somebody has chosen. A key begins
// with pl_, a token has dots, and an id that Home Assistant has made up is 64 digits long.
func nameOf(path string) string {
	const longest = 32
	id := lenient.Segment(path, "webhook")
	if len(id) > longest || strings.HasPrefix(id, "pl_") || strings.Contains(id, ".") {
		return ""
	}
	return id
}

// reply is 200 as Home Assistant's own. The body says why a position was refused, for those
// who write a template.
func reply(to *phone.Reply, _ *phone.Request, got *phone.Outcome) {
	first := got.Pings.FirstInvalid()
	switch {
	case got.Err != nil:
		to.Refuse(got.Err)
	case first != nil:
		to.Refuse(errors.New(strings.TrimPrefix(first.Field+": "+first.Reason, ": ")))
	default:
		to.ContentType = "application/json"
		to.Body = append(to.Body, "{}"...)
	}
	to.Status = 200
}
