package apps

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"pingline"
	"pingline/client"
)

// Each app has a name, a way to send, waits that do not vanish, and says itself what no source
// does.
func TestAppsAreComplete(t *testing.T) {
	seen := map[string]bool{"native": true}
	for i := range All {
		a := &All[i]
		if seen[a.Name] || a.encode == nil || a.delivered == nil || a.Batch < 1 || a.First <= 0 || a.Most < a.First || !strings.HasPrefix(a.Path, "/") || strings.Contains(a.Open, "\n") {
			t.Errorf("%+v", a)
		}
		seen[a.Name] = true
		var b App
		if err := b.UnmarshalText([]byte(a.Name)); err != nil || b.Name != a.Name {
			t.Errorf("%s: %v", a.Name, err)
		}
	}
	var b App
	if err := b.UnmarshalText([]byte("native")); err != nil || b.Name != "" {
		t.Errorf("native is %q, %v", b.Name, err)
	}
	if err := b.UnmarshalText([]byte("owntrack")); err == nil || !strings.Contains(err.Error(), "owntracks-ios, overland") {
		t.Error(err)
	}
}

// What each app takes as delivered, and how often it tries in a minute and in ten.
func TestAppsAnswers(t *testing.T) {
	const isJSON, text = "application/json; charset=utf-8", "text/plain"
	for _, tt := range []struct {
		app        string
		delivered  []int // statuses, with {"result":"ok"} as JSON
		minute     int
		tenMinutes int
	}{
		{"owntracks", []int{200, 201, 204}, 6, 11},
		{"owntracks-ios", []int{200, 201, 204}, 6, 15},
		{"overland", []int{200, 201, 204}, 2, 20},
		{"traccar", []int{200, 201, 204}, 4, 7},
		{"traccar7", []int{200, 201, 204, 302}, 2, 20},
		{"gpslogger", []int{200, 201, 204}, 2, 4},
		{"transistorsoft", []int{200, 201, 204}, 1, 10},
		{"homeassistant", []int{200, 201, 204}, 1, 1},
	} {
		a, err := Named(tt.app)
		if err != nil {
			t.Fatal(err)
		}
		var got []int
		for _, status := range []int{0, 200, 201, 204, 302, 400, 401, 403, 404, 413, 429, 500, 503} {
			if a.Delivered(&client.Response{Status: status, Body: []byte(`{"result":"ok"}`)}, isJSON) {
				got = append(got, status)
			}
		}
		if !slices.Equal(got, tt.delivered) || a.Within(time.Minute) != tt.minute || a.Within(10*time.Minute) != tt.tenMinutes {
			t.Errorf("%s: delivered by %v, %d attempts in a minute, %d in ten", tt.app, got, a.Within(time.Minute), a.Within(10*time.Minute))
		}
	}
	a, err := Named("overland")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		body, kind string
		want       bool
	}{
		{`{"result":"ok","set":{}}`, isJSON, true}, {`{"result":"ok"}`, text, false}, {`[]`, isJSON, false}, {`{"result":"error"}`, isJSON, false}, {"", isJSON, false}, {`{"result":"ok"}`, "", false},
	} {
		if got := a.Delivered(&client.Response{Status: http.StatusOK, Body: []byte(tt.body)}, tt.kind); got != tt.want {
			t.Errorf("%s as %q: %v", tt.body, tt.kind, got)
		}
	}
}

// steps plays a queue: it takes fixes that are there at 0, and fails the first attempts.
func steps(app *App, fixes, failures int) (requests [][]int, at []int64, dropped int) {
	q := NewQueue[int](app)
	for i := range fixes {
		q.Add(i, 0)
	}
	q.Hurry()
	for now, ok := q.Ready(); ok; now, ok = q.Ready() {
		list, current := q.Next(nil)
		if current != nil {
			list = append(list, -*current)
		}
		requests, at = append(requests, list), append(at, now/int64(time.Second))
		if failures > 0 {
			failures--
			dropped += q.Failed(now)
		} else {
			q.Delivered()
		}
	}
	return requests, at, dropped
}

