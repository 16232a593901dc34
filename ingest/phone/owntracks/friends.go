package owntracks

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"pingline"
	"pingline/ingest/phone"
	"pingline/ingest/phone/lenient"
)

// shownFix and shownCard are a friend, as the app takes them from an answer (owntracks/booklet:
// tech/json.md). The app tells friends apart by topic, or by the two letters of tid.
type shownFix struct {
	Type  string   `json:"_type"`
	Topic string   `json:"topic"`
	TID   string   `json:"tid"`
	Lat   float64  `json:"lat"`
	Lon   float64  `json:"lon"`
	TST   int64    `json:"tst"`            // s since 1970
	Acc   *float64 `json:"acc,omitempty"`  // m
	Alt   *float64 `json:"alt,omitempty"`  // m
	Vel   *float64 `json:"vel,omitempty"`  // km/h
	COG   *float64 `json:"cog,omitempty"`  // degrees
	Batt  *float64 `json:"batt,omitempty"` // percent
}

type shownCard struct {
	Type  string `json:"_type"`
	Topic string `json:"topic"`
	TID   string `json:"tid"`
	Name  string `json:"name"`
}

// present is how old a position may be whose answer has friends: a phone that sends what it has
// kept for hours sends thousands, and would be shown the same friends as often.
const present = 10 * time.Minute

// showsFriends reports whether the answer to a request is to have friends. An encrypted message
// is not to be read on its way, so that they must not be in the answer either.
func showsFriends(r *phone.Request, got *phone.Outcome) bool {
	if r.Friends == nil || got.Err != nil || len(got.Pings.List) == 0 || hasSealed(r.Body) {
		return false
	}
	since := r.Now.Add(-present).UnixMilli()
	return slices.ContainsFunc(got.Pings.List, func(p pingline.Ping) bool { return p.At > since })
}

// hasSealed reports whether a body may have an encrypted message; behind an escape may be its type.
func hasSealed(body []byte) bool {
	if bytes.Contains(body, []byte("encrypted")) {
		return true
	}
	if bytes.IndexByte(body, '\\') < 0 {
		return false
	}
	v, err := lenient.Parse(body)
	found := err != nil
	v.Items(func(item lenient.Value) bool {
		found = found || payloadOf(item)[kind].Text() == "encrypted"
		return !found
	})
	return found
}

// appendFriends appends a list of the friends of a request: a location and a card for each.
func appendFriends(out []byte, r *phone.Request) []byte {
	out = append(out, '[')
	taken := make(map[string]bool)
	for f := range r.Friends {
		tid := tidOf(f.Rider, taken) // also of one who is not shown: letters do not pass to another
		if !f.Known {
			continue
		}
		if out[len(out)-1] != '[' {
			out = append(out, ',')
		}
		topic := topicOf(&f)
		out = appendShown(out, fixOf(&f.Fix, topic, tid))
		out = appendShown(append(out, ','), shownCard{"card", topic, tid, f.Rider})
	}
	return append(out, ']')
}

func appendShown(out []byte, v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // finite numbers and texts always marshal
	}
	return append(out, text...)
}

func fixOf(f *pingline.Fix, topic, tid string) shownFix {
	known := func(has pingline.Known, v, unit float64) *float64 {
		if !f.Has(has) {
			return nil
		}
		v = math.Round(v * unit)
		return &v
	}
	return shownFix{
		Type: "location", Topic: topic, TID: tid, Lat: f.Lat(), Lon: f.Lon(), TST: f.At / 1000,
		Acc: known(pingline.HasAccuracy, float64(f.Accuracy), 1), Alt: known(pingline.HasAltitude, float64(f.Altitude), 1),
		Vel: known(pingline.HasSpeed, float64(f.Speed), 3.6), COG: known(pingline.HasHeading, float64(f.Heading), 1),
		Batt: known(pingline.HasBattery, float64(f.Battery), 100),
	}
}

// levels escapes what would be another topic's.
var levels = strings.NewReplacer("%", "%25", "/", "%2F", "+", "%2B", "#", "%23")

// topicOf returns the topic of a friend: the same whichever device is the newest, since the app would
// keep the position of another topic as that of another friend.
func topicOf(f *phone.Friend) string {
	return "owntracks/" + levels.Replace(f.Rider) + "/phone"
}

// tidOf returns two letters for a friend that no other in the answer has: the last two of the name,
// as pingline phone add sets them, or others.
func tidOf(rider string, taken map[string]bool) string {
	letters := []rune(strings.ToUpper(strings.ToValidUTF8(rider, "")))
	tid := string(letters[max(0, len(letters)-2):])
	for i := 0; taken[tid] || utf8.RuneCountInString(tid) == 0; i++ {
		const others = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
		first := string(letters[:min(1, len(letters))])
		if i >= len(others) {
			first = others[i/len(others)%len(others) : i/len(others)%len(others)+1]
		}
		tid = first + others[i%len(others):i%len(others)+1]
	}
	taken[tid] = true
	return tid
}
