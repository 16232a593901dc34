package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"pingline/internal/influxd"
)

// Pings of one instant are told apart: each event on a fix, and each late ping,
// is found by whoever looks for it, in InfluxDB and in the track, and remains one
// point when it is sent again, before and after a crash.
func TestEachPingOfAnInstantIsFound(t *testing.T) {
	for version, name := range map[int]string{1: "1.8", 2: "2.x"} {
		t.Run(name, func(t *testing.T) {
			testInstants(t, startInfluxWith(t, influxd.Config{Version: version}))
		})
	}
}

func testInstants(t *testing.T, influx *influxd.Server) {
	dir := t.TempDir()
	args := []string{"--influx-token=" + influx.Token(), "--influx-org=" + influx.Org(), "--batch-wait=50ms"}
	p := serve(t, dir, influx.URL(), args...)
	at := time.Now().Add(-time.Minute).UnixMilli()
	ping := func(rider string, after int64, north int, event string) string {
		if event != "" {
			event = fmt.Sprintf(`,"event":%q`, event)
		}
		return fmt.Sprintf(`{"rider_id":%q,"ts":%d,"lat":%.4f,"lon":-8%s}`, rider, at+after, 41+float64(north)/100, event)
	}
	events := []string{"trip_end", "sos", "trip_start"}
	var pings []string
	for _, e := range events { // one fix, the first with its event
		pings = append(pings, ping("three", 0, 0, e))
	}
	pings = append(pings, ping("plain", 0, 0, "")) // one fix, the first without
	for _, e := range events {
		pings = append(pings, ping("plain", 0, 0, e))
	}
	pings = append(pings, ping("held", 0, 0, ""), ping("held", 1000, 0, "")) // one fix that was held
	for _, e := range events {
		pings = append(pings, ping("held", 1000, 0, e))
	}
	pings = append(pings, ping("late", 0, 0, ""), ping("late", 20_000, 20, "trip_end"))
	for north := range 3 { // one instant, at several places
		pings = append(pings, ping("late", 0, 1+north, ""), ping("late", 0, 1+north, "sos"))
	}
	points := map[string]int{"three": 3, "plain": 4, "held": 4, "late": 8}

	send := func(list []string) { post(t, p.url, []byte("["+strings.Join(list, ",")+"]")) }
	check := func(when string) {
		t.Helper()
		p.settled()
		for rider, n := range points {
			if got := len(shown(t, p.url, rider, 1000)); got != n {
				t.Errorf("%s the track of %s has %d pings, want %d", when, rider, got, n)
			}
			if got := shown(t, p.url, rider, 1); len(got) != n {
				t.Errorf("%s the track of %s in pages of one has %d pings, want %d: %v", when, rider, len(got), n, got)
			}
		}
		for _, e := range events {
			for _, rider := range []string{"three", "plain", "held"} {
				if n := countEvents(t, influx, rider, e); n != 1 {
					t.Errorf("%s InfluxDB has %d points with event %s of %s, want 1", when, n, e, rider)
				}
			}
		}
		if n := countEvents(t, influx, "late", "sos"); n != 3 {
			t.Errorf("%s InfluxDB has %d late points with event sos, want 3", when, n)
		}
	}
	for _, one := range pings {
		send([]string{one})
	}
	check("sent once")
	slices.Reverse(pings)
	send(pings)
	check("sent again in another order")
	p.kill()
	p = serve(t, dir, influx.URL(), args...)
	send(pings)
	check("sent again after a crash")
}

