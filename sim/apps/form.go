package apps

import (
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"pingline"
)

const (
	kmh  = 3.6           // of a m/s
	knot = 3600 / 1852.0 // of a m/s
)

// id returns the name by which an app that has one name for a phone sends: a second phone of a
// rider is a rider of its own to them.
func id(p *pingline.Ping) string {
	if p.Device == "" {
		return p.Rider
	}
	return p.Rider + "-" + p.Device
}

// text appends a name as JSON. A name has no control characters.
func text(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, s[i])
	}
	return append(dst, '"')
}

// degrees appends a coordinate with seven digits.
func degrees(dst []byte, e7 int32) []byte {
	return strconv.AppendFloat(dst, float64(e7)/pingline.E7, 'f', 7, 64)
}

// number appends a value with digits behind the point, and before it the text before, if the
// value is known.
func number(dst []byte, p *pingline.Ping, k pingline.Known, v float32, unit float64, digits int, before string) []byte {
	if !p.Has(k) {
		return dst
	}
	return strconv.AppendFloat(append(dst, before...), float64(v)*unit, 'f', digits, 64)
}

// either is number with another text if the value is not known.
func either(dst []byte, p *pingline.Ping, k pingline.Known, v float32, unit float64, digits int, before, unknown string) []byte {
	if !p.Has(k) {
		return append(dst, unknown...)
	}
	return number(dst, p, k, v, unit, digits, before)
}

// instant appends a time in UTC.
func instant(dst []byte, p *pingline.Ping, layout string) []byte {
	return p.Time().AppendFormat(dst, layout)
}

const (
	seconds = "2006-01-02T15:04:05Z"
	millis  = "2006-01-02T15:04:05.000Z"
)

// ownTracks is a message of the type location. The speed is cut to km/h.
func ownTracks(m *Posting, f *Fixes) {
	p := &f.Pings[0]
	device := p.Device
	if device == "" {
		device = "phone"
	}
	m.Kind = "application/json; charset=utf-8"
	m.Header = append(m.Header, [2]string{"X-Limit-U", p.Rider}, [2]string{"X-Limit-D", device})
	b := append(m.Body, `{"_type":"location","_id":"`...)
	b = fmt.Appendf(b, "%08x", uint32(p.At/1000)*2654435761)
	b = number(b, p, pingline.HasAccuracy, p.Accuracy, 1, 0, `","acc":`)
	if !p.Has(pingline.HasAccuracy) {
		b = append(b, '"')
	}
	b = number(b, p, pingline.HasAltitude, p.Altitude, 1, 0, `,"alt":`)
	b = number(b, p, pingline.HasBattery, p.Battery, 100, 0, `,"batt":`)
	b = number(b, p, pingline.HasHeading, p.Heading, 1, 0, `,"cog":`)
	b = strconv.AppendInt(append(b, `,"bs":1,"conn":"m","created_at":`...), p.At/1000+1, 10)
	b = degrees(append(b, `,"lat":`...), p.LatE7)
	b = degrees(append(b, `,"lon":`...), p.LonE7)
	b = append(b, `,"m":1,"tid":"`...)
	for _, c := range []byte(p.Rider[max(0, len(p.Rider)-2):]) {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			c = 'x'
		}
		b = append(b, c)
	}
	b = text(append(b, `","topic":`...), "owntracks/"+p.Rider+"/"+device)
	b = strconv.AppendInt(append(b, `,"tst":`...), p.At/1000, 10)
	b = number(b, p, pingline.HasSpeed, float32(math.Trunc(float64(p.Speed)*kmh)), 1, 0, `,"vel":`)
	m.Body = append(b, '}')
}

// feature appends a fix as GeoJSON. Numbers are whole, but for the charge.
func feature(b []byte, p *pingline.Ping, layout, level string) []byte {
	b = degrees(append(b, `{"type":"Feature","geometry":{"type":"Point","coordinates":[`...), p.LonE7)
	b = degrees(append(b, ','), p.LatE7)
	b = instant(append(b, `]},"properties":{"timestamp":"`...), p, layout)
	b = either(b, p, pingline.HasSpeed, p.Speed, 1, 0, `","speed":`, `","speed":-1`)
	b = either(b, p, pingline.HasHeading, p.Heading, 1, 0, `,"course":`, `,"course":-1`)
	b = either(b, p, pingline.HasAccuracy, p.Accuracy, 1, 0, `,"horizontal_accuracy":`, `,"horizontal_accuracy":-1`)
	b = number(b, p, pingline.HasAltitude, p.Altitude, 1, 0, `,"altitude":`)
	if level == "percent" {
		b = number(b, p, pingline.HasBattery, p.Battery, 100, 0, `,"battery_level":`)
	} else {
		b = either(b, p, pingline.HasBattery, p.Battery, 1, 2, `,"battery_state":"unplugged","battery_level":`, `,"battery_state":"unknown","battery_level":-1`)
	}
	b = append(b, `,"vertical_accuracy":-1,"motion":["driving"],"wifi":"","unique_id":null,"device_id":`...)
	return append(text(b, id(p)), `}}`...)
}

