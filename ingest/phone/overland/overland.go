// Package overland is the protocol of Overland for iOS, and of those who send its batches of
// GeoJSON: Dawarich's apps, GPSLogger's sender for Dawarich, Colota.
//
// A batch is all or nothing for the app: unless the answer is {"result":"ok"}, in JSON, it
// keeps the whole batch and sends it again, for ever. So every request that was understood
// or never will be is answered so; pings that are refused are counted, and told in the log.
// This holds for pings that name nobody: the app has written its device id, or none, into
// each of its queue, so that no setting would mend them.
// The answer never has the member "set", by which a server changes the app's settings.
//
// Sources: aaronpk/Overland-iOS:README.md and GPSLogger/GLManager.m (sendQueueNow,
// currentDictionaryFromLocation), mendhak/gpslogger:…/senders/dawarich/, Freika/dawarich:
// app/services/overland/ and spec/requests/api/v1/.
package overland

import (
	"strings"

	"pingline/ingest/phone"
	"pingline/ingest/phone/lenient"
)

// Protocol is POST /v1/overland, and the routes of Dawarich for the same batches.
var Protocol = phone.Protocol{
	Name:    "overland",
	Routes:  []string{"POST /v1/overland", "POST /v1/overland/{key}", "POST /api/v1/overland/batches", "POST " + points},
	Bound:   lenient.Most,
	Decode:  decode,
	Reply:   reply,
	Repeats: true,
}

// points is the route of Dawarich's own app, which has an answer of its own.
const points = "/api/v1/points"

// decode reads {"locations":[…],"current":…}, an array of locations, a single location, or
// the object that the app sends in its mode for OwnTracks.
//
// Current is where the phone is now, while the queue is longer than a batch. It comes again
// in a later batch, and is a duplicate then.
func decode(r *phone.Request, to *phone.Pings) error {
	body, err := lenient.Parse(r.Body)
	if err != nil {
		return err
	}
	locations, current, kind := body, lenient.Value{}, ""
	body.Members(func(key string, v lenient.Value) {
		switch key {
		case "locations":
			locations = v
		case "current":
			current = v
		case "_type":
			kind = v.Text()
		}
	})
	if kind == "location" {
		return addOwnTracks(r, to, body)
	}
	locations.Items(func(item lenient.Value) bool {
		err = add(r, to, item)
		return err == nil
	})
	if err == nil {
		err = add(r, to, current)
	}
	return err
}

// add adds a feature, if it is a fix.
func add(r *phone.Request, to *phone.Pings, feature lenient.Value) error {
	var d phone.Draft
	if isFix, _ := lenient.SetFeature(&d, r, feature, ""); !isFix {
		return nil
	}
	return to.Add(&d)
}

// addOwnTracks adds the object of the mode for OwnTracks. Its tst are seconds since 2001, as
// iOS counts them; a tst that was before the first phone that could send it is one of these.
func addOwnTracks(r *phone.Request, to *phone.Pings, body lenient.Value) error {
	const since2001, firstPhone = 978_307_200, 1_200_000_000 // s since 1970
	var d phone.Draft
	topic := ""
	body.Members(func(key string, v lenient.Value) {
		n, known := v.Number()
		switch key {
		case "lat":
			lenient.SetNumber(&d, phone.Lat, n, known)
		case "lon":
			lenient.SetNumber(&d, phone.Lon, n, known)
		case "acc":
			lenient.SetPositive(&d, phone.Accuracy, n, known)
		case "batt":
			lenient.SetPercent(&d, n, known)
		case "topic":
			topic = v.Text()
		case "tst":
			ms, known := v.Time()
			if ms < firstPhone*1000 {
				ms += since2001 * 1000
			}
			if known {
				d.SetTime(ms)
			}
		}
	})
	lenient.SetSender(&d, r, strings.TrimPrefix(topic, "owntracks/")) // the rest is the device id of the app
	return to.Add(&d)
}

// reply says that the batch is done, whatever became of its pings.
func reply(to *phone.Reply, r *phone.Request, _ *phone.Outcome) {
	to.ContentType = "application/json"
	if strings.EqualFold(strings.TrimRight(r.Path, "/"), points) {
		to.Body = append(to.Body, `{"data":[]}`...)
		return
	}
	to.Body = append(to.Body, `{"result":"ok"}`...)
}
