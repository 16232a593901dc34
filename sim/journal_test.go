package sim

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pingline/sim/fault"
)

// recorder is a way to an ingester that accepts all, and keeps what came.
type recorder struct {
	mu     sync.Mutex
	bodies []string // hashes
	stall  func()   // before an answer; nil: none
}

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	hash := sha256.Sum256(body)
	r.mu.Lock()
	r.bodies = append(r.bodies, hex.EncodeToString(hash[:]))
	r.mu.Unlock()
	if r.stall != nil {
		r.stall()
	}
	answer := fmt.Sprintf(`{"accepted":%d}`, bytes.Count(body, []byte(`"rider_id"`)))
	head := http.Header{"Pingline-Shed-Level": {"2"}}
	return &http.Response{StatusCode: 200, Header: head, Body: io.NopCloser(strings.NewReader(answer)), Request: req}, nil
}

// hash returns a hash of all bodies that does not depend on the order in which the
// connections took turns.
func (r *recorder) hash() string {
	slices.Sort(r.bodies)
	sum := sha256.Sum256([]byte(strings.Join(r.bodies, "")))
	return hex.EncodeToString(sum[:8])
}

// Two runs of one seed that start at the same time send the same bytes, however
// slow the ingester is; those of another seed differ. synctest's clock starts at
// midnight of 2000-01-01 UTC.
func TestSameSeedSameBytes(t *testing.T) {
	send := func(t *testing.T, cfg LoadConfig, seed uint64, stall time.Duration) (hash string) {
		synctest.Test(t, func(t *testing.T) {
			r := new(recorder)
			if stall > 0 {
				r.stall = func() { time.Sleep(stall) }
			}
			cfg.Phones, cfg.Seed = newCity(t, CityConfig{Seed: seed, Riders: 300, Interval: time.Second}), seed
			cfg.Rate, cfg.Connections, cfg.For, cfg.Transport = 300, 4, 20*time.Second, r
			cfg.Grace = time.Hour
			run(t, newLoad(t, cfg))
			hash = r.hash()
		})
		return hash
	}
	for _, tt := range []struct {
		name   string
		cfg    LoadConfig
		stall  time.Duration // of a slow ingester
		golden string
	}{
		{"batches", LoadConfig{Batch: 50}, 700 * time.Millisecond, "9f4eabd64f738549"},
		{"faults", LoadConfig{Batch: 50, Faults: fault.Spec{
			fault.Reorder: 0.1, fault.Offline: 0.1, fault.Skew: 0.1, fault.Jump: 0.1, fault.Frozen: 0.1, fault.Zero: 0.1, fault.Teleport: 0.1,
			fault.Accuracy: 0.1, fault.Malformed: 0.1, fault.Truncated: 0.1, fault.Resend: 0.1, fault.Double: 0.1, fault.Cut: 0.1,
		}}, 700 * time.Millisecond, "526b39d730a6dde7"},
		{"like phones", LoadConfig{LikePhones: true}, 10 * time.Millisecond, "9717fc489ead40e1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			first := send(t, tt.cfg, 7, 0)
			if first != tt.golden {
				t.Errorf("the bytes hash to %s, as ever it was %s", first, tt.golden)
			}
			if again := send(t, tt.cfg, 7, 0); again != first {
				t.Errorf("a second run sends other bytes: %s, not %s", again, first)
			}
			if slow := send(t, tt.cfg, 7, tt.stall); slow != first {
				t.Errorf("to a slow ingester it sends other bytes: %s, not %s", slow, first)
			}
			if other := send(t, tt.cfg, 8, 0); other == first {
				t.Error("another seed sends the same bytes")
			}
		})
	}
}

// The open loop holds its rate when the server stalls for 5 s, and its latencies
// show the stall: each request that was due in it counts from when it was due.
func TestLatencyShowsAStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		stalled := start.Add(10 * time.Second)
		r := &recorder{stall: func() {
			if d := time.Since(stalled); d >= 0 && d < 5*time.Second {
				time.Sleep(5*time.Second - d)
			}
			time.Sleep(time.Millisecond)
		}}
		l := newLoad(t, LoadConfig{Rate: 1000, Batch: 10, Connections: 4, For: 30 * time.Second, Transport: r})
		c := run(t, l)
		if c.Sent != 30_000 || c.Answered() != c.Sent || c.Skipped != 0 {
			t.Errorf("%d pings sent and %d skipped of 30,000; %d answered", c.Sent, c.Skipped, c.Answered())
		}
		// A sixth of the requests was due in the stall: p50 is that of the others.
		q := l.Latency()
		if q.P50 > 20*time.Millisecond || q.P99 < 4500*time.Millisecond || q.P999 < 4900*time.Millisecond || q.Max > 5100*time.Millisecond {
			t.Errorf("a stall of 5 s is seen as %+v", q)
		}
		moments := l.Moments()
		for i, m := range moments[:30] {
			if m.Due != 1000 {
				t.Errorf("second %d: %d pings due", i, m.Due)
			}
			if in := i >= 11 && i < 15; in != (m.Requests == 0) || in != (m.Latency.Max == 0) || m.Requests > 0 && m.Shed != 2 {
				t.Errorf("second %d: %+v", i, m)
			}
		}
		if m := moments[15]; m.Sent < 5000 || m.Latency.Max < 4*time.Second || m.Verdicts[1] < 5000 {
			t.Errorf("the second after the stall: %+v", m)
		}
	})
}

// Half of the phones send each ping by itself, the others collect up to a dozen;
// all of a request are one phone's.
func TestUploadsOfPhones(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sizes := map[string]map[int]int{}
		_, transport := serve(t, func(_ int, pings []wirePing) mishap {
			who := pings[0].Rider + pings[0].Device
			for _, p := range pings {
				if p.Rider+p.Device != who {
					t.Errorf("a request has pings of %s and %s", who, p.Rider+p.Device)
				}
			}
			if sizes[who] == nil {
				sizes[who] = map[int]int{}
			}
			sizes[who][len(pings)]++
			return mishap{}
		})
		run(t, newLoad(t, LoadConfig{
			Phones: newCity(t, CityConfig{Riders: 200, Interval: time.Second}),
			Rate:   200, Connections: 3, For: time.Minute, LikePhones: true, Transport: transport,
		}))
		single, most := 0, 0
		for _, n := range sizes {
			if len(n) == 1 && n[1] > 0 {
				single++
			}
			for size := range n {
				most = max(most, size)
			}
		}
		if len(sizes) != 200 || single < 80 || single > 120 || most != 12 {
			t.Errorf("%d phones, %d of them send single pings, the most are %d", len(sizes), single, most)
		}
	})
}
