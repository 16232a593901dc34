package server

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pingline/dedupe"
	"pingline/ingest"
	"pingline/queue"
)

// A call for help is stored, with its event, whatever fix it is on: accepted is
// answered, and the log has the entry.
func TestEventIsNeverSwallowed(t *testing.T) {
	log := testLog(t, queue.Config{})
	w, stop := testWriter(t, ingest.WriterConfig{Log: log, Bound: dedupe.Bound{MaxError: 10, AccuracyCap: 50}})
	_, url := testServer(t, Config{Writer: w})
	now := time.Now().UnixMilli()
	// fix is a ping of a rider who drives east, of so many seconds ago.
	fix := func(rider string, ago int, north float64, more string) string {
		return fmt.Sprintf(`{"rider_id":%q,"ts":%d,"lat":%.7f,"lon":%.7f%s}`,
			rider, now-int64(ago)*1000, 41.1+north, -8.6-float64(ago)/10_000, more)
	}
	const sos, elsewhere = `,"event":"sos"`, 0.01
	post := func(pings ...string) (verdicts string) {
		t.Helper()
		a := send(t, "POST", url+"/v1/pings?verdicts=1", []byte("["+strings.Join(pings, ",")+"]"))
		if a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		_, verdicts, _ = strings.Cut(a.body, `"verdicts":[`)
		verdicts, _, _ = strings.Cut(verdicts, "]")
		return verdicts
	}
	tests := []struct {
		name  string
		ago   int
		north float64
		late  bool
	}{
		{"on-the-newest", 10, 0, false},
		{"on-one-dropped", 20, 0, true},
		{"on-the-first", 30, 0, true},
		{"elsewhere-now", 10, elsewhere, true},
		{"elsewhere-before", 20, elsewhere, true},
		{"older", 60, 0, false},
		{"newer", 5, 0, false},
	}
	for _, tt := range tests {
		var track []string
		for ago := 30; ago >= 10; ago-- {
			track = append(track, fix(tt.name, ago, 0, ""))
		}
		post(track...)
		if v := post(fix(tt.name, tt.ago, tt.north, sos)); v != `"accepted"` {
			t.Errorf("%s: %s, want accepted", tt.name, v)
		}
		if v := post(fix(tt.name, tt.ago, tt.north, sos)); v != `"duplicate"` {
			t.Errorf("%s, sent again: %s, want duplicate", tt.name, v)
		}
	}
	// In one request with its own fix, and alone on a fix answered long before.
	post(fix("at-once", 10, 0, ""), fix("at-once", 10, 0, sos))
	post(fix("lonely", 10, 0, ""))
	post(fix("lonely", 10, 0, sos))
	stop()
	got := map[string]string{}
	list := entries(t, log)
	for i := range list {
		if e := &list[i]; e.Event != "" && e.Stored() {
			got[e.Rider] += fmt.Sprintf("%s at %d %.2f late %v", e.Event, e.At-now, e.Lat(), e.Late)
		}
	}
	for _, tt := range tests {
		if want := fmt.Sprintf("sos at %d %.2f late %v", -tt.ago*1000, 41.1+tt.north, tt.late); got[tt.name] != want {
			t.Errorf("%s: the log stores %q, want %q once", tt.name, got[tt.name], want)
		}
	}
	for _, rider := range []string{"at-once", "lonely"} {
		if want := "sos at -10000 41.10 late false"; got[rider] != want {
			t.Errorf("%s: the log stores %q, want %q once", rider, got[rider], want)
		}
	}
}
