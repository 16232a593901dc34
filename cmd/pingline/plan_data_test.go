package main

import (
	"math"
	"path/filepath"
	"testing"
	"time"
)

// The table of what is kept, on the tracks it was measured on: of each interval
// it has the set of which more is kept.
func TestKeptIsMeasured(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(recordedTracks, "*.ndjson*"))
	if err != nil || len(files) == 0 {
		t.Skip("recorded tracks are not here: ../shared/data/gps is absent")
	}
	for _, interval := range []time.Duration{1, 5, 10, 15, 20, 30, 60} {
		interval *= time.Second
		want := plans(t, "--riders=1000", "--interval="+interval.String()).Kept
		most := 0.0
		for _, name := range []string{"dev_1hz_mixed", "dev_gotrack_5s_bus20s"} {
			if name == "dev_gotrack_5s_bus20s" && interval < 5*time.Second {
				continue // they send too rarely
			}
			got := plans(t, "--riders=1000", "--interval="+interval.String(), "--track="+filepath.Join(recordedTracks, name+".ndjson.gz"))
			t.Logf("%v: %.3f of %s", interval, got.Kept, name)
			most = math.Max(most, got.Kept)
		}
		if most > want+0.005 || most < want-0.01 {
			t.Errorf("of a ping in %v %.3f is kept, the table has %.3f", interval, most, want)
		}
	}
}
