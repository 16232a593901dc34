package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// docs/clients.md sends a track that a phone has recorded, and gets it back as GeoJSON:
// a line from its first fix to its last. A copy of a fix changes nothing, a fix of 1970
// is rejected, and the file is gone when the server has it.
func TestDocumentedRecordedTrack(t *testing.T) {
	for _, tool := range []string{"curl", "sh"} {
		if !installed(tool) {
			t.Skipf("%s is not installed", tool)
		}
	}
	blocks := codeOf(t, "clients.md", "A recorded track", "sh")
	if len(blocks) != 1 {
		t.Fatalf("docs/clients.md has %d blocks under A recorded track, want 1", len(blocks))
	}
	dir, begin := t.TempDir(), time.Now().Add(-50*time.Hour).Truncate(time.Second).UTC()
	var gpx strings.Builder
	gpx.WriteString(`<?xml version="1.0"?><gpx xmlns="http://www.topografix.com/GPX/1/1"><trk><name>Morning walk</name><trkseg>` + "\n")
	fix := func(i int, at time.Time) {
		fmt.Fprintf(&gpx, `<trkpt lat="%.6f" lon="-8.6291"><ele>80.2</ele><time>%s</time></trkpt>`+"\n", 41.1578+float64(i)*2e-5, at.Format(time.RFC3339))
	}
	for i := range 600 {
		at := begin.Add(time.Duration(i) * time.Second)
		if i == 333 {
			at = time.Unix(333, 0).UTC()
		}
		fix(i, at)
		if i == 50 || i == 400 {
			fix(i, at)
		}
	}
	gpx.WriteString("</trkseg></trk></gpx>\n")
	writeIn(t, dir, "walk.gpx", gpx.String())
	writeIn(t, dir, "send.sh", codeOf(t, "clients.md", "curl", "sh")[0])
	p := serve(t, t.TempDir(), startInflux(t).URL(), "--batch-wait=50ms")
	program := fmt.Sprintf("pingline() { %s=1 '%s' \"$@\" >&2; }\nPINGS_URL=%s\nexport PINGS_URL\n", asProgram, os.Args[0], p.url)
	answer := runIn(t, dir, "sh", "-c", program+blocks[0])
	var track struct {
		Features []struct {
			Geometry struct {
				Type        string
				Coordinates [][2]float64
			}
			Properties struct{ Times []int64 }
		}
	}
	if err := json.Unmarshal([]byte(answer), &track); err != nil || len(track.Features) != 1 || track.Features[0].Geometry.Type != "LineString" {
		t.Fatalf("%v: %s", err, answer)
	}
	line, times := track.Features[0].Geometry.Coordinates, track.Features[0].Properties.Times
	if n := len(line); n < 2 || n > 100 || line[0] != [2]float64{-8.6291, 41.1578} || line[n-1] != [2]float64{-8.6291, 41.16978} {
		t.Errorf("the line is %v", line)
	}
	if !slices.IsSorted(times) || times[0] != begin.UnixMilli() || times[len(times)-1] != begin.Add(599*time.Second).UnixMilli() {
		t.Errorf("times %v from %d on", times, begin.UnixMilli())
	}
	if _, err := os.Stat(dir + "/walk.ndjson"); !os.IsNotExist(err) {
		t.Errorf("walk.ndjson is still there: %v", err)
	}
}
