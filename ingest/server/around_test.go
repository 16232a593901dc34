package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"pingline"
	"pingline/dedupe"
	"pingline/ingest"
	"pingline/query"
	"pingline/query/fleet"
	"pingline/queue"
)

// seenAnswer is an answer of /v1/riders.
type seenAnswer struct {
	Riders []seenRider
	Next   string
	At     int64
	StaleS int64 `json:"stale_s"`
}

type seenRider struct {
	RiderID  string `json:"rider_id"`
	DeviceID string `json:"device_id"`
	TS       int64
	Lat, Lon float64
	Speed    *float64
	AgeS     int64 `json:"age_s"`
	Stale    bool
}

// fleetServer runs a server over a writer and its fleet.
func fleetServer(t *testing.T, cfg Config) (*Server, string) {
	t.Helper()
	cfg.Writer, _ = testWriter(t, ingest.WriterConfig{Log: testLog(t, queue.Config{}), Overload: ingest.NewOverload(ingest.OverloadConfig{}), Bound: dedupe.Bound{MaxError: 10}})
	cfg.Reader = query.Sources{Riders: fleet.New(fleet.Config{Newest: cfg.Writer.NewestPings, MaxRiders: 1000}).Riders}
	return testServer(t, cfg)
}

func TestRidersInABox(t *testing.T) {
	s, at := fleetServer(t, Config{})
	now := time.Now().UnixMilli()
	var body []string
	for i := range 25 {
		body = append(body, fmt.Sprintf(`{"rider_id":"r %d","device_id":"phone","ts":%d,"lat":%v,"lon":-8.5,"speed":3}`, i, now-int64(i)*10_000, 41+float64(i)/100))
	}
	if a := send(t, "POST", at+"/v1/pings", []byte("["+strings.Join(body, ",")+"]")); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	seen, cursor := map[string]seenRider{}, ""
	for pages := 1; ; pages++ {
		a, status := get[seenAnswer](t, at+"/v1/riders?bbox=-9,41,-8,41.195&limit=7&cursor="+url.QueryEscape(cursor))
		if status != http.StatusOK || len(a.Riders) > 7 || a.StaleS != 120 || a.At < now {
			t.Fatalf("%d %+v", status, a)
		}
		for _, r := range a.Riders {
			seen[r.RiderID] = r
		}
		if cursor = a.Next; cursor == "" {
			if len(seen) != 20 || pages != 3 {
				t.Errorf("%d riders on %d pages", len(seen), pages)
			}
			break
		}
	}
	for i := range 20 {
		r, there := seen[fmt.Sprint("r ", i)]
		if !there || r.DeviceID != "phone" || r.TS != now-int64(i)*10_000 || r.Lon != -8.5 || r.Speed == nil || *r.Speed != 3 ||
			r.AgeS < int64(i)*10 || r.Stale != (r.AgeS >= 120) {
			t.Errorf("rider %d is %+v, %v", i, r, there)
		}
	}
	if a, _ := get[seenAnswer](t, at+"/v1/riders?bbox=-9,41,-8,42&since="+fmt.Sprint(now-45_000)); len(a.Riders) != 5 {
		t.Errorf("%d riders since 45 s ago", len(a.Riders))
	}
	said := send(t, "GET", at+"/v1/riders?bbox=-9,41,-8,41.005", nil, "Accept", mimeGeoJSON)
	var g struct {
		Type     string
		Features []struct {
			Type     string
			Geometry struct {
				Type        string
				Coordinates [2]float64
			}
			Properties seenRider
		}
	}
	if err := json.Unmarshal([]byte(said.body), &g); err != nil || said.header.Get("Content-Type") != mimeGeoJSON || len(g.Features) != 1 ||
		g.Features[0].Geometry.Coordinates != [2]float64{-8.5, 41} || g.Features[0].Properties.RiderID != "r 0" {
		t.Errorf("GeoJSON: %s %v", said.body, err)
	}
	for query, want := range map[string]string{
		"":                                  "bbox: ",
		"?bbox=1,2,3":                       "bbox: ",
		"?bbox=-9,41,-8,42&limit=0":         "limit: ",
		"?bbox=-9,41,-8,42&limit=10001":     "limit: ",
		"?bbox=-9,41,-8,42&since=yesterday": "since: ",
		"?bbox=-9,41,-8,42&cursor=1.2":      "cursor: the cursor is none of ours, or from before a restart: begin without it",
	} {
		if a := send(t, "GET", at+"/v1/riders"+query, nil); a.status != 400 || !strings.Contains(a.body, want) {
			t.Errorf("%s: %d %s", query, a.status, a.body)
		}
	}
	s.over.Force(pingline.MaxLevel, false, "a test")
	if a := send(t, "GET", at+"/v1/riders?bbox=-9,41,-8,42", nil); a.status != 503 {
		t.Errorf("overloaded: %d %s", a.status, a.body)
	}
	if !slices.Contains(s.routes, "GET /v1/riders") {
		t.Errorf("routes: %v", s.routes)
	}
}
