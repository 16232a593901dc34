package track

import (
	"bytes"
	"strconv"
	"strings"
	"time"

	"pingline"
)

// column is a column of a table.
type column struct {
	field field
	unit  float64 // factor from the column's unit to the field's; 0 means 1
	day   bool    // the column has the date, and another column the time of day
}

// aliases maps the column names of other loggers, in lower case, with _ between words
// and without a unit.
var aliases = map[string]field{
	"rider": rider, "user_id": rider, "user": rider, "driver_id": rider, "driver": rider, "vehicle_id": rider, "vehicle": rider,
	"device": device, "trip": trip,
	"time": ts, "timestamp": ts, "datetime": ts, "date_time": ts, "time_utc": ts, "utc": ts, "gps_time": ts, "timestamp_ms": ts, "time_ms": ts,
	"latitude": lat, "longitude": lon, "lng": lon, "long": lon,
	"altitude_m": altitude, "alt": altitude, "ele": altitude, "elevation": altitude, "height": altitude,
	"velocity": speed, "course": heading, "bearing": heading, "direction": heading, "cog": heading, "azimuth": heading,
	"acc": accuracy, "hacc": accuracy, "h_acc": accuracy, "horizontal_accuracy": accuracy, "precision": accuracy,
	"batt": battery, "battery_level": battery,
}

var (
	speed    = numberOf(pingline.HasSpeed)
	heading  = numberOf(pingline.HasHeading)
	accuracy = numberOf(pingline.HasAccuracy)
	altitude = numberOf(pingline.HasAltitude)
	battery  = numberOf(pingline.HasBattery)
)

// speeds maps units of speed to m/s.
var speeds = map[string]float64{
	"m/s": 1, "mps": 1, "ms": 1, "km/h": 1 / 3.6, "kmh": 1 / 3.6, "kph": 1 / 3.6, "mph": 0.44704, "kn": 1852. / 3600, "knots": 1852. / 3600, "kt": 1852. / 3600,
}

// seconds maps units of a time since 1970 to ms.
var seconds = map[string]float64{"s": 1000, "sec": 1000, "seconds": 1000}

// columnsOf returns the columns of a header. Of two columns for the same field, the
// column with the field's own name counts, or else the first.
func columnsOf(header [][]byte) ([]column, error) {
	columns := make([]column, len(header))
	var own, taken [fields]bool
	date, clock := -1, -1
	for i, name := range header {
		columns[i].field = fieldOf(name)
		if f := columns[i].field; f != unknown && own[f] {
			return nil, &pingline.FieldError{Field: f.String(), Reason: "twice in the header"}
		} else if f != unknown {
			own[f], taken[f] = true, true
		}
		switch word, _ := wordsOf(name); word {
		case "date":
			date = i
		case "time", "time_utc", "utc_time":
			clock = i
		}
	}
	if date >= 0 && clock >= 0 && !own[ts] {
		columns[date], columns[clock] = column{field: ts, day: true}, column{field: ts}
		taken[ts] = true
	} else if date >= 0 && !own[ts] {
		columns[date], taken[ts] = column{field: ts}, true
	}
	for i, name := range header {
		if c := aliasOf(name); columns[i].field == unknown && c.field != unknown && !taken[c.field] {
			columns[i], taken[c.field] = c, true
		}
	}
	return columns, nil
}

// aliasOf returns the column for the name that another logger gives it.
func aliasOf(name []byte) column {
	word, unit := wordsOf(name)
	find := func(word string) field {
		if f, ok := aliases[word]; ok {
			return f
		}
		return fieldOf([]byte(word))
	}
	f := find(word)
	if f == unknown && unit == "" { // speed_kmh
		if i := strings.LastIndexByte(word, '_'); i > 0 {
			word, unit = word[:i], word[i+1:]
			if f = find(word); f != unknown && speeds[unit] == 0 && seconds[unit] == 0 && unit != "deg" && unit != "m" {
				f = unknown
			}
		}
	}
	switch {
	case f == speed && speeds[unit] != 1:
		return column{field: f, unit: speeds[unit]}
	case f == ts:
		return column{field: f, unit: seconds[unit]}
	}
	return column{field: f}
}

// wordsOf returns a name of the header in lower case with _ between its words, and its
// unit if it ends in a unit in brackets.
func wordsOf(name []byte) (word, unit string) {
	word = strings.ToLower(string(name))
	if i := strings.IndexAny(word, "[("); i > 0 {
		word, unit = strings.TrimSpace(word[:i]), strings.Trim(word[i:], "[]() ")
	}
	return strings.NewReplacer(" ", "_", "-", "_", ".", "_").Replace(word), unit
}

// read converts a value of the column: a number to a decimal point and the field's unit,
// a time to a form that parseTime reads.
func (c *column) read(v, day []byte) []byte {
	switch {
	case c.field == rider || c.field >= device:
		return v
	case c.field == ts && len(day) > 0:
		return timeOf(string(day)+" "+string(v), v)
	case c.field == ts && c.unit == 0:
		return timeOf(string(v), v)
	}
	if bytes.Count(v, []byte(",")) == 1 && bytes.IndexByte(v, '.') < 0 {
		v = bytes.Replace(v, []byte(","), []byte("."), 1)
	}
	if c.unit == 0 {
		return v
	}
	n, err := strconv.ParseFloat(string(v), 64)
	if err != nil {
		return v // not a number: it will be refused as it was written
	}
	if c.field == ts {
		return strconv.AppendInt(nil, int64(n*c.unit), 10)
	}
	return strconv.AppendFloat(nil, n*c.unit, 'g', -1, 64)
}

// dates are unambiguous forms of a day, and clocks are forms of a time of day. A time
// without a zone is UTC.
var (
	dates  = [...]string{"2006-01-02", "2006/01/02", "2006.01.02", "02.01.2006", "20060102", "2 Jan 2006"}
	clocks = [...]string{" 15:04:05", "T15:04:05", " 15:04:05Z07:00", " 15:04:05 Z07:00", "T15:04:05Z07:00", " 15:04:05 UTC", " 15:04", " 150405"}
)

// timeOf returns a date and time as RFC 3339, or v if their form is not known.
func timeOf(text string, v []byte) []byte {
	if !strings.ContainsAny(text, "-/.: ") || !strings.ContainsAny(text, ": T") {
		return v // a number
	}
	for _, date := range dates {
		for _, clock := range clocks {
			if t, err := time.Parse(date+clock, text); err == nil { // Parse takes a fraction, too, behind a point or a comma
				return t.AppendFormat(nil, time.RFC3339Nano)
			}
		}
	}
	return v
}
