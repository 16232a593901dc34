// Package gpslogger is the protocol of GPSLogger for Android: its sender to a custom URL.
//
// The user types the whole request as a template, so the names are those of most templates:
// those of %ALL, those of the template for Home Assistant, and the long ones. A body is a form
// whatever its Content-Type, which the app does not send, or an object of JSON with the same
// names.
//
// The app writes 0 for an altitude, accuracy, direction, speed or charge that it does not
// know, so 0 counts as unknown. It sends a position again after 30 s, 1 min and 2 min unless
// the answer is 2xx, and then drops it; in no order. A template that cannot do is answered
// 400, which the app shows. Everything else is answered 200.
//
// Sources: mendhak/gpslogger 32994bf: assets/text/faq/faq16-custom-url.md,
// …/senders/customurl/CustomUrlManager.java,
// …/loggers/customurl/{CustomUrlRequest,CustomUrlWorker}.java;
// home-assistant/core:homeassistant/components/gpslogger.
package gpslogger

import (
	"strings"

	"pingline"
	"pingline/ingest/phone"
	"pingline/ingest/phone/lenient"
)

// Protocol is any method of /v1/gpslogger.
var Protocol = phone.Protocol{
	Name:   "gpslogger",
	Routes: []string{"* /v1/gpslogger", "* /v1/gpslogger/{key}"},
	Bound:  bound,
	Decode: decode,
	Reply:  reply,
}

// bound is one ping, and the text of parameters.
func bound(r *phone.Request) (pings, bytes int) { return 1, 8 * (len(r.Body) + len(r.Query)) }

// decode reads a query with a form, or with an object.
func decode(r *phone.Request, to *phone.Pings) error {
	var m logged
	if !lenient.IsJSON(r.Body) {
		if err := lenient.Form(r.Query, r.Body, m.parameter); err != nil {
			return err
		}
		return m.add(r, to)
	}
	lenient.Parameters(r.Query, m.parameter)
	body, err := lenient.Parse(r.Body)
	if err != nil {
		return err
	}
	body.Members(m.member)
	return m.add(r, to)
}

// Mistakes in a template.
var (
	noID   = &pingline.FieldError{Field: "rider_id", Reason: "missing: neither the request nor its key names a rider; add id= to the URL"}
	noLat  = &pingline.FieldError{Field: "lat", Reason: "missing, or no number: the template has to have lat=%LAT&lon=%LON"}
	noTime = &pingline.FieldError{Field: "ts", Reason: "not a time: the template has to have time=%TIME"}
)

// reply acknowledges all but mistakes in a template, and a body that cannot be read.
func reply(to *phone.Reply, _ *phone.Request, got *phone.Outcome) {
	if got.Err != nil {
		to.Refuse(got.Err)
		return
	}
	lenient.Mistake(to, got, noID, noLat, noTime)
}

// logged is a position as the app sends it.
type logged struct {
	ids   [4]string // in the order in which they count
	times [4]string // in the order in which they count

	lat, lon, speed, kmh, direction, altitude, accuracy, battery lenient.Optional
}

// text returns where a text goes, or nil. A template names the rider by id or device; %AID and
// %SER are of the phone.
func (m *logged) text(key string) *string {
	switch key {
	case "id", "rider", "rider_id":
		return &m.ids[0]
	case "device", "device_id", "deviceid":
		return &m.ids[1]
	case "aid", "androidId":
		return &m.ids[2]
	case "ser", "serial":
		return &m.ids[3]
	case "time":
		return &m.times[0]
	case "timeoffset", "timeoff":
		return &m.times[1]
	case "timestamp", "tst":
		return &m.times[2]
	case "epoch":
		return &m.times[3]
	}
	return nil
}

// number returns where a number goes, or nil.
func (m *logged) number(key string) *lenient.Optional {
	switch key {
	case "lat", "latitude":
		return &m.lat
	case "lon", "lng", "longitude":
		return &m.lon
	case "spd", "speed":
		return &m.speed
	case "spd_kph", "speed_kph":
		return &m.kmh
	case "dir", "direction", "bearing", "heading":
		return &m.direction
	case "alt", "altitude":
		return &m.altitude
	case "acc", "accuracy":
		return &m.accuracy
	case "batt", "bat", "battery":
		return &m.battery
	}
	return nil
}

func (m *logged) parameter(key, value string) {
	if to := m.text(key); to != nil {
		if value = strings.TrimSpace(value); value != "" {
			*to = value
		}
	} else if to := m.number(key); to != nil {
		to.Parse(value)
	}
}

func (m *logged) member(key string, v lenient.Value) {
	if to := m.text(key); to != nil {
		m.parameter(key, v.Text())
	} else if to := m.number(key); to != nil {
		to.Take(v)
	}
}

// first returns the first text that is not "".
func first(list []string) string {
	for _, text := range list {
		if text != "" {
			return text
		}
	}
	return ""
}

// add makes a ping of the position.
func (m *logged) add(r *phone.Request, to *phone.Pings) error {
	id := first(m.ids[:2])
	if id == "" && r.Header != nil { // a template in the form of OwnTracks
		id = first([]string{r.Header.Get("X-Limit-U"), r.Header.Get("X-Limit-D")})
	}
	if m.ids[3] == "unknown" { // Android's, since 8, for whatever phone
		m.ids[3] = ""
	}
	if id == "" {
		id = first(m.ids[2:])
	}
	if r.Rider == "" && id == "" {
		return to.Reject(noID)
	}
	var d phone.Draft
	lenient.SetSender(&d, r, id)
	if !m.lat.Known || !m.lon.Known {
		return to.RejectDraft(&d, noLat)
	}
	at := first(m.times[:])
	ms, known := lenient.ParseTime(at)
	if at != "" && !known {
		return to.RejectDraft(&d, noTime)
	}
	lenient.SetTime(&d, r, ms, known)
	d.SetNumber(phone.Lat, m.lat.V)
	d.SetNumber(phone.Lon, m.lon.V)
	lenient.SetNumber(&d, phone.Altitude, m.altitude.V, m.altitude.Known && m.altitude.V != 0)
	positive := func(f phone.Field, q lenient.Optional) { lenient.SetNumber(&d, f, q.V, q.Known && q.V > 0) }
	positive(phone.Accuracy, m.accuracy)
	positive(phone.Heading, m.direction)
	if m.kmh.V *= lenient.KilometresPerHour; m.speed.V == 0 {
		m.speed = m.kmh
	}
	positive(phone.Speed, m.speed)
	lenient.SetPercent(&d, m.battery.V, m.battery.Known && m.battery.V > 0)
	return to.Add(&d)
}
