// Package owntracks is the protocol of the apps OwnTracks for Android and iOS in HTTP mode:
// POST of a message, a JSON object whose member _type says what it is of. A message of the
// type location is a fix; all others are acknowledged.
//
// The apps keep what they have sent until an answer is 2xx, and repeat the first message of
// their queue until then, if need be for ever. So every message is answered [], which is a
// list of no messages for the app, also one that can never be read. A position of now is answered
// with those of the sender's friends (phone.Request.Friends).
//
// A rider is named by, in this order: the key's rider, the header X-Limit-U, the topic
// owntracks/RIDER/DEVICE, the parameter u of the query, the member tid; the device by
// X-Limit-D, the topic, the parameter d. Where nothing names a rider, the device does.
//
// The mode "OwnTracks" of the app Overland sends the same with other times, and wants another
// reply: see overland. Trackers with little memory send a line of CSV.
//
// An encrypted message is opened with the secret of its rider, if there is one (New).
//
// Sources: owntracks/booklet:docs/tech/http.md and json.md; owntracks/recorder:http.c and
// recorder.c; owntracks/android:services/MessageProcessor.kt and HttpMessageProcessorEndpoint.kt;
// owntracks/ios:OwnTracks/OwnTracks/Connection.m; aaronpk/Overland-iOS:GPSLogger/GLManager.m.
package owntracks

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
	"time"

	"pingline"
	"pingline/ingest/phone"
	"pingline/ingest/phone/lenient"
)

// Protocol takes a message by our own route, by that of the OwnTracks Recorder, and by that of
// Dawarich. It opens no encrypted message.
var Protocol = New(func(string) *[keySize]byte { return nil })

// New returns Protocol with keys of riders that have encrypted their messages: the bytes of a
// secret, padded with zeros; nil: none. The rider is "" where a request names none outside of
// its message. Key is safe for concurrent use.
func New(key func(rider string) *[keySize]byte) phone.Protocol {
	p := &protocol{key}
	return phone.Protocol{
		Name:    "owntracks",
		Routes:  []string{"POST /v1/owntracks", "POST /v1/owntracks/{key}", "POST /pub", "POST /pub/{key}", "POST /api/v1/owntracks/points"},
		Bound:   bound,
		Decode:  p.decode,
		Reply:   reply,
		Repeats: true,
	}
}

type protocol struct {
	key func(rider string) *[keySize]byte
}

// bound is a ping for each object, or that of a line of CSV. Of an encrypted message the bytes
// are those of base64, of what that encrypts, and of escapes inside. Behind an escape in the
// body may be the type encrypted, too.
func bound(r *phone.Request) (pings, copied int) {
	pings, copied = lenient.Most(r)
	if bytes.Contains(r.Body, []byte("encrypted")) || bytes.IndexByte(r.Body, '\\') >= 0 {
		copied = 15 * len(r.Body)
	}
	return max(1, pings), copied + len(r.Query)
}

// decode reads a message, an array of messages, or a line of CSV. The apps send no array;
// tools that send a day again do.
func (p *protocol) decode(r *phone.Request, to *phone.Pings) error {
	if len(bytes.TrimSpace(r.Body)) == 0 {
		return nil // a friend was removed
	}
	n := namesOf(r)
	if line, ok := csv(r.Body); ok {
		return line.add(&n, to)
	}
	body, err := lenient.Parse(r.Body)
	if err != nil {
		return err
	}
	body.Items(func(item lenient.Value) bool {
		switch m := payloadOf(item); m[kind].Text() {
		case "location":
			err = m.add(&n, r.Now, to)
		case "encrypted":
			err = p.addEncrypted(m[sealed], &n, r.Now, to)
		}
		return err == nil
	})
	return err
}

// payload has the members of a message, by the numbers below.
type payload [members]lenient.Value

const (
	kind = iota
	latitude
	longitude
	at       // s since 1970
	accuracy // m
	altitude // m
	speed    // km/h; -1: unknown
	course   // degrees; -1: unknown
	battery  // percent; -1: unknown
	tracker  // two letters for a map, not unique
	topic    // owntracks/RIDER/DEVICE
	created  // s since 1970, when the message was made
	sealed   // base64
	members
)

var keys = [members]string{"_type", "lat", "lon", "tst", "acc", "alt", "vel", "cog", "batt", "tid", "topic", "created_at", "data"}

// payloadOf returns the members of an object; of anything else, none.
func payloadOf(v lenient.Value) (m payload) {
	v.Members(func(key string, value lenient.Value) {
		if i := slices.Index(keys[:], key); i >= 0 {
			m[i] = value
		}
	})
	return m
}

