package owntracks

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"pingline"
	"pingline/ingest/phone"
	"pingline/ingest/phone/phonetest"
)

// The answer to a position of now has a location and a card for each friend, and no other has.
func TestFriends(t *testing.T) {
	var fix pingline.Fix
	fix.At = phonetest.Now.UnixMilli() - 5000
	fix.LatE7, fix.LonE7 = 411579000, -86291000
	full := fix
	full.Known = pingline.HasAccuracy | pingline.HasSpeed | pingline.HasBattery
	full.Accuracy, full.Speed, full.Battery = 5, 10, 0.29
	asked := 0
	friends := func(yield func(phone.Friend) bool) {
		asked++
		for _, f := range []phone.Friend{{Rider: "ben", Device: "pixel", Known: true, Fix: full}, {Rider: "men"}, {Rider: "glen", Known: true, Fix: fix}, {Rider: "a/b", Device: "x", Known: true, Fix: fix}} {
			if !yield(f) {
				return
			}
		}
	}
	position := func(age time.Duration, more string) string {
		return fmt.Sprintf(`{"_type":"location","lat":1,"lon":1,"tid":"an","tst":%d%s}`, phonetest.Now.Add(-age).Unix(), more)
	}
	const shown = `[{"_type":"location","topic":"owntracks/ben/phone","tid":"EN","lat":41.1579,"lon":-8.6291,"tst":%d,"acc":5,"vel":36,"batt":29},` +
		`{"_type":"card","topic":"owntracks/ben/phone","tid":"EN","name":"ben"},` +
		`{"_type":"location","topic":"owntracks/glen/phone","tid":"G0","lat":41.1579,"lon":-8.6291,"tst":%[1]d},{"_type":"card","topic":"owntracks/glen/phone","tid":"G0","name":"glen"},` +
		`{"_type":"location","topic":"owntracks/a%%2Fb/phone","tid":"/B","lat":41.1579,"lon":-8.6291,"tst":%[1]d},{"_type":"card","topic":"owntracks/a%%2Fb/phone","tid":"/B","name":"a/b"}]`
	for _, tt := range []struct {
		name, body, want string
	}{
		{"a position of now", position(time.Second, ""), fmt.Sprintf(shown, fix.At/1000)},
		{"one of an hour ago", position(time.Hour, ""), "[]"},
		{"no position", `{"_type":"lwt","tst":1}`, "[]"},
		{"nothing that can be read", `{"_type"`, "[]"},
		{"a position that is rejected", `{"_type":"location","tid":"an"}`, "[]"},
		{"a position of now before an older one", "[" + position(time.Second, "") + "," + position(time.Hour, "") + "]", fmt.Sprintf(shown, fix.At/1000)},
		{"one beside a message whose type is hidden by an escape", `[{"_type":"\u0065ncrypted","data":"AAAA"},` + position(time.Second, "") + "]", "[]"},
		{"one that was encrypted, as others can read the answer", position(time.Second, `,"poi":"encrypted"`), "[]"},
	} {
		r := phone.Request{Method: "POST", Path: "/v1/owntracks", Body: []byte(tt.body), Header: http.Header{}, Now: phonetest.Now, Rider: "ana", Friends: friends}
		r.Limits = r.Limits.WithDefaults()
		var pings phone.Pings
		err := Protocol.Read(&r, &pings)
		if asked > 0 {
			t.Errorf("%s: Decode asks for friends", tt.name)
		}
		var to phone.Reply
		Protocol.Reply(&to, &r, &phone.Outcome{Err: err, Pings: &pings, Judged: make([]pingline.Verdict, len(pings.List))})
		if got := string(to.Body); got != tt.want || to.ContentType != "application/json" {
			t.Errorf("%s: %s\nwant %s", tt.name, got, tt.want)
		}
		if asked != strings.Count(tt.want, `"EN","lat"`) {
			t.Errorf("%s: friends were asked for %d times", tt.name, asked)
		}
		asked = 0
	}
}

// No two friends of an answer have the same two letters.
func TestLettersOfFriends(t *testing.T) {
	taken, all := map[string]bool{}, []string{}
	for i := range 200 {
		tid := tidOf(strings.Repeat("x", i%3)+"en", taken)
		if n := len([]rune(tid)); n != 2 || slices.Contains(all, tid) {
			t.Fatalf("the letters %q, behind %q", tid, all)
		}
		all = append(all, tid)
	}
	if tid := tidOf("\xff", map[string]bool{}); tid == "" {
		t.Error("a name without letters has none")
	}
	if tid := tidOf("ü", map[string]bool{}); tid != "Ü" {
		t.Errorf("%q", tid)
	}
}

// The letters of a friend do not pass to another when somebody becomes known.
func TestLettersStay(t *testing.T) {
	show := func(known bool) string {
		r := &phone.Request{Friends: slices.Values([]phone.Friend{{Rider: "ben", Known: known}, {Rider: "glen", Known: true}})}
		var list []struct{ TID, Name string }
		if err := json.Unmarshal(appendFriends(nil, r), &list); err != nil {
			t.Fatal(err)
		}
		return list[len(list)-1].Name + " " + list[len(list)-1].TID
	}
	if before, after := show(false), show(true); before != after || before == "glen EN" {
		t.Errorf("%s becomes %s", before, after)
	}
}
