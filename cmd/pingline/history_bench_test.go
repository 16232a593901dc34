package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pingline"
	"pingline/internal/resharding"
	"pingline/sink/moving"
	"pingline/track"
)

// Load of BenchmarkIngestWhileHistoryMoves.
const (
	benchPings    = 50                    // of a request
	benchInterval = 10 * time.Millisecond // between requests: 5,000 pings/s
	benchSenders  = 8
)

// BenchmarkIngestWhileHistoryMoves sends 100 requests of 50 pings a second to a node, before and
// while a million rows of history move from its InfluxDB 1.8 into another, at the rate of --rate's
// default and as fast as it goes. An answer's time counts from when its request was due; ratio is
// that of the 99th percentiles. All run on one machine. With -short it is a fifth of the rows.
func BenchmarkIngestWhileHistoryMoves(b *testing.B) {
	for _, rate := range []float64{resharding.DefaultRate, 55_000, 0} {
		b.Run(fmt.Sprintf("rate=%.0f", rate), func(b *testing.B) {
			for b.Loop() {
				ingestWhileHistoryMoves(b, rate)
			}
		})
	}
}

func ingestWhileHistoryMoves(b *testing.B, rate float64) {
	past := 2000 // of each rider and day
	if testing.Short() {
		past /= 5
	}
	one, two := startInflux(b), startInflux(b)
	p := serve(b, b.TempDir(), "", append(slices.Clone(reshardFlags), "--shard=name=a,url="+one.URL())...)
	c := &travellers{t: b, readersAndSenders: readersAndSenders{from: time.Now().Add(-25 * time.Minute)}, url: p.url, riders: 250}
	for batch := range slices.Chunk(c.history(past), 10_000) {
		c.post(b.Context(), batch)
	}
	p.settled()
	ask := func(method, path string, body, into any) error {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		req, err := http.NewRequestWithContext(b.Context(), method, strings.TrimSuffix(p.ops, "/metrics")+path, bytes.NewReader(text))
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", path, resp.Status)
		}
		return json.NewDecoder(resp.Body).Decode(into)
	}
	began := time.Now()
	before := c.load(b, func() bool { return time.Since(began) > 10*time.Second })
	var plan resharding.ChangePlan
	err := ask(http.MethodPost, resharding.StatusPath+"/start", &resharding.ChangeRequest{Replace: []string{"a=name=b,url=" + two.URL()}, History: resharding.HistoryMove, Rate: &rate}, &plan)
	if err != nil {
		b.Fatal(err)
	}
	var h *moving.MoveStatus
	var first, last time.Time // of the copy
	var over atomic.Bool
	var looking sync.WaitGroup
	looking.Go(func() { // beside the load, whose answers do not wait for it
		for ; !over.Load(); time.Sleep(200 * time.Millisecond) {
			var list []resharding.ChangeStatus
			if err := ask(http.MethodGet, resharding.StatusPath, nil, &list); err != nil || len(list) == 0 {
				b.Errorf("%v, %d sets", err, len(list))
				over.Store(true)
				return
			}
			now := list[0].History
			if now != nil && now.Stage == moving.Copying && now.Rows > 0 {
				if h, last = now, time.Now(); first.IsZero() {
					first = last
				}
			}
			over.Store(now != nil && now.Stage != moving.Copying)
		}
	})
	during := c.load(b, over.Load)
	if looking.Wait(); h == nil {
		b.Fatal("it was over at once")
	}
	b.ReportMetric(float64(h.Rows)/last.Sub(first).Seconds(), "copied/s")
	for name, took := range map[string][]time.Duration{"before": before, "during": during} {
		b.ReportMetric(quantile(took, 0.5).Seconds()*1e3, "p50-ms-"+name)
		b.ReportMetric(quantile(took, 0.99).Seconds()*1e3, "p99-ms-"+name)
	}
	b.ReportMetric(quantile(during, 0.99).Seconds()/quantile(before, 0.99).Seconds(), "ratio")
	b.ReportMetric(0, "ns/op")
	b.Logf("%d requests before, %d during, %+v", len(before), len(during), *h)
}

// load sends requests at a pace until it is over, and returns how long after they were due they
// were answered.
func (c *travellers) load(b *testing.B, over func() bool) (took []time.Duration) {
	type request struct {
		due  time.Time
		body []byte
	}
	due := make(chan request, 1000)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: benchSenders}}
	defer client.CloseIdleConnections()
	var mu sync.Mutex
	var all sync.WaitGroup
	for range benchSenders {
		all.Go(func() {
			for r := range due {
				resp, err := client.Post(c.url+"/v1/pings", "application/json", bytes.NewReader(r.body))
				if err != nil {
					b.Error(err)
					continue
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					b.Error(resp.Status)
				}
				mu.Lock()
				took = append(took, time.Since(r.due))
				mu.Unlock()
			}
		})
	}
	var list []pingline.Ping
	for next := time.Now(); !over(); next = next.Add(benchInterval) {
		if len(list) < benchPings {
			list = append(list, c.now()...)
		}
		body := []byte{'['}
		for i := range list[:benchPings] {
			if i > 0 {
				body = append(body, ',')
			}
			body = track.AppendPing(body, &list[i])
		}
		list = list[benchPings:]
		time.Sleep(time.Until(next)) // a pace, no more
		due <- request{next, append(body, ']')}
	}
	close(due)
	all.Wait()
	return took
}
