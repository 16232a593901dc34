package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"pingline"
	"pingline/internal/influxd"
	"pingline/sim"
	"pingline/sim/audit"
	"pingline/sink/influx/influxtest"
	"pingline/sink/store"
)

var soak = flag.Duration("soak", 0, "how long everything hostile goes on at once in TestSoak")

// A shorter soak with a smaller log fills it as far.
var soakLog = flag.String("soak-log", "512MiB", "--queue-max-bytes in TestSoak")

// soakRate is how many pings a second the honest fleet sends.
const soakRate = 1000

// An honest fleet sends while everything hostile goes on at once, InfluxDB is
// killed and frozen, and the process is killed, for as long as asked: the fleet is
// answered throughout, all that it was told is so in the end, and memory, goroutines
// and files stay as they were.
func TestSoak(t *testing.T) {
	if *soak == 0 {
		t.Skip("an experiment: make soak runs it")
	}
	influx := startInfluxWith(t, influxd.Config{Version: 1, Env: []string{
		"INFLUXDB_DATA_INDEX_VERSION=tsi1", "INFLUXDB_DATA_MAX_SERIES_PER_DATABASE=0", // millions of riders are strange ones
	}})
	dir, listen := t.TempDir(), freePort(t)
	start := func() *process {
		return serve(t, dir, influx.URL(), "--listen="+listen, "--route=activity=a/long", "--queue-max-bytes="+*soakLog, "--max-riders=100000")
	}
	p := start()
	gauge := newGauge(t, p)
	answers := &answered{next: fromAddress("127.0.0.1"), times: map[int][]time.Duration{}, refused: gauge.refusals.note}
	tr := driveHonest(t, p.url, answers)
	strangers := startHostile(p.url)
	t.Cleanup(strangers.stop)
	disturb(t, influx, func() {
		gauge.restarts()
		p.kill()
		p = start()
		gauge.begin(p)
	})
	strangers.stop()
	gauge.stop()
	tr.stop()
	strangers.report(t)
	answers.check(t)
	gauge.check()
	if err := influx.CreateBucket(context.Background(), "long", 0); err != nil { // the operator has read the notes
		t.Fatal(err)
	}
	aside, err := p.metrics("pingline_dead_letters_total{")
	t.Logf("dead letters by reason before they are replayed: %v, %v", aside, err)
	if status, said := exits(t, "deadletter", "replay", "--wait="+patience.String(), "--data-dir="+dir); status != exitOK {
		t.Errorf("exit status %d of a replay of dead letters: %s", status, said)
	}
	p.settled()
	auditHonest(t, p, start, tr, influx)
}

// disturb kills and freezes InfluxDB, and kills the process, until the time is up.
func disturb(t *testing.T, influx *influxd.Server, kill func()) {
	began := time.Now()
	until := func(part float64) {
		time.Sleep(time.Until(began.Add(time.Duration(part * float64(*soak)))))
	}
	rounds := max(1, int(*soak/(5*time.Minute)))
	for round := range rounds {
		at := func(part float64) { until((float64(round) + part) / float64(rounds)) }
		at(0.2)
		influx.Kill()
		at(0.23)
		if err := influx.Restart(context.Background()); err != nil {
			t.Fatal(err)
		}
		at(0.4)
		err := influx.Pause()
		at(0.43)
		if err := errors.Join(err, influx.Continue()); err != nil {
			t.Fatal(err)
		}
		at(0.5)
		if round < rounds-1 || rounds == 1 { // the last incarnation is the longest
			kill()
		}
	}
	until(1)
}

// driveHonest starts a city of riders who ping every two seconds.
func driveHonest(t *testing.T, url string, way http.RoundTripper) *traffic {
	t.Helper()
	cfg := sim.CityConfig{Seed: 7, Riders: 2 * soakRate, Interval: 2 * time.Second}
	return driveLoad(t, cfg, sim.LoadConfig{URL: url, Rate: soakRate, Transport: way})
}

// fromAddress is a way to servers from an address of this machine: to those each
// of 127.0.0.0/8 is another client.
func fromAddress(ip string) *http.Transport {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}, Timeout: 10 * time.Second}
	return &http.Transport{DialContext: dialer.DialContext, MaxIdleConnsPerHost: 64}
}

// answered notes what requests were answered, and after how long, and tells of each
// that was refused.
type answered struct {
	next    http.RoundTripper
	refused func(status int, reason string)

	mu sync.Mutex
	// by status, 0: no answer
	times map[int][]time.Duration
}

func (a *answered) RoundTrip(req *http.Request) (*http.Response, error) {
	began := time.Now()
	resp, err := a.next.RoundTrip(req)
	status := 0
	if err == nil {
		status = resp.StatusCode
		if status != http.StatusOK {
			a.refused(status, reasonOf(resp))
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.times[status] = append(a.times[status], time.Since(began))
	return resp, err
}

// reasonOf returns what the body of an answer says, and leaves it to be read again.
func reasonOf(resp *http.Response) string {
	body, err := io.ReadAll(resp.Body)
	err = errors.Join(err, resp.Body.Close())
	resp.Body = io.NopCloser(bytes.NewReader(body))
	if err != nil {
		return err.Error()
	}
	var said struct{ Error string }
	if json.Unmarshal(body, &said) != nil {
		return string(body)
	}
	return said.Error
}

// check fails the test if honest requests were refused: while the process is gone
// they have no answer, and are sent again.
func (a *answered) check(t *testing.T) {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := 0
	for status, times := range a.times {
		t.Logf("honest requests answered %d: %d, p50 %v, p99 %v, most %v", status, len(times), quantile(times, 0.5), quantile(times, 0.99), quantile(times, 1))
		if status != 0 {
			all += len(times)
		}
	}
	if good := len(a.times[http.StatusOK]); good == 0 || float64(good) < 0.99*float64(all) {
		t.Errorf("of %d honest requests that had an answer %d were taken, want 99 %%", all, good)
	}
}

// auditHonest stops the process, lets the next one write the rest, and compares
// what the fleet was told with what InfluxDB holds. Strangers have points, too.
func auditHonest(t *testing.T, p *process, start func() *process, tr *traffic, influx *influxd.Server) {
	t.Helper()
	if status := p.terminate(); status != exitOK {
		t.Errorf("exit status %d after SIGTERM", status)
	}
	start().settled()
	access := influxtest.Access(influx, "pingline")
	access.Timeout = 5 * time.Minute
	reader := influxtest.Open(t, access)
	// Millions of strange riders are stored too: to read them all takes InfluxDB longer
	// than to find the honest ones.
	riders := tr.ledger.Riders()
	points := func(ctx context.Context, q store.Query, each func(*pingline.Entry, int64) error) error {
		for _, q.Rider = range riders {
			if err := reader.Points(ctx, q, each); err != nil {
				return err
			}
		}
		return nil
	}
	report, err := audit.Check(context.Background(), tr.ledger, points)
	if err != nil {
		t.Fatal(err)
	}
	if err := report.Err(); err != nil || report.Accepted == 0 {
		t.Errorf("%d accepted: %v", report.Accepted, err)
	}
	t.Logf("audit: %+v", report)
}
