package server

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pingline"
	"pingline/ingest"
	"pingline/partition"
	"pingline/query"
	"pingline/query/fleet"
	"pingline/query/history"
	"pingline/queue"
	"pingline/sink/store"
)

// totals is a store with a total for each window of 10 s.
type totals struct{ err error }

func (s *totals) PointsNamed(_ context.Context, name string, from, to int64, each func(*pingline.Point) error, tags ...pingline.Tag) error {
	if s.err != nil {
		return s.err
	}
	for at := (from + 9999) / 10_000 * 10_000; at < to; at += 10_000 {
		p := pingline.Point{Name: name, At: at, Tags: append([]pingline.Tag{{Key: "cell", Value: "8839220f09fffff"}}, tags...)}
		p.Fields = []pingline.PointField{pingline.Int("pings", 7), pingline.Int("riders", 3), pingline.Int("moving", 2), pingline.Int("waiting", 1)}
		if err := each(&p); err != nil {
			return err
		}
	}
	return nil
}

func TestThePast(t *testing.T) {
	s := new(totals)
	past := history.New(history.Config{Stores: []store.PointReader{s}, Resolutions: []int{8}, Windows: []time.Duration{10 * time.Second}})
	w, _ := testWriter(t, ingest.WriterConfig{Log: testLog(t, queue.Config{}), Overload: ingest.NewOverload(ingest.OverloadConfig{})})
	server, url := testServer(t, Config{Writer: w, Reader: query.Sources{
		Cells: func(partition.Box, int, int) ([]query.Activity, bool, error) { return nil, false, nil },
		Past:  past,
	}})
	type features struct {
		Features []struct{ Properties map[string]any }
	}
	a, status := get[features](t, url+"/v1/cells?bbox=-9,41,-8,42&at=1760000005000")
	if status != 200 || len(a.Features) != 1 || a.Features[0].Properties["from"] != 1760000000000. || a.Features[0].Properties["pings"] != 7. {
		t.Errorf("%d %+v", status, a)
	}
	if a, status := get[features](t, url+"/v1/cells?bbox=-9,41,-8,42"); status != 200 || len(a.Features) != 0 {
		t.Errorf("now: %d %+v", status, a)
	}
	h, status := get[history.Steps](t, url+"/v1/history?bbox=-9,41,-8,42&from=1760000000000&to=1760000060000&step=20s")
	if status != 200 || h.Res != 8 || h.WindowS != 10 || h.StepS != 20 || len(h.Steps) != 3 || h.Partial ||
		h.Steps[2] != (history.Step{From: 1760000040000, Pings: 14, Riders: 3, Moving: 2, Waiting: 1}) {
		t.Errorf("%d %+v", status, h)
	}
	for query, want := range map[string]string{
		"cells?bbox=-9,41,-8,42&at=noon":                               "at: ",
		"cells?bbox=-9,41,-8,42&at=1760000005000&res=7":                "res: resolution 7 is none of [8]",
		"history?bbox=1":                                               "bbox: ",
		"history?bbox=-9,41,-8,42&res=7":                               "res: resolution 7 is none of [8]",
		"history?bbox=-9,41,-8,42&step=2562047h":                       "step: more than 50000 windows of 10s",
		"history?bbox=-9,41,-8,42&step=5s":                             "step: steps of 5s, shorter than windows of 10s",
		"history?bbox=-9,41,-8,42&step=soon":                           "step: ",
		"history?bbox=-9,41,-8,42&step=1500ms":                         "step: ",
		"history?bbox=-9,41,-8,42&from=1&step=1m":                      "step: more than 1000 steps of 1m0s",
		"history?bbox=-9,41,-8,42&from=2030-01-01T00:00Z":              "from: ",
		"history?bbox=-9,41,-8,42&from=1760000005000&to=1760000005000": "from: 1760000005000 is not before to, 1760000005000",
	} {
		if a := send(t, "GET", url+"/v1/"+query, nil); a.status != 400 || !strings.Contains(a.body, want) {
			t.Errorf("%s: %d %s", query, a.status, a.body)
		}
	}
	s.err = errors.New("dead")
	for _, path := range []string{"/v1/cells?bbox=-9,41,-8,42&at=1760000005000", "/v1/history?bbox=-9,41,-8,42"} {
		if a := send(t, "GET", url+path, nil); a.status != 503 || !strings.Contains(a.body, "dead") {
			t.Errorf("%s with a dead store: %d %s", path, a.status, a.body)
		}
	}
	server.over.Force(pingline.MaxLevel, false, "a test")
	if a := send(t, "GET", url+"/v1/history?bbox=-9,41,-8,42", nil); a.status != 503 || !strings.Contains(a.body, "overloaded") {
		t.Errorf("overloaded: %d %s", a.status, a.body)
	}
}

