package ingest

import (
	"math"
	"testing"

	"pingline"
)

func TestTimeOfAReadyLine(t *testing.T) {
	for line, want := range map[string]int64{
		"location,rider=r lat=1,lon=2 1760000000123":         1760000000123,
		`location,rider=r event="a b",lat=1 -5`:              -5,
		"location,rider=r lat=1,lon=2":                       math.MinInt64,
		"location,rider=r lat=1,lon=2 99999999999999999999 ": math.MinInt64,
	} {
		if got := storedAt(&pingline.Entry{Kind: pingline.Replayed, Line: line}); got != want {
			t.Errorf("%s: %d, want %d", line, got, want)
		}
	}
}