// add adds the fix of a location.
func (m *payload) add(n *senderNames, now time.Time, to *phone.Pings) error {
	var d phone.Draft
	n.set(&d, m[topic].Text(), m[tracker].Text())
	if ms, ok := m[at].Time(); ok && ms != 0 { // an app has 0 before it has a time
		if m.overland(now) {
			ms += since2001
		}
		d.SetTime(ms)
	}
	number := func(f phone.Field, of int, set func(*phone.Draft, phone.Field, float64, bool), unit float64) {
		v, known := m[of].Number()
		set(&d, f, v*unit, known)
	}
	number(phone.Lat, latitude, lenient.SetNumber, 1)
	number(phone.Lon, longitude, lenient.SetNumber, 1)
	number(phone.Accuracy, accuracy, lenient.SetPositive, 1)
	number(phone.Altitude, altitude, lenient.SetNumber, 1)
	number(phone.Speed, speed, lenient.SetPositive, lenient.KilometresPerHour)
	number(phone.Heading, course, lenient.SetPositive, 1)
	percent, known := m[battery].Number()
	lenient.SetPercent(&d, percent, known)
	return to.Add(&d)
}

// since2001 is the start of 2001, in ms since 1970.
const since2001 = 978_307_200_000

// overland reports whether a location is of the app Overland, whose mode "OwnTracks" counts
// the seconds from 2001 on. OwnTracks sends a tid or created_at; and a fix of OwnTracks is
// not 31 years old, when that would be now for Overland.
func (m *payload) overland(now time.Time) bool {
	const near = 365 * 24 * time.Hour
	ms, ok := m[at].Time()
	off := ms - (now.UnixMilli() - since2001)
	return ok && !m[tracker].Exists() && !m[created].Exists() && off > -near.Milliseconds() && off < near.Milliseconds()
}

// senderNames are the names in a request outside of its message.
type senderNames struct {
	rider, device string // by the key and by headers
	u, d          string // by the query
}

func namesOf(r *phone.Request) senderNames {
	n := senderNames{rider: cmp.Or(r.Rider, r.Header.Get("X-Limit-U")), device: r.Header.Get("X-Limit-D")}
	lenient.Parameters(r.Query, func(key, value string) {
		switch key {
		case "u":
			n.u = value
		case "d":
			n.d = value
		}
	})
	return n
}

// outside returns the rider that is named outside of the message, or "".
func (n *senderNames) outside() string { return cmp.Or(n.rider, n.u) }

// set sets rider and device of a draft.
func (n *senderNames) set(d *phone.Draft, topic, tid string) {
	user, of := byTopic(topic)
	rider, device := cmp.Or(n.rider, user, n.u, tid), cmp.Or(n.device, of, n.d)
	if rider == "" {
		rider, device = device, ""
	}
	if rider != "" {
		d.SetName(phone.Rider, strings.TrimSpace(rider))
	}
	if device = strings.TrimSpace(device); device != "" && pingline.CheckID(phone.Device.String(), device) == nil { // the position is worth keeping
		d.SetName(phone.Device, device)
	}
}

// byTopic returns the names in a topic owntracks/RIDER/DEVICE. The text before them can be
// set in the app, and may have slashes of its own.
func byTopic(topic string) (rider, device string) {
	at := strings.LastIndexByte(topic, '/')
	if at < 0 {
		return "", ""
	}
	before, device := topic[:at], topic[at+1:]
	if at = strings.LastIndexByte(before, '/'); at < 0 {
		return "", ""
	}
	return before[at+1:], device
}

// reply is a list of messages, of friends if there are any, or the object that Overland wants.
func reply(to *phone.Reply, r *phone.Request, got *phone.Outcome) {
	to.ContentType = "application/json"
	if got.Err == nil && got.Pings.Received == 1 && toOverland(r) { // it sends one at a time
		to.Body = append(to.Body, `{"result":"ok"}`...)
		return
	}
	if showsFriends(r, got) {
		to.Body = appendFriends(to.Body, r)
		return
	}
	to.Body = append(to.Body, "[]"...)
}

// toOverland reports whether the message of a request is a location of Overland.
func toOverland(r *phone.Request) bool {
	if bytes.Contains(r.Body, []byte(`"tid"`)) { // most have it
		return false
	}
	v, err := lenient.Parse(r.Body)
	if err != nil {
		return false
	}
	m := payloadOf(v)
	return m[kind].Text() == "location" && m.overland(r.Now)
}
