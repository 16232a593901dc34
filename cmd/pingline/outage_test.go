package main

import (
	"context"
	"fmt"
	"testing"
	"time"

	"pingline/sim"
)

// freshness is what the process has said of live pings it wrote.
type freshness struct {
	within  float64 // 3.2 s: how many were no older
	count   float64
	seconds float64 // their ages' sum
	queued  float64 // pings
}

func (p *process) freshness() (f freshness) {
	p.t.Helper()
	for name, v := range map[string]*float64{
		`pingline_freshness_seconds_bucket{lane="live",le="3.2"}`: &f.within,
		`pingline_freshness_seconds_count{lane="live"}`:           &f.count,
		`pingline_freshness_seconds_sum{lane="live"}`:             &f.seconds,
		`pingline_queued_pings`:                                   &f.queued,
	} {
		if got, err := p.metric(name); err == nil { // there is none before the first
			*v = got
		}
	}
	return f
}

// InfluxDB is away for two minutes under full load: an experiment that prints,
// second by second from when it is back, how old the live pings are that are
// written, and how much is still to be filled in.
func TestFreshAfterAnOutage(t *testing.T) {
	needsChaos(t)
	influx := startInflux(t)
	dir := t.TempDir()
	p := serve(t, dir, influx.URL(), "--max-error=0", "--accuracy-cap=0", "--rider-rate=0")
	tr := driveCity(t, p.url, 10_000, sim.CityConfig{Seed: 7, Riders: 10_000, Interval: time.Second})
	tr.more(100_000)
	influx.Kill()
	time.Sleep(2 * time.Minute)
	if err := influx.Restart(context.Background()); err != nil {
		t.Fatal(err)
	}
	back := time.Now()
	fresh, filled := time.Duration(0), time.Duration(0)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for was, began := p.freshness(), time.Now(); time.Since(began) < 3*time.Minute && filled == 0; {
		<-tick.C
		now := p.freshness()
		after := time.Since(back)
		line := "no live pings written"
		if n := now.count - was.count; n > 0 {
			age := (now.seconds - was.seconds) / n
			line = fmt.Sprintf("%6.0f live pings, %5.1f s old on average, %3.0f %% at most 3.2 s", n, age, 100*(now.within-was.within)/n)
			if fresh == 0 && age < 5 {
				fresh = after
			}
		}
		t.Logf("%5.1f s: %s; %7.0f queued", after.Seconds(), line, now.queued)
		if was = now; fresh > 0 && now.queued < 50_000 {
			filled = after
		}
	}
	t.Logf("live pings were less than 5 s old after %v, all else was filled in after %v", fresh.Round(time.Second/10), filled.Round(time.Second/10))
	if fresh == 0 {
		t.Error("live pings were never less than 5 s old")
	}
	tr.stop()
	p.settled()
	restartAndAudit(t, p, tr, dir, influx.URL())
}
