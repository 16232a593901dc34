package main

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"pingline"
	"pingline/sim/audit"
	"pingline/sink/store"
)

var minuteAgo = time.Now().Add(-time.Minute).UnixMilli()

// east is what a rider who goes straight east sent in one second from a minute
// ago, so many metres north of that line.
func east(second int, north float64) pingline.Ping {
	p := pingline.Ping{Rider: "r-1", Fix: pingline.Fix{At: minuteAgo + int64(second)*1000}}
	if err := p.SetPosition(41.1+north/111_195, -8.6+float64(second)/10_000); err != nil {
		panic(err)
	}
	return p
}

// sendOfAllSorts sends pings of which at least one has each verdict, and checks
// the verdicts.
func sendOfAllSorts(t *testing.T, c *client, url string) {
	t.Helper()
	var straight []pingline.Ping
	for second := range 10 {
		straight = append(straight, east(second, 0))
	}
	invalid := east(3, 0)
	invalid.Rider = ".."
	for _, request := range []struct {
		pings []pingline.Ping
		want  string
	}{
		{straight, "[accepted redundant redundant redundant redundant redundant redundant redundant redundant held]"},
		{[]pingline.Ping{east(5, 0), east(9, 0), east(4, 500), east(0, 500), invalid}, "[redundant duplicate accepted accepted rejected]"},
		{[]pingline.Ping{east(10, 0)}, "[held]"},
		{[]pingline.Ping{east(11, 200)}, "[held]"},
	} {
		verdicts, resp := c.request(url, request.pings)
		if got := fmt.Sprint(verdicts); got != request.want {
			t.Errorf("%d pings: %s %s, want %s", len(request.pings), resp.Status, got, request.want)
		}
	}
}

// The metrics tell what became of each ping, and that nothing has vanished.
func TestMetricsAddUp(t *testing.T) {
	dir := t.TempDir()
	p := serve(t, dir, "http://127.0.0.1:1", "--rollup=off") // its lines are commits, too
	check := func(want map[string]float64) {
		t.Helper()
		for _, equation := range []string{"verdicts", "held", "stored", "lines"} {
			want[`pingline_conservation_gap{equation="`+equation+`"}`] = 0
		}
		for name, v := range want {
			if got, err := p.metric(name); err != nil || got != v {
				t.Errorf("%s is %v (%v), want %v", name, got, err, v)
			}
		}
	}
	sendOfAllSorts(t, &client{t: t, ledger: audit.NewLedger()}, p.url)
	check(map[string]float64{
		`pingline_pings_total{verdict="accepted"}`:  3,
		`pingline_pings_total{verdict="held"}`:      3,
		`pingline_pings_total{verdict="redundant"}`: 9,
		`pingline_pings_total{verdict="duplicate"}`: 1,
		`pingline_pings_total{verdict="shed"}`:      0,
		`pingline_pings_total{verdict="rejected"}`:  1,

		`pingline_held_total{fate="promoted"}`: 1,
		`pingline_held_total{fate="covered"}`:  1,
		`pingline_holding`:                     1,
		`pingline_kept_ratio`:                  4.0 / 16,
		`pingline_late_total`:                  2,
		`pingline_conflicts_total`:             1,
		`pingline_filter_riders`:               1,
		`pingline_filter_evicted_total`:        0,
		`pingline_reloads_total`:               0,

		`pingline_rejected_total{reason="rider_id"}`:                     1,
		`pingline_queued_pings`:                                          4,
		`pingline_written_total{shard="a"}`:                              0,
		`pingline_commit_pings_count`:                                    4,
		`pingline_commit_pings_sum`:                                      10 + 4 + 1 + 1 + 0,
		`pingline_request_seconds_count{route="/v1/pings",status="200"}`: 4,
	})
	p.kill()
	p = serve(t, dir, "http://127.0.0.1:1", "--rollup=off")
	check(map[string]float64{`pingline_holding`: 1, `pingline_queued_pings`: 4, `pingline_filter_riders`: 1})
	(&client{t: t, ledger: audit.NewLedger()}).send(p.url, []pingline.Ping{east(12, 0)})
	check(map[string]float64{
		`pingline_holding`:                     1,
		`pingline_held_total{fate="promoted"}`: 1, // held by the process before
		`pingline_pings_total{verdict="held"}`: 1,
		`pingline_queued_pings`:                5,
	})
}

// InfluxDB holds the points that lines are drawn between, those that are late
// beside them, and with each how many were dropped before it.
func TestPointsOfAllSorts(t *testing.T) {
	influx := startInflux(t)
	dir := t.TempDir()
	p := serve(t, dir, influx.URL())
	c := &client{t: t, ledger: audit.NewLedger()}
	sendOfAllSorts(t, c, p.url)
	restartAndAudit(t, p, &traffic{t: t, ledger: c.ledger}, dir, influx.URL())
	var got []string
	err := reader(t, influx, "pingline").Points(context.Background(), store.Query{From: 0, To: time.Now().UnixMilli()}, func(e *pingline.Entry, _ int64) error {
		got = append(got, fmt.Sprintf("%05d %.4f late %v skipped %d", e.At-minuteAgo, e.Lat(), e.Late, e.Skipped))
		return nil
	})
	slices.Sort(got)
	want := []string{
		"00000 41.1000 late false skipped 0",
		"00000 41.1045 late true skipped 8", // the pings of its request are judged in order of time
		"04000 41.1045 late true skipped 0",
		"10000 41.1000 late false skipped 2",
		"11000 41.1018 late false skipped 0",
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("points (%v):\n%q\nwant\n%q", err, got, want)
	}
}
