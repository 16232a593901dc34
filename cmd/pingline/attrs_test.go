package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// What an attribute was is known after a kill: a value that did not change keeps no ping, a
// changed one does, and each stored ping has the attributes that it was sent with, also a ping
// that was held when the node was killed.
func TestAttributesThroughKills(t *testing.T) {
	influx := startInflux(t)
	dir := t.TempDir()
	p := serve(t, dir, influx.URL(), "--keep-on-change=door")
	start := time.Now().Add(-time.Minute)
	sent := 0
	post := func(second int, attrs string) string {
		t.Helper()
		at := start.Add(time.Duration(second) * time.Second).UnixMilli()
		body := fmt.Sprintf(`{"rider_id":"r-1","ts":%d,"lat":1,"lon":%.5f,"attrs":%s}`, at, 2+float64(second)/1e4, attrs)
		resp, err := http.Post(p.url+"/v1/pings?verdicts=1", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		_, verdict, _ := strings.Cut(string(text), `"verdicts":["`)
		verdict, _, _ = strings.Cut(verdict, `"`)
		sent++
		return verdict
	}
	for i, tt := range []struct{ attrs, want string }{
		{`{"door":"closed"}`, "accepted"},
		{`{"door":"closed","fuel":0.5}`, "held"},
		{`{"door":"closed","fuel":0.4}`, "held"}, // the ping before is dropped
		{"", ""},
		{`{"door":"closed","fuel":0.3}`, "held"},
		{`{"door":"open","fuel":0.3}`, "accepted"},
		{`{"fuel":0.2}`, "held"},
		{"", ""},
		{`{"door":"open","fuel":0.125}`, "held"},
	} {
		if tt.attrs == "" {
			p.kill()
			p = serve(t, dir, influx.URL(), "--keep-on-change=door")
			continue
		}
		if got := post(i, tt.attrs); got != tt.want {
			t.Errorf("ping %d with %s is %q, want %s", i, tt.attrs, got, tt.want)
		}
	}
	track := func() string {
		resp, err := http.Get(p.url + "/v1/riders/r-1/track?" + fmt.Sprintf("from=%d&to=%d", start.Add(-time.Second).UnixMilli(), start.Add(time.Minute).UnixMilli()))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if text := track(); !strings.Contains(text, `"attrs":{"door":"open","fuel":0.125}`) {
		t.Errorf("the held ping has not its attributes: %s", text)
	}
	p.terminate() // held pings are stored
	p = serve(t, dir, influx.URL(), "--keep-on-change=door")
	p.settled()
	text := track()
	for _, want := range []string{`"attrs":{"door":"closed"}`, `"attrs":{"door":"open","fuel":0.3}`, `"attrs":{"door":"open","fuel":0.125}`} {
		if !strings.Contains(text, want) {
			t.Errorf("no stored ping has %s: %s", want, text)
		}
	}
	if n := strings.Count(text, `"ts":`); n != 3 {
		t.Errorf("%d of %d pings are stored, want 3: %s", n, sent, text)
	}
}
