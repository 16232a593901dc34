// Package lineprotocol is the protocol of InfluxDB's clients: lines whose fields are a position
// become pings. A fleet that writes to an InfluxDB, by Telegraf or a client's library, changes
// the URL.
//
//	gps,rider=ana,device=phone lat=41.15,lon=-8.62,speed=4.1,accuracy=5 1760000000000000000
//
// The tags and fields have names by which they are known, which a Config may replace. Database,
// retention policy, organization and bucket are not looked at: the stores are the node's.
//
// A line without lat and lon is no position. It is refused, dropped or passed on to a store, as
// the Config says. Of a line that is a position, tags and fields of other names are left out.
//
// A line is passed on as it came, but for its timestamp, which is in ns then; without one it gets
// the time of receipt. Lines of a sender for some riders only are not passed on, nor are lines of the
// measurements of Pingline itself, which would be pings that nobody has judged.
//
// Answers are InfluxDB's: 204, or 400 with a JSON error. As 1.x does, the good lines of a
// request are kept where others are refused, and the error names the first of these: no client
// of InfluxDB repeats a request that is answered 400.
//
// Sources: influxdata/influxdb v1.8.10 services/httpd/handler.go, models/points.go;
// influxdata/telegraf v1.39.3 plugins/outputs/influxdb/http.go, influxdb_v2/http.go;
// influxdata/influxdb-client-go v2.14.0 api/http/service.go.
package lineprotocol

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"pingline/ingest/phone"
)

// Config says which lines are positions. The zero value takes every default.
type Config struct {
	// Measurements are those whose lines may be positions; none means any.
	Measurements []string

	// Riders are tags, or fields that are strings, that name a rider: the first of them that a
	// line has. None means rider, rider_id, device, device_id, host.
	Riders []string

	// Names are further tags and fields, as FIELD=NAME, where FIELD is lat, lon, speed (m/s),
	// heading, accuracy (m), altitude (m), battery, device, event or trip. Those of a field
	// replace its names in defaultNames.
	Names []string

	// Drop leaves out lines that are no positions, instead of refusing them. Pass adds them to
	// Pings.Others.
	Drop, Pass bool
}

// DefaultRiders are the names of Config.Riders, if it has none. The last is the tag that
// Telegraf puts on every line.
var DefaultRiders = []string{"rider", "rider_id", "device", "device_id", "host"}

// defaultNames are the names of the fields of a ping, besides the rider.
var defaultNames = map[phone.Field][]string{
	phone.Lat:      {"lat", "latitude"},
	phone.Lon:      {"lon", "lng", "longitude"},
	phone.Speed:    {"speed"},
	phone.Heading:  {"heading", "course", "bearing"},
	phone.Accuracy: {"accuracy"},
	phone.Altitude: {"altitude", "alt"},
	phone.Battery:  {"battery"},
	phone.Device:   {"device", "device_id"},
	phone.Event:    {"event"},
	phone.Trip:     {"trip", "trip_id"},
}

// fieldsByName are the fields that Names may name.
var fieldsByName = map[string]phone.Field{
	"lat": phone.Lat, "lon": phone.Lon, "speed": phone.Speed, "heading": phone.Heading, "accuracy": phone.Accuracy,
	"altitude": phone.Altitude, "battery": phone.Battery, "device": phone.Device, "event": phone.Event, "trip": phone.Trip,
}

// The paths of InfluxDB 1.x and 2.x.
const (
	path1 = "/write"
	path2 = "/api/v2/write"
)

// version is told by /ping: clients that read it find the interface of 1.8.
const version = "1.8.10-pingline"

var told = map[string]string{"X-Influxdb-Version": version, "X-Influxdb-Build": "Pingline"}

// New returns the protocol with a configuration that Check has passed.
func New(c Config) phone.Protocol {
	k, err := c.keys()
	if err != nil {
		panic(err)
	}
	return phone.Protocol{
		Name:   "lineprotocol",
		Routes: []string{"POST " + path1, "POST " + path2},
		Greetings: []phone.Greeting{
			{Path: "/ping", Status: http.StatusNoContent, Header: told},
			{Path: "/health", Header: told, Reply: `{"name":"pingline","message":"ready for lines","status":"pass","version":"` + version + `"}`},
		},
		Bound:    k.bound,
		Decode:   func(r *phone.Request, to *phone.Pings) error { return k.decode(r, to) },
		Reply:    reply,
		Partial:  true,
		Accounts: true,
		OverRate: overRate,
	}
}

// Protocol is the protocol with the default names.
var Protocol = New(Config{})