// Riders of an earlier time are told as those of now are, with their age at that time.
func TestRidersOfThePast(t *testing.T) {
	var asked query.Then
	var seen query.Seen
	var err error
	w, _ := testWriter(t, ingest.WriterConfig{Log: testLog(t, queue.Config{}), Overload: ingest.NewOverload(ingest.OverloadConfig{})})
	server, url := testServer(t, Config{Writer: w, Reader: query.Sources{
		Riders: func(*fleet.InBox) (fleet.Riders, error) { return fleet.Riders{}, nil },
		Then: func(_ context.Context, q *query.Then) (query.Seen, error) {
			asked = *q
			return seen, err
		},
	}})
	const path = "/v1/riders?bbox=-9,41,-8,42&at=1760000005000"
	seen = query.Seen{Riders: fleet.Riders{At: 1760000005000, List: make([]pingline.Entry, 2), Partial: true}, Between: []bool{false, true}}
	for i, ms := range []int64{1760000005000 - 130_000, 1760000005000} {
		e := &seen.List[i]
		e.Rider, e.At = string(rune('a'+i)), ms
		if err := e.SetPosition(41.5, -8.5); err != nil {
			t.Fatal(err)
		}
	}
	const a = `"rider_id":"a","ts":1759999875000,"lat":41.5,"lon":-8.5,"age_s":130,"stale":true`
	const b = `"rider_id":"b","ts":1760000005000,"lat":41.5,"lon":-8.5,"age_s":0,"between":true`
	const end = `],"at":1760000005000,"stale_s":120,"partial":true}`
	if got := send(t, "GET", url+path, nil); got.status != 200 || got.body != `{"riders":[{`+a+`},{`+b+`}`+end || asked.Most != 10_000 || asked.At != 1760000005000 {
		t.Errorf("%d %s, asked %+v", got.status, got.body, asked)
	}
	const point = `{"type":"Feature","geometry":{"type":"Point","coordinates":[-8.5,41.5]},"properties":{`
	if got := send(t, "GET", url+path+"&limit=25000", nil, "Accept", mimeGeoJSON); got.status != 200 || asked.Most != 25_000 ||
		got.body != `{"type":"FeatureCollection","features":[`+point+a+`}},`+point+b+`}}`+end {
		t.Errorf("as GeoJSON: %d %s, asked %+v", got.status, got.body, asked)
	}
	for query, want := range map[string]string{
		"bbox=-9,41,-8,42&at=noon":                      "at: ",
		"bbox=1&at=1760000005000":                       "bbox: ",
		"bbox=-9,41,-8,42&at=1760000005000&limit=25001": "limit: ",
	} {
		if a := send(t, "GET", url+"/v1/riders?"+query, nil); a.status != 400 || !strings.Contains(a.body, want) {
			t.Errorf("%s: %d %s", query, a.status, a.body)
		}
	}
	err = fmt.Errorf("%w: the box has more than 10", query.ErrTooMany)
	if a := send(t, "GET", url+path, nil); a.status != 400 || !strings.Contains(a.body, "bbox: too many riders: the box has more than 10: take a smaller one") {
		t.Errorf("too many: %d %s", a.status, a.body)
	}
	err = errors.New("dead")
	if a := send(t, "GET", url+path, nil); a.status != 503 || !strings.Contains(a.body, "dead") {
		t.Errorf("with a dead store: %d %s", a.status, a.body)
	}
	server.over.Force(pingline.MaxLevel, false, "a test")
	if a := send(t, "GET", url+path, nil); a.status != 503 || !strings.Contains(a.body, "overloaded") {
		t.Errorf("overloaded: %d %s", a.status, a.body)
	}
	until(t, "all is given back", func() bool { return server.reads.Bytes.Used() == 0 && server.reads.Slots.Used() == 0 })
}
