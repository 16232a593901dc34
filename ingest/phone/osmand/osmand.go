// Package osmand is the protocol of Traccar Client in its three generations, of the OsmAnd
// app, and of whatever else speaks to port 5055 of a Traccar server.
//
// Up to version 7.9 Traccar Client posts a query, version 9 posts JSON of the SDK of
// transistorsoft, version 10 posts a form. Parameters of the query and of a form are
// merged, and the form wins. A body is JSON if it begins so, whatever its Content-Type.
//
// The phones repeat the first request of their queue until it is answered 2xx. A request
// without a position (a heartbeat, a token of notifications) is acknowledged, and so is a
// request that cannot be read. Only what a person has to set up is answered 400, so that
// the phones keep their pings until it is: a missing id, an unknown unit of speed.
//
// Sources: traccar/traccar:src/main/java/org/traccar/protocol/OsmAndProtocolDecoder.java
// 9e5c458, https://www.traccar.org/osmand/,
// traccar/traccar-client-android:app/src/main/java/org/traccar/client/ProtocolFormatter.kt,
// traccar/traccar-client:lib/preferences.dart and lib/quick_actions.dart before 65d5242,
// traccar/traccar-client-sdk:core/…/HttpUploader.kt,
// Freika/dawarich:app/services/traccar/params.rb.
package osmand

import (
	"bytes"
	"strings"

	"pingline"
	"pingline/ingest/phone"
	"pingline/ingest/phone/lenient"
)

// Path is the route of the protocol without a key.
const Path = "/v1/osmand"

// Protocol is any method of /v1/osmand, and the route of Traccar Client in Dawarich.
var Protocol = phone.Protocol{
	Name:    "osmand",
	Routes:  []string{"* " + Path, "* " + Path + "/{key}", "POST /api/v1/traccar/points"},
	Repeats: true,
	Bound:   bound,
	Decode:  decode,
	Reply:   reply,
}

// bound counts the objects of JSON. Texts with escapes are copied.
func bound(r *phone.Request) (pings, bytesOf int) {
	return max(1, bytes.Count(r.Body, []byte("{"))), 8 * (len(r.Body) + len(r.Query))
}

// decode reads a query with a form, an object or an array of objects.
func decode(r *phone.Request, to *phone.Pings) error {
	var all parameters
	if !lenient.IsJSON(r.Body) {
		if err := lenient.Form(r.Query, r.Body, all.parameter); err != nil {
			return err
		}
		return all.add(r, to)
	}
	lenient.Parameters(r.Query, all.parameter)
	all = parameters{id: all.id, unit: all.unit} // the parts of the query that hold for each object
	body, err := lenient.Parse(r.Body)
	if err != nil {
		return err
	}
	body.Items(func(item lenient.Value) bool {
		m := all
		err = m.object(item, r, to)
		return err == nil
	})
	return err
}

// Refusals that a person has to mend.
var (
	noID   = &pingline.FieldError{Field: "rider_id", Reason: "missing: neither the request nor its key names a rider; set id, or the device identifier in the app"}
	noUnit = &pingline.FieldError{Field: "speed", Reason: "speed_unit is none of knots, mps, kmh, mph"}
)

// reply acknowledges all but mistakes of setting up.
func reply(to *phone.Reply, r *phone.Request, got *phone.Outcome) {
	if lenient.Mistake(to, got, noID, noUnit) {
		return
	}
	const dawarich = "/api/"
	if len(r.Path) >= len(dawarich) && strings.EqualFold(r.Path[:len(dawarich)], dawarich) {
		to.ContentType = "application/json"
		to.Body = append(to.Body, "[]"...)
	}
}
