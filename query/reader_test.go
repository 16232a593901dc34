package query

import (
	"context"
	"errors"
	"strconv"
	"testing"

	"pingline"
	"pingline/dedupe"
	"pingline/ingest"
	"pingline/sink/store"
)

// A rider may have had any number of devices.
func TestWithKnownOfManyDevices(t *testing.T) {
	const n = 300_000
	l := &ingest.RiderState{Rider: "r"}
	stored := make([]pingline.Entry, n)
	for i := range n {
		stored[i].Device = strconv.Itoa(i)
		k := dedupe.NewestKnown{Device: strconv.Itoa(i + n/2)}
		k.Fix.At = 1
		l.Tracks = append(l.Tracks, k)
	}
	list := withKnown(stored, l)
	if len(list) != n+n/2 || list[0].At != 0 || list[n-1].At != 1 || list[n].Device != strconv.Itoa(n) {
		t.Errorf("%d points of %d devices", len(list), n+n/2)
	}
}

// No answer is silent about a source that failed: with stores or memory away the
// rest is told as partial, and with neither there is an error.
func TestReaderWithoutASource(t *testing.T) {
	away := errors.New("connection refused")
	known := &ingest.RiderState{Rider: "r", Tracks: []dedupe.NewestKnown{{Device: "memory"}}}
	for _, tt := range []struct {
		name                string
		storeErr, memoryErr error
		known               *ingest.RiderState
		want                string // devices
		partial             bool
	}{
		{"both there", nil, nil, known, "memory store", false},
		{"stores away", away, nil, known, "memory", true},
		{"memory away", nil, away, nil, "store", true},
		{"stores away, and nothing known", away, nil, &ingest.RiderState{Rider: "r"}, "error", false},
		{"both away", away, away, nil, "error", false},
	} {
		r := Reader{Sources{
			Latest: func(context.Context, string) (Points, error) {
				if tt.storeErr != nil {
					return Points{}, tt.storeErr
				}
				return Points{List: []pingline.Entry{{Ping: pingline.Ping{Device: "store"}}}}, nil
			},
			Track: func(context.Context, store.Query) (Points, error) { return Points{Partial: tt.storeErr != nil}, nil },
			State: func(string) (*ingest.RiderState, error) { return tt.known, tt.memoryErr },
			Line: func(string, string, int64, int64, int) (*ingest.RiderState, error) {
				return tt.known, tt.memoryErr
			},
		}}
		got := ""
		points, err := r.Newest(t.Context(), "r")
		for _, e := range points.List {
			if got != "" {
				got += " "
			}
			got += e.Device
		}
		if err != nil {
			got = "error"
		}
		if got != tt.want || err == nil && points.Partial != tt.partial {
			t.Errorf("%s: %s, partial %v, want %s, %v", tt.name, got, points.Partial, tt.want, tt.partial)
		}
		if _, complete, err := r.Page(t.Context(), store.Query{Rider: "r"}); err != nil || complete != 0 && tt.partial {
			t.Errorf("%s: a page is complete to %d, %v", tt.name, complete, err)
		}
	}
}