// The InfluxQL of docs/influxdb.md leaves late points out, and nothing else.
func TestLatePointsAreLeftOut(t *testing.T) {
	blocks := codeOf(t, "influxdb.md", "", "sql")
	if len(blocks) != 1 {
		t.Fatalf("docs/influxdb.md has %d blocks of SQL", len(blocks))
	}
	question := strings.ReplaceAll(blocks[0], "$timeFilter", "time > 0")
	for version, name := range map[int]string{1: "1.8", 2: "2.x"} {
		t.Run(name, func(t *testing.T) {
			influx := startInfluxWith(t, influxd.Config{Version: version})
			p := serve(t, t.TempDir(), influx.URL(), "--influx-token="+influx.Token(), "--influx-org="+influx.Org(), "--batch-wait=50ms")
			at := time.Now().Add(-time.Minute).UnixMilli()
			for i, north := range []int{0, 20, 1} { // the third is of the time of the first
				post(t, p.url, fmt.Appendf(nil, `{"rider_id":"r-1","ts":%d,"lat":41.%02d,"lon":-8,"event":"sos"}`, at+int64(i%2)*20_000, north))
			}
			p.settled()
			if n := countRows(t, influx, question); n != 2 {
				t.Errorf("%d points are on the line, want 2", n)
			}
			if n := countRows(t, influx, strings.Replace(question, `AND "late" = ''`, "", 1)); n != 3 {
				t.Errorf("%d points are there with the late one, want 3", n)
			}
		})
	}
}

// shown returns the pings of a rider that the reading API shows, page by page.
func shown(t *testing.T, base, rider string, limit int) (list []string) {
	t.Helper()
	params := url.Values{"limit": {fmt.Sprint(limit)}}
	end := time.Now().Add(patience)
	for from := ""; ; {
		if from != "" {
			params.Set("from", from)
		}
		resp, err := http.Get(base + "/v1/riders/" + rider + "/track?" + params.Encode())
		if err != nil {
			t.Fatal(err)
		}
		var page struct {
			Pings []struct {
				TS       int64
				Lat, Lon float64
				Event    string
			}
			Next    string
			Partial bool
		}
		err = json.NewDecoder(resp.Body).Decode(&page)
		if err := resp.Body.Close(); err != nil {
			t.Fatal(err)
		}
		if err != nil || resp.StatusCode != 200 || len(list) > 1000 || page.Next != "" && page.Next == from {
			t.Fatalf("page from %q: status %d, %v", from, resp.StatusCode, err)
		}
		if page.Partial && time.Now().Before(end) {
			t.Logf("the store does not answer for the page of %q from %q", rider, from)
			time.Sleep(20 * time.Millisecond)
			continue
		}
		for _, p := range page.Pings {
			list = append(list, fmt.Sprintf("%+v", p))
		}
		if from = page.Next; from == "" {
			break
		}
	}
	once := make(map[string]bool)
	for _, p := range list {
		once[p] = true
	}
	if len(once) != len(list) {
		t.Errorf("pings are shown twice: %v", list)
	}
	return slices.Collect(maps.Keys(once))
}

// countEvents asks InfluxDB itself.
func countEvents(t *testing.T, influx *influxd.Server, rider, event string) int {
	t.Helper()
	return countRows(t, influx, fmt.Sprintf(`SELECT event FROM location WHERE rider='%s' AND event='%s'`, rider, event))
}

// countRows asks InfluxDB a question in InfluxQL.
func countRows(t *testing.T, influx *influxd.Server, question string) (n int) {
	t.Helper()
	q := url.Values{"db": {"pingline"}, "q": {question}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, influx.URL()+"/query?"+q.Encode(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if token := influx.Token(); token != "" {
		req.Header.Set("Authorization", "Token "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var said struct {
		Results []struct {
			Series []struct{ Values [][]any }
			Error  string
		}
		Error string
	}
	if err := json.NewDecoder(resp.Body).Decode(&said); err != nil || said.Error != "" {
		t.Fatalf("InfluxDB says %d %q, %v", resp.StatusCode, said.Error, err)
	}
	for _, r := range said.Results {
		if r.Error != "" {
			t.Fatal(r.Error)
		}
		for _, s := range r.Series {
			n += len(s.Values)
		}
	}
	return n
}
