package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"
	"time"

	"pingline/sim"
)

// BenchmarkRead reads back while a city writes at full rate: the newest ping of a
// rider, a rider's track, and the cells of the city.
func BenchmarkRead(b *testing.B) {
	for _, shards := range []int{1, 4} {
		for _, riders := range []int{1000, 100_000} {
			b.Run(fmt.Sprintf("shards=%d/riders=%d", shards, riders), func(b *testing.B) {
				flags := []string{"--rider-rate=0"}
				for i := range shards {
					flags = append(flags, fmt.Sprintf("--shard=name=s%d,url=%s", i, startInflux(b).URL()))
				}
				p := serve(b, b.TempDir(), "", flags...)
				const rate = 20_000
				interval := time.Duration(float64(riders) / rate * float64(time.Second))
				tr := driveCity(b, p.url, rate, sim.CityConfig{Seed: 7, Riders: riders, Interval: interval})
				tr.more(10 * rate) // so that there is something to read
				rng := rand.New(rand.NewPCG(1, 2))
				for name, path := range map[string]func() string{
					"latest": func() string { return fmt.Sprintf("riders/r-%06d", rng.IntN(riders)) },
					"track":  func() string { return fmt.Sprintf("riders/r-%06d/track", rng.IntN(riders)) },
					"cells":  func() string { return "cells?bbox=-9,41,-8,42" },
				} {
					b.Run(name, func(b *testing.B) { benchmarkGet(b, p.url+"/v1/", path) })
				}
				tr.stop()
			})
		}
	}
}

// benchmarkGet reports how long gets take: half of them, and all but one of a
// hundred, are faster.
func benchmarkGet(b *testing.B, url string, path func() string) {
	var took []time.Duration
	bytes := int64(0)
	for b.Loop() {
		began := time.Now()
		resp, err := http.Get(url + path())
		if err != nil {
			b.Fatal(err)
		}
		n, err := io.Copy(io.Discard, resp.Body)
		if resp.Body.Close(); err != nil {
			b.Fatal(err)
		}
		if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusNotFound { // not every rider has sent
			b.Fatalf("%s: %s", resp.Request.URL, resp.Status)
		}
		bytes += n
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
	b.ReportMetric(float64(bytes)/float64(len(took)), "bytes/answer")
}