func overland(m *Posting, f *Fixes) {
	m.Kind = "application/json"
	b := append(m.Body, `{"locations":[`...)
	for i := range f.Pings {
		if i > 0 {
			b = append(b, ',')
		}
		b = feature(b, &f.Pings[i], seconds, "")
	}
	b = append(b, ']')
	if f.Current != nil {
		b = feature(append(b, `,"current":`...), f.Current, seconds, "")
	}
	m.Body = append(b, '}')
}

// dawarich is what GPSLogger's sender for Dawarich makes of it: with milliseconds, a charge in
// percent, and a name with a slip of the pen.
func dawarich(m *Posting, f *Fixes) {
	m.Kind = "application/json"
	b := append(m.Body, `{"locations":[`...)
	for i := range f.Pings {
		if i > 0 {
			b = append(b, ',')
		}
		b = feature(b, &f.Pings[i], "2006-01-02T15:04:05.000+00:00", "percent")
		b = append(b[:len(b)-2], `,"deffered":0}}`...)
	}
	m.Body = append(b, `]}`...)
}

// form appends the parameters of Traccar Client.
func form(b []byte, p *pingline.Ping, at string, speed float64) []byte {
	b = append(append(b, "id="...), url.QueryEscape(id(p))...)
	b = append(append(b, "&timestamp="...), at...)
	b = degrees(append(b, "&lat="...), p.LatE7)
	b = degrees(append(b, "&lon="...), p.LonE7)
	b = either(b, p, pingline.HasSpeed, p.Speed, speed, 2, "&speed=", "&speed=0.0")
	b = either(b, p, pingline.HasHeading, p.Heading, 1, 1, "&bearing=", "&bearing=0.0")
	b = either(b, p, pingline.HasAltitude, p.Altitude, 1, 1, "&altitude=", "&altitude=0.0")
	return either(b, p, pingline.HasAccuracy, p.Accuracy, 1, 1, "&accuracy=", "&accuracy=0.0")
}

func traccar10(m *Posting, f *Fixes) {
	p := &f.Pings[0]
	m.Kind = "application/x-www-form-urlencoded; charset=UTF-8"
	m.Header = append(m.Header, [2]string{"User-Agent", "ktor-client"})
	b := form(m.Body, p, strconv.FormatInt(p.At/1000, 10), knot)
	m.Body = number(b, p, pingline.HasBattery, p.Battery, 100, 0, "&batt=")
}

// traccar7 has all in the query of a POST without a body.
func traccar7(m *Posting, f *Fixes) {
	p := &f.Pings[0]
	b := form([]byte(m.Target+"?"), p, strconv.FormatInt(p.At/1000, 10), knot)
	m.Target = string(number(b, p, pingline.HasBattery, p.Battery, 100, 1, "&batt="))
}

// location appends a location of the library of Transistor Software.
func location(b []byte, p *pingline.Ping) []byte {
	b = degrees(append(b, `{"coords":{"latitude":`...), p.LatE7)
	b = degrees(append(b, `,"longitude":`...), p.LonE7)
	b = either(b, p, pingline.HasAccuracy, p.Accuracy, 1, 2, `,"accuracy":`, `,"accuracy":-1`)
	b = either(b, p, pingline.HasSpeed, p.Speed, 1, 2, `,"speed":`, `,"speed":-1`)
	b = either(b, p, pingline.HasHeading, p.Heading, 1, 1, `,"heading":`, `,"heading":-1`)
	b = number(b, p, pingline.HasAltitude, p.Altitude, 1, 1, `,"altitude":`)
	b = instant(append(b, `},"timestamp":"`...), p, millis)
	b = either(b, p, pingline.HasBattery, p.Battery, 1, 2, `","is_moving":true,"odometer":0,"event":"motionchange","battery":{"is_charging":false,"level":`, `","battery":{"is_charging":false,"level":-1`)
	return append(b, `},"activity":{"type":"in_vehicle"},"extras":{}`...)
}

