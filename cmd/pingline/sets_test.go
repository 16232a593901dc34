package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pingline"
	"pingline/internal/influxd"
	"pingline/sim/audit"
	"pingline/sink/influx/influxtest"
	"pingline/sink/store"
)

// ids returns the pings of a bucket, each with its event.
func ids(t *testing.T, server *influxd.Server) (list []string) {
	t.Helper()
	err := reader(t, server, "pingline").Points(t.Context(), store.All(), func(e *pingline.Entry, _ int64) error {
		list = append(list, fmt.Sprint(e.Rider, " ", e.At, " ", e.Event))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(list)
	return list
}

// Each set of shards gets what is routed to it, and nothing else. One that is dead keeps no
// other waiting, and gets all that it has missed, also after a kill -9; one that is taken
// away holds nothing back.
func TestSetsOfShards(t *testing.T) {
	one, two, archive, sos := startInflux(t), startInflux(t), startInflux(t), startInflux(t)
	flags := []string{
		"--max-error=0", "--accuracy-cap=0", "--rider-rate=0", "--shard-handover=0", "--max-ahead=1s",
		"--shard=name=a,url=" + one.URL(), "--shard=name=b,url=" + two.URL(),
	}
	several := slices.Concat(flags, []string{
		"--shard=name=c,url=" + archive.URL() + ",set=archive", "--shard=name=d,url=" + sos.URL() + ",set=sos",
		"--route=location=main,archive", "--route=event=sos,main",
	})
	dir := t.TempDir()
	p := serve(t, dir, "", several...)
	tr := &traffic{t: t, ledger: audit.NewLedger()}
	c := &client{t: t, ledger: tr.ledger}
	from := time.Now().Add(-30 * time.Minute)
	all := wander(20, 300, from)
	var want, events []string
	for i := range all {
		if i%50 == 0 {
			all[i].Event = "sos"
			events = append(events, fmt.Sprint(all[i].Rider, " ", all[i].At, " sos"))
		} else {
			want = append(want, fmt.Sprint(all[i].Rider, " ", all[i].At, " "))
		}
	}
	slices.Sort(want)
	slices.Sort(events)
	half := len(all) / 2
	c.send(p.url, all[:half])
	p.settled()
	waiting := func(shard string) (n float64) {
		values, err := p.metrics(`pingline_queue_pings{lane="live",shard="` + shard + `"}`)
		backfill, err2 := p.metrics(`pingline_queue_pings{lane="backfill",shard="` + shard + `"}`)
		if err != nil || err2 != nil || len(values) != 1 || len(backfill) != 1 {
			return -1
		}
		return values[0] + backfill[0]
	}

	archive.Kill()
	c.send(p.url, all[half:])
	eventually(t, "the main set has all, though the archive is dead", func() bool { return waiting("a") == 0 && waiting("b") == 0 })
	if n := waiting("c"); n <= 0 {
		t.Errorf("%v pings wait for the archive, which is dead", n)
	}
	for r := range 20 {
		if at, partial := readTrack(t, p.url, fmt.Sprint("r-", r), from); partial || len(at) != 300 {
			t.Errorf("track of rider %d while the archive is dead: %d points, partial %v", r, len(at), partial)
		}
	}
	p.kill()
	p = serve(t, dir, "", several...)
	if err := archive.Restart(context.Background()); err != nil {
		t.Fatal(err)
	}
	p.settled()
	for _, equation := range []string{"stored of archive", "stored of sos"} {
		if gap, err := p.metric(`pingline_conservation_gap{equation="` + equation + `"}`); gap != 0 || err != nil {
			t.Errorf("%s: a gap of %v, %v", equation, gap, err)
		}
	}
	tr.auditIn(influxtest.Access(one, "pingline"), influxtest.Access(two, "pingline"))
	if got := ids(t, archive); !slices.Equal(got, want) {
		t.Errorf("the archive has %d pings, want the %d without an event", len(got), len(want))
	}
	if got := ids(t, sos); !slices.Equal(got, events) {
		t.Errorf("the set of events has %d pings, want %d", len(got), len(events))
	}
	for _, set := range []*influxd.Server{archive, sos} {
		if n := countRows(t, set, "SELECT pings FROM cell_activity"); n > 0 {
			t.Errorf("%d rows of the roll-up are in a set that they are not routed to", n)
		}
	}

	archive.Kill()
	c.send(p.url, wander(5, 20, time.Now().Add(-time.Minute)))
	p.kill()
	p = serve(t, dir, "", flags...)
	if !strings.Contains(p.said(), "a set of shards was taken away") {
		t.Error("nobody is told that a set was taken away")
	}
	p.settled()
}
