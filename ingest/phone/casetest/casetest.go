// Package casetest holds protocols to requests of real apps.
//
// The requests lie beside the repository, in ../shared/data/clients, a JSON object a line:
// what an app sends, and the fix that it means. Where they are absent the tests are skipped.
// The package never copies or changes a file.
package casetest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pingline"
	"pingline/ingest/phone"
	"pingline/track/tracktest"
)

// Now is the time at which the requests come.
var Now = time.Date(2026, 6, 15, 12, 0, 0, 0, time.UTC)

// Case is a request of an app, and its meaning.
type Case struct {
	ID      string
	Request struct {
		Method, Path, Query string
		Headers             map[string]string
		Body                string
	}
	Expect    *Position  // the first fix; nil: none
	All       []Position `json:"expect_all"`
	Count     int        `json:"expect_count"` // fixes to be stored
	Error     bool       `json:"expect_error"` // nothing is to be stored
	Ack       string     // status: 2xx, 4xx or either; "": 2xx if a fix is to be stored
	Lenient   []string   // parts that may be otherwise
	Optional  bool       // an app does not need it
	Secret    string     // of encrypted requests
	Note      string
	Construct bool `json:"constructed"`
}

// Position is a fix, in the units of the files.
type Position struct {
	Lat, Lon                             *float64 // degrees; nil: there is no fix
	Time                                 *time.Time
	Speed                                *float64 `json:"speed_mps"`
	Bearing, Altitude, Accuracy, Battery *float64 // the battery from 0 to 100
	Device                               *string
}

// Load returns the cases of a file, such as "owntracks.jsonl". It skips the test where the
// files are absent.
func Load(t testing.TB, file string) (list []Case) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(tracktest.Root(t), "..", "shared", "data", "clients", file))
	if os.IsNotExist(err) {
		t.Skip("the recorded requests of location apps are not in ../shared/data/clients")
	}
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var c Case
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		list = append(list, c)
	}
	if len(list) == 0 {
		t.Fatalf("%s has no case", file)
	}
	return list
}

// Rules say how the cases of a file go with a protocol.
type Rules struct {
	Path   func(c *Case) string // the path of our route; nil: the first route without a parameter
	Except map[string]string    // by the ID of a case: why the protocol does otherwise, and rightly

	// Names returns the rider and the device that the identifier of a case is; nil: it is either.
	Names func(device string) (rider, of string)

	// Protocol returns the protocol with the secret of a case; nil: it needs none.
	Protocol func(c *Case) phone.Protocol
}

// Run has a protocol read each case of a file, and compares pings and reply.
func Run(t *testing.T, p phone.Protocol, file string, rules Rules) {
	t.Helper()
	list := Load(t, file)
	for id := range rules.Except {
		if !slices.ContainsFunc(list, func(c Case) bool { return c.ID == id }) {
			t.Errorf("%s is no case of %s", id, file)
		}
	}
	for i := range list {
		c := &list[i]
		t.Run(c.ID, func(t *testing.T) {
			if why := rules.Except[c.ID]; why != "" {
				t.Skip(why)
			}
			r, with := c.Ours(rules.Path), p
			if rules.Protocol != nil {
				with = rules.Protocol(c)
			}
			c.check(t, &with, &r, rules.Names)
			if t.Failed() {
				t.Logf("%s %s?%s %v\n%s\n%s", r.Method, r.Path, r.Query, c.Request.Headers, r.Body, c.Note)
			}
		})
	}
}

// Ours returns the request as our server hands it over. Who sends it is known by credentials
// if nothing in it says so.
func (c *Case) Ours(path func(c *Case) string) phone.Request {
	header := http.Header{}
	for name, value := range c.Request.Headers {
		header.Set(name, value)
	}
	r := phone.Request{
		Method: c.Request.Method, Path: c.Request.Path, Query: c.Request.Query, Body: []byte(c.Request.Body), Header: header, Now: Now,
		Limits: phone.Limits{Times: pingline.TimeLimits{MaxAge: 100 * 365 * 24 * time.Hour, MaxAhead: 100 * 365 * 24 * time.Hour}}.WithDefaults(),
	}
	if path != nil {
		r.Path = path(c)
	}
	if c.Expect != nil && c.Expect.Device == nil {
		r.Rider = "known-by-key"
	}
	return r
}

