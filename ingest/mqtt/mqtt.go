// Package mqtt is shared by the two ways in by MQTT: Pingline as the broker of phones, and
// as a subscriber at a broker of others. Both take the messages of OwnTracks, whose topics are
// owntracks/RIDER/DEVICE and below, and treat each as a request of POST /v1/owntracks: the same
// keys, limits, rates, private zones, verdicts and counts.
//
// A message of QoS 1 or 2 is acknowledged when that request is answered 2xx, and never
// before: its pings are durable then, or are none, or can never be stored. Until then it is
// tried again, here or by the client. Nothing is handed on to other clients.
//
// Source: owntracks/booklet:docs/tech/json.md and docs/guide/broker.md.
package mqtt

import (
	"net"
	"net/http"
	"strings"
	"time"

	"pingline/ingest/auth"
)

// Base is the first level of a topic. The app's own setting is owntracks/%u/%d.
const Base = "owntracks"

// Filters are the subscriptions to the topics of the app. No topic matches both. A filter with
// # in place of the second would match those of the first, too, but not at every broker.
var Filters = [...]string{Base + "/+/+", Base + "/+/+/+"}

// Names returns the rider and the device of a topic owntracks/RIDER/DEVICE, or of one below
// that, such as owntracks/RIDER/DEVICE/event. Neither is "", nor has it a line break. Both are
// as they came, and may be no valid IDs.
func Names(topic string) (rider, device string, ok bool) {
	rest, ok := strings.CutPrefix(topic, Base+"/")
	if !ok || strings.ContainsAny(topic, "\r\n") {
		return "", "", false
	}
	rider, rest, _ = strings.Cut(rest, "/")
	device, _, _ = strings.Cut(rest, "/")
	return rider, device, rider != "" && device != ""
}

// Message is a message on its way to the server. It is not kept beyond a Take.
type Message struct {
	Rider, Device string // of the topic
	Payload       []byte
	TooLarge      bool // Payload was thrown away, because it was too large

	From net.Addr // the other end of the connection

	// The sender: by the value of a header Authorization, or, if that is "", by Identity,
	// which is that of a client certificate or of a broker that is trusted; nil: nobody.
	Authorization string
	Identity      *auth.Identity
}

// Result is the server's answer to a message: the status of its request.
type Result struct {
	Status int
	Wait   time.Duration // after which a message that is to come again may succeed; 0: not said
}

// Done reports whether the message is stored, or needs no storing, or can never be stored.
func (r Result) Done() bool { return r.Status >= 200 && r.Status < 300 }

// Denied reports whether the sender has no right to send the message.
func (r Result) Denied() bool {
	return r.Status == http.StatusUnauthorized || r.Status == http.StatusForbidden
}

// Pause returns how long to wait before the message is tried again.
func (r Result) Pause() time.Duration {
	const usual, least, most = 5 * time.Second, time.Second, time.Minute
	if r.Wait == 0 {
		return usual
	}
	return min(max(r.Wait, least), most)
}

// Take hands a message to the server, and returns its result once that is durable. It is safe
// for concurrent use.
type Take func(m *Message) Result