// traccar9 is a location with a form in it, for servers that read nothing else.
func traccar9(m *Posting, f *Fixes) {
	p := &f.Pings[0]
	m.Kind = "application/json"
	b := location(append(m.Body, `{"location":`...), p)
	b = append(append(b, `,"_":"&id=`...), url.QueryEscape(id(p))...)
	b = degrees(append(b, "&lat="...), p.LatE7)
	b = degrees(append(b, "&lon="...), p.LonE7)
	b = instant(append(b, "&timestamp="...), p, millis)
	m.Body = append(text(append(b, `&"},"device_id":`...), id(p)), '}')
}

// transistorSoft is one location, or an array of them, and a uuid by which it tells what it
// posts twice.
func transistorSoft(m *Posting, f *Fixes) {
	m.Kind = "application/json"
	b := append(m.Body, `{"location":`...)
	if len(f.Pings) > 1 {
		b = append(b, '[')
	}
	for i := range f.Pings {
		if i > 0 {
			b = append(b, ',')
		}
		p := &f.Pings[i]
		b = location(b, p)
		b = fmt.Appendf(b, `,"uuid":"0e9a2473-a9a7-4c00-997b-%012x"}`, uint64(p.At)&(1<<48-1))
	}
	if len(f.Pings) > 1 {
		b = append(b, ']')
	}
	m.Body = append(text(append(b, `,"device_id":`...), id(&f.Pings[0])), '}')
}

// osmAnd is the template of docs/phones/osmand.md: m/s, ms, and hdop, for want of metres.
func osmAnd(m *Posting, f *Fixes) {
	p := &f.Pings[0]
	m.Method = http.MethodGet
	b := append([]byte(m.Target), "?speed_unit=mps&id="...)
	b = append(b, url.QueryEscape(id(p))...)
	b = degrees(append(b, "&lat="...), p.LatE7)
	b = degrees(append(b, "&lon="...), p.LonE7)
	b = strconv.AppendInt(append(b, "&timestamp="...), p.At, 10)
	b = either(b, p, pingline.HasAccuracy, p.Accuracy, 1, 1, "&hdop=", "&hdop=0.0")
	b = either(b, p, pingline.HasAltitude, p.Altitude, 1, 1, "&altitude=", "&altitude=0.0")
	b = either(b, p, pingline.HasSpeed, p.Speed, 1, 2, "&speed=", "&speed=0.0")
	m.Target = string(either(b, p, pingline.HasHeading, p.Heading, 1, 1, "&bearing=", "&bearing=0.0"))
}

// gpsLogger is the template of docs/phones/gpslogger.md: a form without a Content-Type.
func gpsLogger(m *Posting, f *Fixes) {
	p := &f.Pings[0]
	b := append(append(m.Body, "id="...), url.QueryEscape(id(p))...)
	b = degrees(append(b, "&lat="...), p.LatE7)
	b = degrees(append(b, "&lon="...), p.LonE7)
	b = instant(append(b, "&time="...), p, millis)
	b = either(b, p, pingline.HasSpeed, p.Speed, 1, 2, "&spd=", "&spd=0.0")
	b = either(b, p, pingline.HasHeading, p.Heading, 1, 1, "&dir=", "&dir=0.0")
	b = either(b, p, pingline.HasAltitude, p.Altitude, 1, 1, "&alt=", "&alt=0.0")
	b = either(b, p, pingline.HasAccuracy, p.Accuracy, 1, 1, "&acc=", "&acc=0.0")
	m.Body = append(number(b, p, pingline.HasBattery, p.Battery, 100, 1, "&batt="), "&hdop=&"...)
}

// minutes appends a coordinate as NMEA has it, degrees and minutes, the degrees not padded.
func minutes(b []byte, e7 int32, positive, negative string) []byte {
	side := positive
	if e7 < 0 {
		e7, side = -e7, negative
	}
	whole := e7 / 1e7
	rest := float64(e7%1e7) / 1e7 * 60
	b = strconv.AppendInt(b, int64(whole), 10)
	if rest < 10 {
		b = append(b, '0')
	}
	b = strconv.AppendFloat(b, rest, 'f', 5, 64)
	return append(append(append(b, ','), side...), ',')
}

