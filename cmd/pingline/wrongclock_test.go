package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"pingline/internal/influxd"
)

// With --wrong-clock correct the pings of a phone whose clock is a year behind are in
// the track, marked, sent twice and over a crash; a track read while InfluxDB is dead
// has what waits. Without the flag they are refused.
func TestWrongClockInATrack(t *testing.T) {
	for version, name := range map[int]string{1: "1.8", 2: "2.x"} {
		t.Run(name, func(t *testing.T) { testWrongClock(t, startInfluxWith(t, influxd.Config{Version: version})) })
	}
}

func testWrongClock(t *testing.T, influx *influxd.Server) {
	dir := t.TempDir()
	args := []string{"--influx-token=" + influx.Token(), "--influx-org=" + influx.Org(), "--batch-wait=50ms", "--wrong-clock=correct"}
	p := serve(t, dir, influx.URL(), args...)
	year := (365 * 24 * time.Hour).Milliseconds()
	now := time.Now().UnixMilli()
	body := fmt.Sprintf(`[{"rider_id":"r","ts":%d,"lat":41.2,"lon":-8},{"rider_id":"r","ts":%d,"lat":41.1,"lon":-8}]`, now-year, now-year-60_000)
	for range 2 {
		post(t, p.url, []byte(body))
	}
	type track struct {
		Pings []struct {
			TS            int64
			Late, Waiting bool
			Clock         string
		}
		Partial    bool
		MemoryOnly bool `json:"memory_only"`
	}
	read := func() (got track, status int) {
		t.Helper()
		resp, err := http.Get(p.url + "/v1/riders/r/track")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
			t.Fatal(err)
		}
		return got, resp.StatusCode
	}
	check := func(when string) {
		t.Helper()
		p.settled()
		got, _ := read()
		if len(got.Pings) != 2 || got.Pings[1].TS-got.Pings[0].TS != 60_000 || got.Pings[1].TS < now || got.MemoryOnly {
			t.Fatalf("%s: %+v", when, got)
		}
		for _, point := range got.Pings {
			if !point.Late || point.Clock != "corrected" {
				t.Errorf("%s: %+v", when, point)
			}
		}
	}
	check("stored")
	p.kill()
	p = serve(t, dir, influx.URL(), args...)
	check("after a crash")

	influx.Kill()
	post(t, p.url, fmt.Appendf(nil, `{"rider_id":"r","ts":%d,"lat":41.3,"lon":-8}`, time.Now().UnixMilli()))
	if got, status := read(); status != http.StatusOK || !got.MemoryOnly || !got.Partial || len(got.Pings) != 1 || !got.Pings[0].Waiting || got.Pings[0].Late {
		t.Errorf("without InfluxDB: status %d, %+v", status, got)
	}
}
