// Package opengts is the protocol of OpenGTS as GPSLogger for Android speaks it: a query with
// a sentence GPRMC, which is not escaped.
//
// A request without a position is acknowledged, and a missing id is answered 400. Everything
// else is answered 200.
//
// Sources: mendhak/gpslogger 32994bf: …/senders/opengts/OpenGTSManager.java and its test.
package opengts

import (
	"strings"

	"pingline"
	"pingline/ingest/phone"
	"pingline/ingest/phone/lenient"
)

// Protocol is GET /v1/opengts.
var Protocol = phone.Protocol{
	Name:    "opengts",
	Routes:  []string{"GET /v1/opengts", "GET /v1/opengts/{key}"},
	Repeats: true,
	Decode:  decode,
	Reply:   reply,
}

var noID = &pingline.FieldError{Field: "rider_id", Reason: "missing: neither the request nor its key names a rider; set the device ID in the app"}

func reply(to *phone.Reply, _ *phone.Request, got *phone.Outcome) { lenient.Mistake(to, got, noID) }

// gprmcQuery is a request of the app.
type gprmcQuery struct {
	id, device, sentence string
	altitude, battery    lenient.Optional
}

func (m *gprmcQuery) parameter(key, value string) {
	switch key {
	case "id":
		m.id = value
	case "dev":
		m.device = value
	case "gprmc":
		m.sentence = value
	case "alt":
		m.altitude.Parse(value)
	case "batt":
		m.battery.Parse(value)
	}
}

// decode reads a query, which may be in the body instead.
func decode(r *phone.Request, to *phone.Pings) error {
	var m gprmcQuery
	if err := lenient.Form(r.Query, r.Body, m.parameter); err != nil {
		return err
	}
	if r.Rider == "" && strings.TrimSpace(m.id+m.device) == "" {
		return to.Reject(noID)
	}
	var d phone.Draft
	lenient.SetSender(&d, r, m.id, m.device)
	if m.sentence == "" {
		return nil
	}
	if err := lenient.SetGPRMC(&d, m.sentence); err != nil {
		return to.RejectDraft(&d, err)
	}
	// The app writes 0 for unknown values.
	lenient.SetNumber(&d, phone.Altitude, m.altitude.V, m.altitude.Known && m.altitude.V != 0)
	lenient.SetPercent(&d, m.battery.V, m.battery.Known && m.battery.V > 0)
	return to.Add(&d)
}