func TestQueueOrder(t *testing.T) {
	s := time.Second
	for _, tt := range []struct {
		name     string
		app      App
		failures int
		want     [][]int
		at       []int64
		dropped  int
	}{
		{"one by one", App{Batch: 1, First: s, Most: 3 * s}, 3, [][]int{{0}, {0}, {0}, {0}, {1}, {2}}, []int64{0, 1, 3, 6, 0, 0}, 0},
		{"in batches", App{Batch: 2, First: s, Most: s}, 1, [][]int{{0, 1}, {0, 1}, {2}}, []int64{0, 1, 0}, 0},
		{"with the newest", App{Batch: 1, Current: true, First: s, Most: s}, 0, [][]int{{0, -2}, {1, -2}, {2}}, []int64{0, 0, 0}, 0},
		{"newest first", App{Batch: 2, Newest: true, First: s, Most: s}, 1, [][]int{{2, 1}, {2, 1}, {0}}, []int64{0, 1, 0}, 0},
		{"failures go behind", App{Batch: 2, Behind: true, First: s, Most: s}, 1, [][]int{{0, 1}, {2, 0}, {1}}, []int64{0, 1, 0}, 0},
		{"given up", App{Batch: 1, First: s, Most: s, Attempts: 2}, 2, [][]int{{0}, {0}, {1}, {2}}, []int64{0, 1, 0, 0}, 1},
	} {
		requests, at, dropped := steps(&tt.app, 3, tt.failures)
		if !slices.EqualFunc(requests, tt.want, slices.Equal) || !slices.Equal(at, tt.at) || dropped != tt.dropped {
			t.Errorf("%s: %v at %v, %d dropped, want %v at %v", tt.name, requests, at, dropped, tt.want, tt.at)
		}
	}
}

// Jobs do not wait for one another: each is tried by itself, and given up by itself.
func TestQueueOfJobs(t *testing.T) {
	app := App{Batch: 1, Jobs: true, First: 30 * time.Second, Most: time.Hour, Attempts: 4}
	requests, at, dropped := steps(&app, 40, 0)
	seen := map[int]bool{}
	inOrder := true
	for i, r := range requests {
		seen[r[0]] = true
		inOrder = inOrder && r[0] == i
	}
	if len(seen) != 40 || dropped != 0 || inOrder || slices.Max(at) != 0 {
		t.Errorf("%d of 40 are sent, in order: %v", len(seen), inOrder)
	}
	if requests, at, dropped = steps(&app, 2, 8); dropped != 2 || len(requests) != 8 || !slices.Equal(at, []int64{0, 0, 30, 30, 90, 90, 210, 210}) {
		t.Errorf("%v at %v, %d dropped", requests, at, dropped)
	}
}

// A batch waits for more fixes, but not for ever; a new fix ends the wait of an app that
// tries again then.
func TestQueueWaits(t *testing.T) {
	q := NewQueue[int](&App{Batch: 2, Every: 10})
	q.Add(1, 100)
	if at, ok := q.Ready(); !ok || at != 110 {
		t.Errorf("one of two is sent at %d, %v", at, ok)
	}
	q.Add(2, 105)
	if at, ok := q.Ready(); !ok || at != 105 {
		t.Errorf("two of two are sent at %d, %v", at, ok)
	}
	if list, _ := q.Next(nil); len(list) != 2 || q.Len() != 2 {
		t.Errorf("%v, %d left", list, q.Len())
	}
	q.Delivered()
	if _, ok := q.Ready(); ok || q.Len() != 0 {
		t.Error("something is left")
	}
	q = NewQueue[int](&App{Batch: 1, OnFix: true, First: 1000, Most: 1000})
	q.Add(1, 0)
	q.Next(nil)
	q.Failed(5)
	if at, _ := q.Ready(); at != 1005 {
		t.Errorf("without a fix it tries again at %d", at)
	}
	q.Add(2, 300)
	if at, _ := q.Ready(); at != 300 {
		t.Errorf("with a fix it tries again at %d", at)
	}
}

// Bodies said to be JSON are, whatever the names.
func TestMessagesAreJSON(t *testing.T) {
	p := pingline.Ping{Rider: `a"bü`, Device: `"`, Fix: pingline.Fix{At: 1760000000123, LatE7: -1, LonE7: 1}}
	for i := range All {
		var m Posting
		for range 2 { // the second uses the memory of the first
			All[i].Write(&m, &Fixes{Pings: []pingline.Ping{p}, Current: &p})
		}
		if m.Kind != "" && strings.Contains(m.Kind, "json") != json.Valid(m.Body) || strings.ContainsAny(m.Target, " \"\n") {
			t.Errorf("%s: %s %s %s", All[i].Name, m.Target, m.Kind, m.Body)
		}
	}
}
