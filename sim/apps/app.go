// Package apps says how the apps that people have on their phones send positions: the form of
// a request, how many fixes are in one and in which order, which answers mean that they are
// delivered, when a request is repeated, and when a fix is given up.
//
// It promises to do what the sources of an app say; what they leave open is in App.Open. An
// app has no verdicts: it knows that a fix was delivered, and no more.
package apps

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"strings"
	"time"

	"pingline"
	"pingline/client"
)

// App is how an app sends. It is not changed while a Queue uses it.
type App struct {
	Name string // as pingline sim run --protocol has it
	Path string // of the server that its user has typed

	Batch   int           // most fixes in a request
	Every   time.Duration // a batch that is not full leaves so long after its first fix
	Newest  bool          // the newest fixes go first, and a request has them newest first
	Behind  bool          // fixes that were not delivered go behind newer ones
	Jobs    bool          // each fix is sent by itself: none waits for another, in no order
	Current bool          // while more than a batch waits, a request has the newest fix as well

	First, Most time.Duration // wait before the first repetition, which doubles up to Most
	OnFix       bool          // a new fix ends a wait
	Attempts    int           // requests with a fix before it is given up; 0: it is never
	Untimed     bool          // a fix has no time: it counts as of its receipt

	Open string // what of this no source says; "" if nothing

	encode    func(m *Posting, f *Fixes)
	delivered func(a *client.Response, kind string) bool
}

// Fixes are those of a request.
type Fixes struct {
	Pings   []pingline.Ping
	Current *pingline.Ping // newest fix of the phone, of an app that sends it as well; nil: none
}

// Posting is a request of an app.
type Posting struct {
	Method string
	Target string // path and query
	Kind   string // Content-Type; "" sends none
	Header [][2]string
	Body   []byte
}

// Write makes m the request for one or more fixes of a phone. It uses the memory of m again.
func (a *App) Write(m *Posting, f *Fixes) {
	*m = Posting{Method: http.MethodPost, Target: a.Path, Header: m.Header[:0], Body: m.Body[:0]}
	a.encode(m, f)
}

// Delivered reports whether the app forgets the fixes of a request. Kind is the Content-Type
// of the answer.
func (a *App) Delivered(answer *client.Response, kind string) bool {
	return answer.Status != 0 && a.delivered(answer, kind)
}

// Wait returns the time from a failed attempt until the next; attempts counts those so far.
func (a *App) Wait(attempts int) time.Duration {
	return min(a.First<<min(attempts-1, 30), a.Most)
}

// Within returns how many attempts in a row the app makes in a time, the first at once.
func (a *App) Within(d time.Duration) (attempts int) {
	for at := time.Duration(0); at < d; at += a.Wait(attempts) {
		attempts++
		if attempts == a.Attempts {
			break
		}
	}
	return attempts
}

// taken is an answer that most apps take as delivered.
func taken(a *client.Response, _ string) bool { return a.Status >= 200 && a.Status <= 299 }

// resultOK is the answer that Overland wants: an object with "result":"ok", that is said to be
// JSON.
func resultOK(a *client.Response, kind string) bool {
	var body struct{ Result string }
	media, _, err := mime.ParseMediaType(kind)
	isJSON := err == nil && (media == "application/json" || media == "text/json" || media == "text/javascript")
	return taken(a, kind) && isJSON && json.Unmarshal(a.Body, &body) == nil && body.Result == "ok"
}