// bound counts the line breaks: each may end a ping. Texts with escapes are copied, and so
// are numbers that are none, by the error of strconv; and lines that are passed on.
func (k *keys) bound(r *phone.Request) (pings, copied int) {
	lines := 1 + bytes.Count(r.Body, []byte("\n"))
	copied = 2 * len(r.Body)
	if k.pass {
		n := mostPassed(len(r.Body), lines)
		copied += len(r.Body) + (mostAdded+8)*n
	}
	return lines, copied
}

// overRate is the status of a request over a rate. Telegraf's output for 1.x drops the lines of
// any 4xx, so 1.x has 503.
func overRate(r *phone.Request) int {
	if first(r) {
		return http.StatusServiceUnavailable
	}
	return http.StatusTooManyRequests
}

// first reports whether a request is by the interface of InfluxDB 1.x. The server takes a slash at
// the end, and letters of any case, for the same route.
func first(r *phone.Request) bool { return strings.EqualFold(strings.TrimRight(r.Path, "/"), path1) }

// keys are the names that a Config gives, by meaning.
type keys struct {
	measurements map[string]bool // nil: any
	names        map[string]meanings
	drop, pass   bool
}

// meanings are those of a name. A name may be of a rider and of a device: the device counts
// where a name of a higher rank is the rider.
type meanings struct {
	field phone.Field // or NoField
	rider int         // rank, from 1; 0: names no rider
}

// nameError is the refusal of a name. Flag is that of pingline serve, without dashes.
type nameError struct{ flag, text string }

func (e *nameError) Error() string { return e.flag + ": " + e.text }

func wrong(flag, format string, args ...any) error {
	return &nameError{flag, fmt.Sprintf(format, args...)}
}

// Check returns an error of a name that is not valid, and the flag of pingline serve that
// sets it.
func (c *Config) Check() (flag string, err error) {
	_, err = c.keys()
	if at := new(nameError); errors.As(err, &at) {
		return at.flag, errors.New(at.text)
	}
	return "", err
}

func (c *Config) keys() (*keys, error) {
	k := &keys{names: make(map[string]meanings), drop: c.Drop, pass: c.Pass}
	for _, m := range c.Measurements {
		if m == "" || len(m) > longest {
			return nil, wrong("line-measurements", "%.16q is not of 1 to %d bytes", m, longest)
		}
		if k.measurements == nil {
			k.measurements = make(map[string]bool)
		}
		k.measurements[m] = true
	}
	names, err := c.fields()
	if err != nil {
		return nil, err
	}
	for f, list := range names {
		for _, name := range list {
			if other := k.names[name].field; other != phone.NoField && other != f {
				return nil, wrong("line-names", "%q is the name of %v and of %v", name, min(f, other), max(f, other))
			}
			k.names[name] = meanings{field: f}
		}
	}
	riders := c.Riders
	if len(riders) == 0 {
		riders = DefaultRiders
	}
	for i, name := range riders {
		m := k.names[name]
		switch {
		case name == "" || len(name) > longest:
			return nil, wrong("line-riders", "%.16q is not of 1 to %d bytes", name, longest)
		case m.rider != 0:
			return nil, wrong("line-riders", "%q is there twice", name)
		case m.field != phone.NoField && m.field != phone.Device:
			return nil, wrong("line-riders", "%q is the name of %v", name, m.field)
		}
		m.rider = 1 + i
		k.names[name] = m
	}
	return k, nil
}

// fields returns the names of each field.
func (c *Config) fields() (map[phone.Field][]string, error) {
	own := make(map[phone.Field][]string)
	for _, pair := range c.Names {
		field, name, ok := strings.Cut(pair, "=")
		f, known := fieldsByName[field]
		switch {
		case !ok || name == "" || len(name) > longest:
			return nil, wrong("line-names", "%.40q is not of the form FIELD=NAME, NAME of at most %d bytes", pair, longest)
		case !known:
			return nil, wrong("line-names", "there is no %q, only lat, lon, speed, heading, accuracy, altitude, battery, device, event and trip", field)
		case slices.Contains(own[f], name):
			return nil, wrong("line-names", "%q is there twice", pair)
		}
		own[f] = append(own[f], name)
	}
	taken := func(name string) bool {
		for _, list := range own {
			if slices.Contains(list, name) {
				return true
			}
		}
		return slices.Contains(c.Riders, name)
	}
	for f, list := range defaultNames {
		if own[f] != nil {
			continue
		}
		for _, name := range list {
			if f == phone.Device || !taken(name) { // a default gives way
				own[f] = append(own[f], name)
			}
		}
	}
	return own, nil
}
