// Package phonetrack is the protocol of PhoneTrack, an app of Nextcloud, which has an address
// for each app for phones: riders who leave it change the server in the address, no more.
//
// The address has the key in the place of PhoneTrack's token, and behind it the name of the
// phone. This is the rider, unless the key names one: then it is the rider's device. The names
// that PhoneTrack puts into its addresses as an example are none.
//
// The forms of the apps are told by the body, not by the address: of this only the unit of
// speed and the answer depend. Every request that the server lets in is answered 200, but for
// one that names nobody: its address has to be mended, and the phone keeps its positions.
//
// Sources: julien-nc/phonetrack:appinfo/routes.php, lib/Controller/LogController.php,
// src/components/SessionLinkSidebarTab.vue 686c41a.
package phonetrack

import (
	"bytes"
	"errors"
	"net/url"
	"slices"
	"strings"

	"pingline"
	"pingline/ingest/phone"
	"pingline/ingest/phone/lenient"
)

// Protocol is the addresses of PhoneTrack, as they are and below /v1.
var Protocol = phone.Protocol{
	Name:    "phonetrack",
	Routes:  append(routes("/v1/phonetrack"), routes("/index.php/apps/phonetrack")...),
	Bound:   bound,
	Decode:  decode,
	Reply:   reply,
	Repeats: true,
}

func routes(at string) []string {
	return []string{
		"* " + at + "/log/{app}/{key}",
		"* " + at + "/log/{app}/{key}/{device}",
		"POST " + at + "/log/{app}/{key}/{device}/client/index.php", // as uLogger appends it
		"GET " + at + "/logGet/{key}/{device}",
		"POST " + at + "/logPost/{key}/{device}",
		"POST " + at + "/logPostMultiple/{key}/{device}",
	}
}

// bound counts the brackets, each of which may begin a ping. Texts with escapes are copied.
func bound(r *phone.Request) (pings, copied int) {
	return 1 + bytes.Count(r.Body, []byte("{")) + bytes.Count(r.Body, []byte("[")), 8 * (len(r.Body) + len(r.Query) + len(r.Path))
}

// address returns the app that an address is for, in small letters, and the name of the phone
// in it, or "". Without an app it is one of PhoneTrack's own: logget, logpost.
func address(path string) (app, device string) {
	parts := strings.Split(path, "/")
	at := slices.IndexFunc(parts, func(part string) bool { return strings.EqualFold(part, "phonetrack") }) + 1
	if parts = parts[at:]; len(parts) > 1 && strings.EqualFold(parts[0], "log") {
		parts = parts[1:]
	}
	if len(parts) == 0 {
		return "", ""
	}
	if len(parts) > 2 { // app, key, device
		device = parts[2]
		if text, err := url.PathUnescape(device); err == nil {
			device = text
		}
	}
	switch strings.TrimSpace(device) {
	case "yourname", "devicename", "name": // PhoneTrack's examples
		device = ""
	}
	return strings.ToLower(parts[0]), device
}

var errEncrypted = errors.New("encrypted: PhoneTrack's address has no secret; switch the encryption of the app off")

// decode reads a query and a form, or JSON: features of Overland, a message of OwnTracks,
// locations of Traccar Client 9, or points of PhoneTrack's own app.
func decode(r *phone.Request, to *phone.Pings) error {
	app, device := address(r.Path)
	var all loggedPoint
	if !lenient.IsJSON(r.Body) {
		if err := lenient.Form(r.Query, r.Body, all.parameter); err != nil {
			return err
		}
		if app == "ulogger" && all.action != "addpos" { // it signs in, or begins a track
			return nil
		}
		return all.add(r, to, app, device)
	}
	body, err := lenient.Parse(r.Body)
	if err != nil {
		return err
	}
	own, asked := "", false // the name of Traccar Client 9, for all of its locations
	lists := 0
	each := func(list lenient.Value, add func(item lenient.Value) error) {
		lists++
		list.Items(func(item lenient.Value) bool {
			if err == nil {
				err = add(item)
			}
			return err == nil
		})
	}
	body.Members(func(key string, v lenient.Value) {
		switch key {
		case "locations", "current":
			each(v, func(item lenient.Value) error {
				var d phone.Draft
				if isFix, named := lenient.SetFeature(&d, r, item, device); !isFix {
					return nil
				} else if !named {
					return to.Reject(noName)
				}
				return to.Add(&d)
			})
		case "location":
			if !asked { // once, of a body that has the key again and again
				own, asked = body.Member("device_id").Text(), true
			}
			each(v, func(item lenient.Value) error { return addLocation(r, to, item, device, own) })
		case "points":
			var row loggedRow
			take := row.take // once, for all rows
			each(v, func(item lenient.Value) error {
				if item.IsArray() && item.Len() < shortestRow {
					return to.Reject(noTime)
				}
				row.read(item, take)
				return row.add(r, to, app, device)
			})
		}
	})
	if lists > 0 || err != nil {
		return err
	}
	each(body, func(item lenient.Value) error {
		p := loggedPoint{kind: "location"}
		item.Members(p.member)
		switch p.kind {
		case "location":
			return p.add(r, to, app, device)
		case "encrypted":
			return to.Reject(errEncrypted)
		}
		return nil
	})
	return err
}

// addLocation adds a location of Traccar Client 9, whose own name stands beside it.
func addLocation(r *phone.Request, to *phone.Pings, item lenient.Value, device, own string) error {
	var d phone.Draft
	isLocation, sample := lenient.SetLocation(&d, item, func(string, lenient.Value) {})
	if !isLocation || sample {
		return nil
	}
	if !lenient.SetSender(&d, r, device, own) {
		return to.Reject(noName)
	}
	return to.Add(&d)
}

// noName is mended by the address.
var noName = &pingline.FieldError{Field: "rider_id", Reason: "missing: neither the address nor its key names a rider; put a name behind the key in the address"}

// reply is PhoneTrack's, by app.
func reply(to *phone.Reply, r *phone.Request, got *phone.Outcome) {
	if lenient.Mistake(to, got, noName) {
		return
	}
	to.ContentType = "application/json"
	text := `[]`
	switch app, _ := address(r.Path); app {
	case "overland":
		text = `{"result":"ok"}`
	case "ulogger":
		text = `{"error":false,"trackid":1}`
	case "opengts":
		text = `true`
	case "traccar":
		text = `{"status":"success"}`
	case "logget", "logpost", "logpostmultiple":
		text = `{"done":1,"friends":[]}`
	}
	to.Body = append(to.Body, text...)
}