// All are the apps, by name.
var All = []App{
	{
		// owntracks/android: MessageProcessor.kt
		Name: "owntracks", Path: "/v1/owntracks", Batch: 1, First: time.Second, Most: 2 * time.Minute,
		encode: ownTracks, delivered: taken,
	},
	{
		// owntracks/ios: Connection.m
		Name: "owntracks-ios", Path: "/v1/owntracks", Batch: 1, First: time.Second, Most: 64 * time.Second,
		encode: ownTracks, delivered: taken,
	},
	{
		// aaronpk/Overland-iOS: GLManager.m
		Name: "overland", Path: "/v1/overland", Batch: 200, Every: 30 * time.Second, Current: true,
		First: 30 * time.Second, Most: 30 * time.Second,
		Open:   "the send interval is a setting from 1 s to 30 min: 30 s here",
		encode: overland, delivered: resultOK,
	},
	{
		// traccar/traccar-client-sdk: HttpUploader.kt
		Name: "traccar", Path: "/v1/osmand", Batch: 1, First: 5 * time.Second, Most: 5 * time.Minute,
		encode: traccar10, delivered: taken,
	},
	{
		// traccar/traccar-client before 65d5242: lib/preferences.dart, on the library of Transistor Software
		Name: "traccar9", Path: "/v1/osmand", Batch: 1, First: time.Minute, Most: time.Minute, OnFix: true,
		Open:   "the time between two heartbeats, at which it tries again without a new fix: 1 min here",
		encode: traccar9, delivered: taken,
	},
	{
		// traccar/traccar-client-android: TrackingController.kt, RequestManager.kt
		Name: "traccar7", Path: "/v1/osmand", Batch: 1, First: 30 * time.Second, Most: 30 * time.Second,
		encode:    traccar7,
		delivered: func(a *client.Response, _ string) bool { return a.Status < http.StatusBadRequest },
	},
	{
		Name: "osmand", Path: "/v1/osmand", Batch: 1, First: 30 * time.Second, Most: 30 * time.Second,
		Open:   "whether and when it repeats a request: it keeps its queue here, and tries every 30 s",
		encode: osmAnd, delivered: taken,
	},
	{
		// mendhak/gpslogger: CustomUrlWorker.java
		Name: "gpslogger", Path: "/v1/gpslogger", Batch: 1, Jobs: true, First: 30 * time.Second, Most: time.Hour, Attempts: 4,
		encode: gpsLogger, delivered: taken,
	},
	{
		// mendhak/gpslogger: senders/dawarich
		Name: "dawarich", Path: "/api/v1/overland/batches", Batch: 100, Every: 30 * time.Second, Behind: true,
		First: 30 * time.Second, Most: time.Hour,
		Open:   "how many fixes a batch has, and when it is sent: 100 and after 30 s here",
		encode: dawarich, delivered: taken,
	},
	{
		// mendhak/gpslogger: senders/opengts
		Name: "opengts", Path: "/v1/opengts", Batch: 1, First: 30 * time.Second, Most: time.Hour,
		Open:   "whether and when it repeats a request: as for its custom URL here, and for ever",
		encode: openGTS, delivered: taken,
	},
	{
		// transistorsoft/react-native-background-geolocation: HttpEvent.d.ts
		Name: "transistorsoft", Path: "/v1/transistorsoft", Batch: 1, First: time.Minute, Most: time.Minute, OnFix: true,
		Open:   "the time between two heartbeats, at which it tries again without a new fix: 1 min here",
		encode: transistorSoft, delivered: taken,
	},
	{
		// The same with batchSync, and locationsOrderDirection DESC.
		Name: "transistorsoft-batch", Path: "/v1/transistorsoft", Batch: 100, Newest: true, First: time.Minute, Most: time.Minute, OnFix: true,
		Open:   "maxBatchSize is a setting: 100 here",
		encode: transistorSoft, delivered: taken,
	},
	{
		// dietrichmax/colota: docs/configuration
		Name: "colota", Path: "/v1/colota", Batch: 1, First: 30 * time.Second, Most: 5 * time.Minute,
		Open:   "the waits; that it repeats a request five times or for ever is a setting: for ever here",
		encode: colota, delivered: taken,
	},
	{
		// home-assistant/android: LocationSensorManager.kt, sendLocationUpdate logs a failure and no more
		Name: "homeassistant", Path: "/api/webhook/", Batch: 1, First: time.Minute, Most: time.Minute, Attempts: 1, Untimed: true,
		Open:   "what the app for iOS does on a failure: it is that for Android here",
		encode: homeAssistant, delivered: taken,
	},
	{
		// julien-nc/phonetrack: LogController.php, whose answer has done: 1
		Name: "phonetrack", Path: "/v1/phonetrack", Batch: 100, First: time.Minute, Most: time.Minute,
		Open:   "what it does on each answer: any 2xx is delivered here, and else it tries every minute",
		encode: phoneTrack, delivered: taken,
	},
}

// Keepers are the apps that keep what they could not send, with its time.
func Keepers() (list []*App) {
	for i := range All {
		if !All[i].Untimed {
			list = append(list, &All[i])
		}
	}
	return list
}

// Named returns the app with a name, or an error with the names that there are.
func Named(name string) (*App, error) {
	for i := range All {
		if All[i].Name == name {
			return &All[i], nil
		}
	}
	return nil, fmt.Errorf("%q is not native, %s", name, strings.Join(Names(), ", "))
}

// Names returns the names of the apps.
func Names() (names []string) {
	for i := range All {
		names = append(names, All[i].Name)
	}
	return names
}

// UnmarshalText sets a to the app with a name. The name native is no app: a is the zero App.
func (a *App) UnmarshalText(name []byte) error {
	if bytes.Equal(name, []byte("native")) {
		*a = App{}
		return nil
	}
	named, err := Named(string(name))
	if err == nil {
		*a = *named
	}
	return err
}
