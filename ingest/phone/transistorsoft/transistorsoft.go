// Package transistorsoft is the protocol of apps that are built on the library
// background-geolocation of Transistor Software, for Flutter, React Native, Cordova and
// Capacitor, in the form that it has without a template.
//
// A location is told by its member coords, wherever the app's settings put it: in the member
// location or another, alone or in an array, or at the root. The other members at the root
// are the app's params, of which device_id and rider_id name who sends.
//
// The library stops its uploads at any answer but 2xx, and sends the same records at its next
// location. So a request that can never succeed is answered 200; the log says why. If nobody is
// named it can, once the app's params are mended, and is answered 400.
//
// Sources: transistorsoft/react-native-background-geolocation:src/declarations/interfaces/
// Location.d.ts and HttpEvent.d.ts, and the HttpConfig of its documentation.
package transistorsoft

import (
	"pingline"
	"pingline/ingest/phone"
	"pingline/ingest/phone/lenient"
)

// Protocol is POST /v1/transistorsoft.
var Protocol = phone.Protocol{
	Name:    "transistorsoft",
	Routes:  []string{"POST /v1/transistorsoft", "POST /v1/transistorsoft/{key}"},
	Bound:   lenient.Most,
	Decode:  decode,
	Reply:   reply,
	Repeats: true,
}

// noName is mended by the app's params, which the library adds when it sends.
var noName = &pingline.FieldError{Field: "rider_id", Reason: "missing: neither the request nor its key names a rider; set params.device_id in the app"}

// reply is a status, and why a person has to mend the app.
func reply(to *phone.Reply, _ *phone.Request, got *phone.Outcome) { lenient.Mistake(to, got, noName) }

var errNoLocation = &phone.Error{Kind: phone.ErrMalformed, Text: "no location: no object with the member coords; leave locationTemplate out of the app's settings"}

// decode reads the locations of a body. Each body of the library has one, so a body without
// any is one of another form, and an error.
func decode(r *phone.Request, to *phone.Pings) error {
	body, err := lenient.Parse(r.Body)
	if err != nil {
		return err
	}
	in := locations{r: r, to: to}
	bare := body.IsArray()
	body.Members(func(key string, v lenient.Value) {
		in.params.set(key, v)
		if key == "coords" {
			bare = v.IsObject()
		}
	})
	if bare {
		body.Items(in.add)
	} else {
		body.Members(func(_ string, v lenient.Value) {
			if in.err == nil {
				v.Items(in.add)
			}
		})
	}
	if in.err == nil && !in.found {
		return errNoLocation
	}
	return in.err
}

// sendersParams are who sends, as the app says it.
type sendersParams struct{ rider, device string }

func (n *sendersParams) set(key string, v lenient.Value) {
	switch key {
	case "rider_id":
		n.rider = v.Text()
	case "device_id":
		n.device = v.Text()
	}
}

// locations adds the locations of a request.
type locations struct {
	r      *phone.Request
	to     *phone.Pings
	params sendersParams
	found  bool
	err    error
}

// add adds an item if it is a location. It returns false once no more pings are allowed.
func (in *locations) add(item lenient.Value) (more bool) {
	var d phone.Draft
	sender := in.params
	isLocation, sample := lenient.SetLocation(&d, item, sender.set)
	in.found = in.found || isLocation
	if !isLocation || sample {
		return true
	}
	if sender.apply(&d, in.r) {
		in.err = in.to.Add(&d)
	} else {
		in.err = in.to.Reject(noName)
	}
	return in.err == nil
}

// apply sets rider and device. The device is the rider where nothing else names one. It
// returns false if nothing does.
func (n *sendersParams) apply(d *phone.Draft, r *phone.Request) (named bool) {
	if r.Rider != "" || n.rider == "" {
		return lenient.SetSender(d, r, n.device)
	}
	return lenient.SetSender(d, &phone.Request{Rider: n.rider}, n.device)
}
