//go:build !race

package server

import (
	"fmt"
	"path/filepath"
	"testing"

	"pingline/dedupe"
	"pingline/ingest"
	"pingline/ingest/auth"
	"pingline/ingest/privacy"
	"pingline/queue"
)

// A request allocates hardly more with a thousand pings than with one: a ping allocates
// nothing on its way from the socket to the log. Beside its commit, which it has for
// itself here, a request takes 2 to 4 allocations.
func TestPingsAllocateNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pseudonyms")
	if err := privacy.MakeKey(path); err != nil {
		t.Fatal(err)
	}
	keys, secrets := keysOf(t, keyFor("fleet", "write", "r-*"))
	gate := gateOf(t, keys, auth.Config{})
	t.Run("of a key's riders", func(t *testing.T) {
		pingsAllocateNothing(t, doorOf(t, privacy.DoorSettings{}), gate, "Authorization: Bearer "+secrets["fleet"]+"\r\n")
	})
	for name, door := range map[string]privacy.DoorSettings{
		"as they are":               {},
		"of pseudonyms, near zones": {Zones: []string{"41.15,-8.61,500", "-89,0,100000"}, Pings: "centre", Keys: path},
	} {
		t.Run(name, func(t *testing.T) { pingsAllocateNothing(t, doorOf(t, door), nil, "") })
	}
}

func pingsAllocateNothing(t *testing.T, door *privacy.Door, gate *auth.Gate, header string) {
	log := testLog(t, queue.Config{})
	w, _ := testWriter(t, ingest.WriterConfig{Log: log, Bound: dedupe.Bound{MaxError: 10, AccuracyCap: 50}})
	if *overTLS {
		t.Skip("its client speaks plain HTTP, and TLS allocates by itself")
	}
	s, _ := testServer(t, Config{Gate: gate, Door: door, Writer: w, RiderRate: 1e6, RiderBurst: 1e9})
	other := testLog(t, queue.Config{})
	steps := map[string]func() error{"commit": func() error {
		_, err := other.Append(t.Context(), make([]byte, 100), queue.Totals{}, false)
		return err
	}}
	for _, pings := range []int{1, 100, 1000} {
		c := newClient(t, s.Addr().String(), pings, pings, header)
		defer c.conn.Close()
		steps[fmt.Sprint(pings)] = c.request
	}
	// Goroutines beside it may allocate as well: the least of many looks has least of that.
	least := make(map[string]float64)
	for look := 1; ; look++ {
		for name, step := range steps {
			n := testing.AllocsPerRun(20, func() {
				if err := step(); err != nil {
					t.Fatal(err)
				}
			})
			if old, seen := least[name]; !seen || n < old {
				least[name] = n
			}
		}
		// A collection empties pools, and lists grow now and then: not with each ping.
		if look >= 5 && least["1000"] <= least["100"]+9 && least["100"] <= least["1"]+9 && least["1"] <= least["commit"]+4 {
			return
		}
		if look == 200 {
			t.Fatalf("allocations of an append to the log, and of requests of so many pings: %v", least)
		}
	}
}
