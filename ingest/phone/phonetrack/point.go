package phonetrack

import (
	"strings"

	"pingline"
	"pingline/ingest/phone"
	"pingline/ingest/phone/lenient"
)

// loggedPoint is a position with the names that PhoneTrack has for its parameters, of all
// apps.
type loggedPoint struct {
	at, id   string
	action   string // of uLogger
	kind     string // of OwnTracks
	sentence string // GPRMC, of OpenGTS

	lat, lon, altitude, accuracy, battery, heading lenient.Optional

	speed, velocity lenient.Optional // m/s, of Traccar Client knots; km/h
}

// number returns where a number goes, or nil.
func (p *loggedPoint) number(key string) *lenient.Optional {
	switch key {
	case "lat":
		return &p.lat
	case "lon":
		return &p.lon
	case "alt", "altitude":
		return &p.altitude
	case "acc", "accuracy":
		return &p.accuracy
	case "bat", "batt", "battery":
		return &p.battery
	case "speed":
		return &p.speed
	case "vel":
		return &p.velocity
	case "bearing", "cog":
		return &p.heading
	}
	return nil
}

// text returns where a text goes, or nil.
func (p *loggedPoint) text(key string) *string {
	switch key {
	case "timestamp", "time", "tst", "datetime":
		return &p.at
	case "id", "tid":
		return &p.id
	case "action":
		return &p.action
	case "_type":
		return &p.kind
	case "gprmc":
		return &p.sentence
	}
	return nil
}

// parameter takes a parameter of a query or a form. An empty one is as if it were missing.
func (p *loggedPoint) parameter(key, value string) {
	if value = strings.TrimSpace(value); value == "" {
		return
	}
	if to := p.text(key); to != nil {
		*to = value
	} else if to := p.number(key); to != nil {
		to.Parse(value)
	}
}

// member takes a member of an object with the names of a form.
func (p *loggedPoint) member(key string, v lenient.Value) {
	if to := p.text(key); to != nil && v.Exists() {
		*to = v.Text()
	} else if to := p.number(key); to != nil {
		to.Take(v)
	}
}

// loggedRow is a point of PhoneTrack's own app.
type loggedRow struct {
	loggedPoint
	column int // the next
}

// The columns of a row. Between the battery and the speed are the number of satellites and the
// user agent.
const (
	columnLat = iota
	columnLon
	columnTime
	columnAltitude
	columnAccuracy
	columnBattery
	columnSpeed = iota + 2
	columnHeading
	columns
)

// shortestRow is the length of a row that has a position and a time, in bytes: a shorter one is of
// no app, and a body may have thousands.
const shortestRow = len("[0,0,1760000000]")

var noTime = &pingline.FieldError{Field: "ts", Reason: "a row of points that is too short to have a time"}

// read takes a row, or an object with the names of a form. A body has thousands, so take comes
// from outside.
func (p *loggedRow) read(row lenient.Value, take func(v lenient.Value) (more bool)) {
	*p = loggedRow{}
	if row.IsArray() {
		row.Items(take)
	} else {
		row.Members(p.member)
	}
}

// take takes the value of the next column.
func (p *loggedRow) take(v lenient.Value) (more bool) {
	switch p.column {
	case columnLat:
		p.lat.Take(v)
	case columnLon:
		p.lon.Take(v)
	case columnTime:
		p.at = v.Text()
	case columnAltitude:
		p.altitude.Take(v)
	case columnAccuracy:
		p.accuracy.Take(v)
	case columnBattery:
		p.battery.Take(v)
	case columnSpeed:
		p.speed.Take(v)
	case columnHeading:
		p.heading.Take(v)
	}
	p.column++
	return p.column < columns
}

// add adds the ping, if there is a position.
func (p *loggedPoint) add(r *phone.Request, to *phone.Pings, app, device string) error {
	var d phone.Draft
	switch {
	case p.sentence != "":
		if err := lenient.SetGPRMC(&d, p.sentence); err != nil {
			return to.Reject(err)
		}
	case p.lat.Given || p.lon.Given:
		p.setFix(&d, r, app)
	default:
		return nil
	}
	if !lenient.SetSender(&d, r, device, p.id) {
		return to.Reject(noName)
	}
	lenient.SetNumber(&d, phone.Altitude, p.altitude.V, p.altitude.Known)
	lenient.SetPositive(&d, phone.Accuracy, p.accuracy.V, p.accuracy.Known && p.accuracy.V != 0) // 0 of an app that does not know
	lenient.SetPercent(&d, p.battery.V, p.battery.Known)
	return to.Add(&d)
}

// setFix sets the values that a sentence of GPRMC has.
func (p *loggedPoint) setFix(d *phone.Draft, r *phone.Request, app string) {
	if ms, known := lenient.ParseTime(p.at); known || p.at == "" {
		lenient.SetTime(d, r, ms, known)
	}
	unit := 1.0
	if app == "traccar" {
		unit = lenient.Knot
	}
	lenient.SetNumber(d, phone.Lat, p.lat.V, p.lat.Known)
	lenient.SetNumber(d, phone.Lon, p.lon.V, p.lon.Known)
	lenient.SetPositive(d, phone.Speed, p.velocity.V*lenient.KilometresPerHour, p.velocity.Known)
	lenient.SetPositive(d, phone.Speed, p.speed.V*unit, p.speed.Known)
	lenient.SetPositive(d, phone.Heading, p.heading.V, p.heading.Known)
}
