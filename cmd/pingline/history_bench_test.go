package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"pingline/internal/resharding"
	"pingline/sink/moving"
	"pingline/track"
)

// BenchmarkIngestWhileHistoryMoves sends requests of 50 pings to a node, one after the other, before and
// while history moves from its InfluxDB 1.8 into another, at the rate of --rate's default: ratio is
// that of the 99th percentiles of how long an answer takes. All run on one machine.
func BenchmarkIngestWhileHistoryMoves(b *testing.B) {
	past := 4000 // times 60
	if testing.Short() {
		past /= 5
	}
	for b.Loop() {
		one, two := startInflux(b), startInflux(b)
		p := serve(b, b.TempDir(), "", append(slices.Clone(reshardFlags), "--shard=name=a,url="+one.URL())...)
		c := &travellers{t: b, readersAndSenders: readersAndSenders{from: time.Now().Add(-25 * time.Minute)}, url: p.url, riders: 30}
		for batch := range slices.Chunk(c.history(past), 2000) {
			c.post(b.Context(), batch)
		}
		p.settled()
		ask := func(method, path string, body, into any) {
			text, err := json.Marshal(body)
			if err != nil {
				b.Fatal(err)
			}
			req, err := http.NewRequestWithContext(b.Context(), method, strings.TrimSuffix(p.ops, "/metrics")+path, bytes.NewReader(text))
			if err != nil {
				b.Fatal(err)
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				b.Fatal(err)
			}
			defer resp.Body.Close()
			if err := json.NewDecoder(resp.Body).Decode(into); err != nil || resp.StatusCode != http.StatusOK {
				b.Fatalf("%s: %s, %v", path, resp.Status, err)
			}
		}
		measure := func(until func() bool) (p99 time.Duration) {
			var took []time.Duration
			for !until() {
				list := slices.Concat(c.now(), c.now())[:50]
				body := []byte{'['}
				for i := range list {
					if i > 0 {
						body = append(body, ',')
					}
					body = track.AppendPing(body, &list[i])
				}
				began := time.Now()
				resp, err := http.Post(p.url+"/v1/pings", "application/json", bytes.NewReader(append(body, ']')))
				if err != nil {
					b.Fatal(err)
				}
				_ = resp.Body.Close()
				took = append(took, time.Since(began))
			}
			return quantile(took, 0.99)
		}
		began := time.Now()
		before := measure(func() bool { return time.Since(began) > 5*time.Second })
		var plan resharding.ChangePlan
		ask(http.MethodPost, resharding.StatusPath+"/start", &resharding.ChangeRequest{Replace: []string{"a=name=b,url=" + two.URL()}, History: resharding.HistoryMove}, &plan)
		began = time.Now()
		var h *moving.MoveStatus
		looked := time.Time{}
		during := measure(func() bool {
			if time.Since(looked) < 100*time.Millisecond {
				return false
			}
			looked = time.Now()
			var list []resharding.ChangeStatus
			if ask(http.MethodGet, resharding.StatusPath, nil, &list); list[0].History == nil {
				return false
			}
			if now := list[0].History; now.Stage == moving.Copying {
				h = now
				return false
			}
			return true
		})
		if h == nil {
			b.Fatal("it was over at once")
		}
		b.ReportMetric(float64(h.Rows)/time.Since(began).Seconds(), "copied/s")
		b.ReportMetric(before.Seconds()*1e3, "p99-ms-before")
		b.ReportMetric(during.Seconds()*1e3, "p99-ms-during")
		b.ReportMetric(during.Seconds()/before.Seconds(), "ratio")
		b.ReportMetric(0, "ns/op")
		b.Logf("%+v", *h)
	}
}
