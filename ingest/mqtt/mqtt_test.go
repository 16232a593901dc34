package mqtt

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestNames(t *testing.T) {
	for topic, want := range map[string]string{
		"owntracks/ana/pixel":              "ana pixel",
		"owntracks/ana/pixel/event":        "ana pixel",
		"owntracks/ana/pixel/":             "ana pixel",
		"owntracks/ana/pixel/cmd/more":     "ana pixel",
		"owntracks/a b/ü":                  "a b ü",
		"owntracks/ana":                    "",
		"owntracks/ana/":                   "",
		"owntracks//pixel":                 "",
		"owntracks":                        "",
		"/owntracks/ana/pixel":             "",
		"OwnTracks/ana/pixel":              "",
		"owntracksx/ana/pixel":             "",
		"other/ana/pixel":                  "",
		"$SYS/broker/uptime":               "",
		"owntracks/ana\nX-Limit-U: b/pix":  "",
		"owntracks/ana/pix\rel":            "",
		"owntracks/ana/pixel/in a\r\nname": "",
		"":                                 "",
	} {
		rider, device, ok := Names(topic)
		if got := strings.TrimSpace(rider + " " + device); ok != (want != "") || ok && got != want {
			t.Errorf("%q names %q (%v), want %q", topic, got, ok, want)
		}
	}
}

// Names are levels of the topic, whatever it is.
func FuzzNames(f *testing.F) {
	for _, topic := range []string{"owntracks/ana/pixel", "owntracks/ana/pixel/event", "owntracks//", "owntracks/\n/x", "$SYS/x/y"} {
		f.Add(topic)
	}
	f.Fuzz(func(t *testing.T, topic string) {
		rider, device, ok := Names(topic)
		if !ok {
			return
		}
		if rider == "" || device == "" || strings.ContainsAny(rider+device, "/\r\n") {
			t.Errorf("%q names %q and %q", topic, rider, device)
		}
		if at := Base + "/" + rider + "/" + device; topic != at && !strings.HasPrefix(topic, at+"/") {
			t.Errorf("%q names %q and %q, which are not in it", topic, rider, device)
		}
	})
}

func TestResult(t *testing.T) {
	for status, want := range map[int][2]bool{
		http.StatusOK: {true, false}, http.StatusNoContent: {true, false}, http.StatusUnauthorized: {false, true}, http.StatusForbidden: {false, true},
		http.StatusTooManyRequests: {}, http.StatusServiceUnavailable: {}, http.StatusInternalServerError: {}, 0: {},
	} {
		if f := (Result{Status: status}); f.Done() != want[0] || f.Denied() != want[1] {
			t.Errorf("%d is done: %v, denied: %v", status, f.Done(), f.Denied())
		}
	}
	for wait, want := range map[time.Duration]time.Duration{0: 5 * time.Second, time.Millisecond: time.Second, 7 * time.Second: 7 * time.Second, time.Hour: time.Minute} {
		if got := (Result{Wait: wait}).Pause(); got != want {
			t.Errorf("told to wait %v: %v, want %v", wait, got, want)
		}
	}
}
