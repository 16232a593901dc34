package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
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

// setPage is a page of a track, of a set of shards.
type setPage struct {
	status     int
	Error      string
	Pings      []struct{ TS int64 }
	CompleteTo int64 `json:"complete_to"`
	Partial    bool
	MemoryOnly bool `json:"memory_only"`
}

func readSet(t *testing.T, url, path string) (page setPage) {
	t.Helper()
	resp, err := http.Get(url + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&page); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	page.status = resp.StatusCode
	return page
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
	track := fmt.Sprintf("/v1/riders/r-3/track?from=%d&set=", from.UnixMilli())
	eventually(t, "what the main set has is complete, though the archive is dead", func() bool {
		return readSet(t, p.url, track).CompleteTo > all[len(all)-1].At
	})
	if page := readSet(t, p.url, track+"archive"); !page.MemoryOnly || !page.Partial || page.CompleteTo != 0 {
		t.Errorf("a track of the archive, which is dead: %d points, memory only %v, partial %v, complete to %d", len(page.Pings), page.MemoryOnly, page.Partial, page.CompleteTo)
	}
	p.kill()
	p = serve(t, dir, "", several...)
	if err := archive.Restart(context.Background()); err != nil {
		t.Fatal(err)
	}
	p.settled()
	inTrack := func(list []string) (n int) {
		for _, id := range list {
			if strings.HasPrefix(id, "r-3 ") {
				n++
			}
		}
		return n
	}
	for set, n := range map[string]int{"main": 300, "archive": inTrack(want), "sos": inTrack(events)} {
		if page := readSet(t, p.url, track+set); page.status != http.StatusOK || page.Partial || len(page.Pings) != n || page.CompleteTo <= all[len(all)-1].At {
			t.Errorf("a track of %s has %d points, want %d; status %d %s, partial %v, complete to %d", set, len(page.Pings), n, page.status, page.Error, page.Partial, page.CompleteTo)
		}
	}
	box := "bbox=-180,-90,180,90"
	for _, path := range []string{
		track + "none", "/v1/riders/r-3?set=none", "/v1/history?" + box + "&set=sos", "/v1/cells?" + box + "&set=main",
		"/v1/riders?" + box + "&set=main", "/v1/cells?at=1760000000000&" + box + "&set=archive", "/v1/riders?at=1760000000000&" + box + "&set=none", "/v1/partitions?set=none",
	} {
		if page := readSet(t, p.url, path); page.status != http.StatusBadRequest || !strings.Contains(page.Error, "set: ") || strings.Contains(path, "none") && !strings.Contains(page.Error, "archive, main, sos") && !strings.Contains(page.Error, "main, archive, sos") {
			t.Errorf("%s: status %d, %s", path, page.status, page.Error)
		}
	}
	for path, shards := range map[string]string{"": "a main, b main, c archive, d sos", "?set=archive": "c archive"} {
		var spread struct {
			Shards []struct {
				Name, Set string
				Share     float64
			}
		}
		resp, err := http.Get(p.url + "/v1/partitions" + path)
		if err != nil {
			t.Fatal(err)
		}
		err = json.NewDecoder(resp.Body).Decode(&spread)
		resp.Body.Close()
		var names []string
		sums := map[string]float64{}
		for _, s := range spread.Shards {
			names = append(names, s.Name+" "+s.Set)
			sums[s.Set] += s.Share
		}
		if err != nil || strings.Join(names, ", ") != shards || math.Abs(sums["archive"]-1) > 1e-9 {
			t.Errorf("partitions%s: %+v, %v", path, spread, err)
		}
	}
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
