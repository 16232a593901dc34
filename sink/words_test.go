package sink

import (
	"testing"

	"pingline/sink/route"
)

// The words for waiting entries agree with their number.
func TestWhatWaitsInWords(t *testing.T) {
	for _, tt := range []struct {
		pings, own uint64
		want       string
	}{
		{0, 0, "0 pings wait"}, {1, 0, "1 ping waits"}, {2, 0, "2 pings wait"},
		{0, 1, "no ping waits, but 1 line of our own"}, {1, 1, "1 ping waits, and 1 line of our own"}, {5, 12, "5 pings wait, and 12 lines of our own"},
	} {
		s := Stats{Lanes: []LaneStats{{Lane: route.Live.String(), Queued: tt.pings}, {Lane: route.Own.String(), Queued: tt.own}}}
		if got := s.waits(); got != tt.want {
			t.Errorf("%d and %d: %q, want %q", tt.pings, tt.own, got, tt.want)
		}
	}
	if got, want := asideNote("a", 1), "shard a: 1 line of our own was set aside as dead letters"; len(got) < len(want) || got[:len(want)] != want {
		t.Errorf("%q, want %q", got, want)
	}
}
