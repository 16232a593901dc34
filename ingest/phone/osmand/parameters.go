package osmand

import (
	"strings"

	"pingline"
	"pingline/ingest/phone"
	"pingline/ingest/phone/lenient"
)

// parameters are a ping as an app sends it.
type parameters struct {
	id, at       string
	alarm, valid string
	unit         string // speed_unit

	lat, lon, speed, heading, altitude, accuracy, battery lenient.Optional

	sdk  bool // the numbers are of the SDK of transistorsoft: speed in m/s, battery from 0 to 1
	flat bool // the position is in location itself, as in Dawarich, where a time is required
}

// number returns where a number goes, or nil. The short names are of PhoneTrack.
func (m *parameters) number(key string) *lenient.Optional {
	switch key {
	case "lat", "latitude":
		return &m.lat
	case "lon", "longitude":
		return &m.lon
	case "speed":
		return &m.speed
	case "bearing", "heading":
		return &m.heading
	case "altitude", "alt":
		return &m.altitude
	case "accuracy", "acc":
		return &m.accuracy
	case "batt", "bat", "battery":
		return &m.battery
	}
	return nil
}

// text returns where a text goes, or nil.
func (m *parameters) text(key string) *string {
	switch key {
	case "id", "deviceid", "device_id":
		return &m.id
	case "timestamp":
		return &m.at
	case "alarm":
		return &m.alarm
	case "valid":
		return &m.valid
	case "speed_unit":
		return &m.unit
	}
	return nil
}

// parameter takes a parameter of a query or a form. An empty one is as if it were missing.
func (m *parameters) parameter(key, value string) {
	if value = strings.TrimSpace(value); value == "" {
		return
	}
	if to := m.text(key); to != nil {
		*to = value
	} else if to := m.number(key); to != nil {
		to.Parse(value)
	} else if key == "location" {
		lat, lon, _ := strings.Cut(value, ",")
		m.parameter("lat", lat)
		m.parameter("lon", lon)
	}
}

// member takes a member of an object that has the names of a form.
func (m *parameters) member(key string, v lenient.Value) {
	switch to := m.text(key); {
	case !v.Exists():
	case to != nil && key == "valid":
		if *to = "false"; v.True() {
			*to = "true"
		}
	case to != nil:
		*to = v.Text()
	case key == "battery" && v.IsObject():
		m.charge(v)
	default:
		if to := m.number(key); to != nil {
			to.Take(v)
		}
	}
}

// object takes an object of the body: with the names of a form, or with one or more
// locations of the SDK.
func (m *parameters) object(item lenient.Value, r *phone.Request, to *phone.Pings) error {
	var locations lenient.Value
	item.Members(func(key string, v lenient.Value) {
		switch {
		case key != "location":
			m.member(key, v)
		case v.IsObject() || v.IsArray():
			locations = v
		default:
			m.parameter(key, v.Text())
		}
	})
	if !locations.Exists() {
		return m.add(r, to)
	}
	var err error
	locations.Items(func(v lenient.Value) bool {
		one := *m
		if one.sdk = true; one.location(v) {
			err = one.add(r, to)
		}
		return err == nil
	})
	return err
}

// location takes a location of the SDK. It returns false for a sample, of which there is a
// better one to come.
func (m *parameters) location(v lenient.Value) (keep bool) {
	keep = true
	v.Members(func(key string, v lenient.Value) {
		switch key {
		case "coords":
			v.Members(m.member)
		case "extras": // an SOS of version 9
			v.Members(func(key string, v lenient.Value) {
				if key == "alarm" {
					m.alarm = v.Text()
				}
			})
		case "sample":
			keep = !v.True()
		case "latitude":
			m.flat = true
			m.member(key, v)
		default:
			m.member(key, v)
		}
	})
	return keep
}

// charge takes the battery of the SDK.
func (m *parameters) charge(v lenient.Value) {
	v.Members(func(key string, v lenient.Value) {
		if key == "level" {
			m.battery.Take(v)
		}
	})
}

// add makes a ping of the parameters, if it has a position.
func (m *parameters) add(r *phone.Request, to *phone.Pings) error {
	if r.Rider == "" && m.id == "" {
		return to.Reject(noID)
	}
	var d phone.Draft
	lenient.SetSender(&d, r, m.id)
	unit, ok := metresPerSecond(m.unit)
	switch {
	case !ok:
		return to.RejectDraft(&d, noUnit)
	case !m.lat.Given && !m.lon.Given:
		return nil
	case strings.EqualFold(m.valid, "false") || m.valid == "0":
		return to.RejectDraft(&d, &pingline.FieldError{Field: "lat", Reason: "the phone says that the position is not valid"})
	}
	ms, known := lenient.ParseTime(m.at)
	switch {
	case m.at == "" && m.flat:
		return to.RejectDraft(&d, &pingline.FieldError{Field: "ts", Reason: "missing"})
	case m.at != "" && !known:
		return to.RejectDraft(&d, &pingline.FieldError{Field: "ts", Reason: "not a time"})
	}
	lenient.SetTime(&d, r, ms, known)
	lenient.SetNumber(&d, phone.Lat, m.lat.V, m.lat.Known)
	lenient.SetNumber(&d, phone.Lon, m.lon.V, m.lon.Known)
	lenient.SetNumber(&d, phone.Altitude, m.altitude.V, m.altitude.Known)
	lenient.SetPositive(&d, phone.Heading, m.heading.V, m.heading.Known)
	// Traccar Client up to 7.9 writes 0 for an accuracy that it does not know.
	lenient.SetPositive(&d, phone.Accuracy, m.accuracy.V, m.accuracy.Known && m.accuracy.V > 0)
	if m.sdk {
		lenient.SetPositive(&d, phone.Speed, m.speed.V, m.speed.Known)
		lenient.SetShare(&d, m.battery.V, m.battery.Known)
	} else {
		lenient.SetPositive(&d, phone.Speed, m.speed.V*unit, m.speed.Known)
		lenient.SetPercent(&d, m.battery.V, m.battery.Known)
	}
	lenient.SetSOS(&d, m.alarm)
	return to.Add(&d)
}

// metresPerSecond returns the speed of 1 in a unit, in m/s. Traccar Client sends knots.
func metresPerSecond(unit string) (v float64, ok bool) {
	switch strings.ToLower(unit) {
	case "", "knots", "kn":
		return lenient.Knot, true
	case "mps":
		return 1, true
	case "kmh":
		return lenient.KilometresPerHour, true
	case "mph":
		return 1609.344 / 3600, true
	}
	return 0, false
}