// openGTS is a sentence of GPRMC in a query, not escaped.
func openGTS(m *Posting, f *Fixes) {
	p := &f.Pings[0]
	m.Method = http.MethodGet
	b := append([]byte(m.Target), "?id="...)
	b = append(append(b, url.QueryEscape(id(p))...), "&dev="...)
	b = append(append(b, url.QueryEscape(id(p))...), "&acct=sim&batt="...)
	b = either(b, p, pingline.HasBattery, p.Battery, 100, 0, "", "0")
	b = either(append(b, "&code=0xF020&alt="...), p, pingline.HasAltitude, p.Altitude, 1, 1, "", "0.0")
	sentence := p.Time().AppendFormat([]byte("GPRMC,"), "150405,A,")
	sentence = minutes(sentence, p.LatE7, "N", "S")
	sentence = minutes(sentence, p.LonE7, "E", "W")
	sentence = either(sentence, p, pingline.HasSpeed, p.Speed, knot, 6, "", "0.000000")
	sentence = either(append(sentence, ','), p, pingline.HasHeading, p.Heading, 1, 6, "", "0.000000")
	sentence = p.Time().AppendFormat(append(sentence, ','), "020106,,")
	sum := byte(0)
	for _, c := range sentence {
		sum ^= c
	}
	m.Target = string(fmt.Appendf(append(append(b, "&gprmc=$"...), sentence...), "*%02X", sum))
}

func colota(m *Posting, f *Fixes) {
	p := &f.Pings[0]
	m.Kind = "application/json"
	b := degrees(append(m.Body, `{"lat":`...), p.LatE7)
	b = degrees(append(b, `,"lon":`...), p.LonE7)
	b = strconv.AppendInt(append(b, `,"tst":`...), p.At/1000, 10)
	b = number(b, p, pingline.HasAccuracy, p.Accuracy, 1, 1, `,"acc":`)
	b = number(b, p, pingline.HasAltitude, p.Altitude, 1, 1, `,"alt":`)
	b = number(b, p, pingline.HasSpeed, p.Speed, 1, 1, `,"vel":`)
	b = number(b, p, pingline.HasHeading, p.Heading, 1, 1, `,"bear":`)
	b = number(b, p, pingline.HasBattery, p.Battery, 100, 0, `,"batt":`)
	if p.Device != "" {
		b = text(append(b, `,"device_id":`...), p.Device)
	}
	m.Body = append(text(append(b, `,"rider_id":`...), p.Rider), '}')
}

// homeAssistant is a message of the companion app to its webhook. It has no time, its numbers are cut
// to whole ones, and 0 is in place of those that are not known.
func homeAssistant(m *Posting, f *Fixes) {
	p := &f.Pings[0]
	m.Target += url.PathEscape(id(p))
	m.Kind = "application/json"
	b := degrees(append(m.Body, `{"type":"update_location","data":{"gps":[`...), p.LatE7)
	b = degrees(append(b, ','), p.LonE7)
	b = either(append(b, ']'), p, pingline.HasAccuracy, p.Accuracy, 1, 0, `,"gps_accuracy":`, `,"gps_accuracy":0`)
	b = number(b, p, pingline.HasBattery, p.Battery, 100, 0, `,"battery":`)
	b = either(b, p, pingline.HasSpeed, float32(math.Trunc(float64(p.Speed))), 1, 0, `,"speed":`, `,"speed":0`)
	b = either(b, p, pingline.HasAltitude, float32(math.Trunc(float64(p.Altitude))), 1, 0, `,"altitude":`, `,"altitude":0`)
	b = either(b, p, pingline.HasHeading, p.Heading, 1, 0, `,"course":`, `,"course":0`)
	m.Body = append(b, `,"vertical_accuracy":0}}`...)
}

// phoneTrack is logPostMultiple: rows of lat, lon, time, altitude, accuracy, charge,
// satellites, user agent, speed and bearing.
func phoneTrack(m *Posting, f *Fixes) {
	m.Target += "/logPostMultiple/token/" + url.PathEscape(id(&f.Pings[0]))
	m.Kind = "application/json"
	b := append(m.Body, `{"points":[`...)
	for i := range f.Pings {
		p := &f.Pings[i]
		if i > 0 {
			b = append(b, ',')
		}
		b = degrees(append(b, '['), p.LatE7)
		b = degrees(append(b, ','), p.LonE7)
		b = strconv.AppendInt(append(b, ','), p.At/int64(time.Second/time.Millisecond), 10)
		b = either(b, p, pingline.HasAltitude, p.Altitude, 1, 1, ",", ",null")
		b = either(b, p, pingline.HasAccuracy, p.Accuracy, 1, 1, ",", ",null")
		b = either(b, p, pingline.HasBattery, p.Battery, 100, 0, ",", ",null")
		b = either(append(b, `,null,"PhoneTrack"`...), p, pingline.HasSpeed, p.Speed, 1, 2, ",", ",null")
		b = append(either(b, p, pingline.HasHeading, p.Heading, 1, 1, ",", ",null"), ']')
	}
	m.Body = append(b, `]}`...)
}