func (c *Case) may(what string) bool { return slices.Contains(c.Lenient, what) }

func (c *Case) check(t *testing.T, p *phone.Protocol, r *phone.Request, names func(string) (string, string)) {
	var pings phone.Pings
	err := p.Read(r, &pings)
	got := phone.Outcome{Err: err, Pings: &pings}
	for range pings.List {
		got.Judged = append(got.Judged, pingline.Accepted)
	}
	reply := phone.Reply{Status: http.StatusOK}
	p.Reply(&reply, r, &got)
	good := reply.Status >= 200 && reply.Status < 300
	switch {
	case c.may("expect_error"):
	case c.Ack == "2xx" && !good, c.Ack == "" && c.Count > 0 && !c.Error && !good:
		t.Errorf("answer %d %s, want 2xx", reply.Status, reply.Body)
	case c.Ack == "4xx" && (reply.Status < 400 || reply.Status > 499):
		t.Errorf("answer %d %s, want 4xx", reply.Status, reply.Body)
	}
	want := c.All
	if want == nil && c.Count == 1 && c.Expect != nil {
		want = []Position{*c.Expect}
	}
	if c.Error {
		want = nil
	}
	if c.may("expect_error") && len(want) != len(pings.List) && (len(want) == 0 || len(pings.List) == 0) {
		return
	}
	if len(pings.List) != c.Count && !c.may("expect_count") && !c.Error || c.Error && len(pings.List) > 0 {
		t.Errorf("%d pings, want %d; rejected %+v, error %v", len(pings.List), c.Count, pings.Rejected, err)
		return
	}
	for i := range min(len(want), len(pings.List)) {
		c.same(t, &pings.List[i], &want[i], names)
	}
}

// same compares a ping with a fix.
func (c *Case) same(t *testing.T, p *pingline.Ping, want *Position, names func(string) (string, string)) {
	t.Helper()
	number := func(what string, got float64, known bool, want *float64, within float64) {
		if c.may(what) {
			return
		}
		if known != (want != nil) || known && math.Abs(got-*want) > within {
			t.Errorf("%s is %v (known: %v), want %s", what, got, known, text(want))
		}
	}
	number("lat", p.Lat(), true, want.Lat, 1e-6)
	number("lon", p.Lon(), true, want.Lon, 1e-6)
	number("speed_mps", float64(p.Speed), p.Has(pingline.HasSpeed), inRange(want.Speed, pingline.HasSpeed), 1e-3)
	number("bearing", float64(p.Heading), p.Has(pingline.HasHeading), inRange(want.Bearing, pingline.HasHeading), 1e-3)
	number("altitude", float64(p.Altitude), p.Has(pingline.HasAltitude), inRange(want.Altitude, pingline.HasAltitude), 1e-2)
	number("accuracy", float64(p.Accuracy), p.Has(pingline.HasAccuracy), inRange(want.Accuracy, pingline.HasAccuracy), 1e-2)
	number("battery", 100*float64(p.Battery), p.Has(pingline.HasBattery), want.Battery, 1e-3)
	at := Now
	if want.Time != nil {
		at = *want.Time
	}
	if !c.may("time") && p.At != at.UnixMilli() {
		t.Errorf("the time is %v, want %v", p.Time(), at)
	}
	if want.Device == nil || c.may("device") || p.Rider == *want.Device || p.Device == *want.Device {
		return
	}
	if names != nil {
		if rider, of := names(*want.Device); p.Rider == rider && p.Device == of {
			return
		}
	}
	t.Errorf("rider %q, device %q, want %q", p.Rider, p.Device, *want.Device)
}

// inRange returns nil for a number that a ping cannot have: it counts as unknown.
func inRange(v *float64, k pingline.Known) *float64 {
	var f pingline.Fix
	if v == nil || f.SetOptional(k, *v) {
		return nil
	}
	return v
}

func text(v *float64) string {
	if v == nil {
		return "unknown"
	}
	return fmt.Sprint(*v)
}
