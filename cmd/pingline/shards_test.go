package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pingline"
	"pingline/internal/influxd"
	"pingline/internal/node"
	"pingline/sim/audit"
	"pingline/sink/influx"
	"pingline/sink/influx/influxtest"
	"pingline/sink/sets"
	"pingline/sink/store"
)

func TestShardsInTheFile(t *testing.T) {
	path := writeFile(t, `
shard:
  - {name: a, url: "http://one:8086", org: me, bucket: pings/raw, token-file: /t, weight: 2.5}
  - name=b,url=http://two:8086
route: [self=a/own, event=b]
partition-by: rider
shard-handover: 0s
trusted-proxies: [10.0.0.0/8, 127.0.0.1]
`)
	cfg, err := parse(t, "--config="+path)
	if err != nil {
		t.Fatal(err)
	}
	want := []node.ShardConfig{
		{Name: "a", URL: "http://one:8086", Org: "me", Bucket: "pings/raw", TokenFile: "/t", Weight: 2.5},
		{Name: "b", URL: "http://two:8086", Weight: 1},
	}
	if !slices.Equal(cfg.Spread.Shard, want) {
		t.Errorf("shards %+v, want %+v", cfg.Spread.Shard, want)
	}
	if len(cfg.TrustedProxies) != 2 || cfg.Spread.PartitionBy.String() != "rider" || cfg.Spread.ShardHandover != 0 {
		t.Errorf("settings %+v, proxies %v", cfg.Spread, cfg.TrustedProxies)
	}
	wantRoutes := []sets.Route{{Kind: "self", To: []sets.RouteTarget{{Name: "a", Bucket: "own"}}}, {Kind: "event", To: []sets.RouteTarget{{Name: "b"}}}}
	if !reflect.DeepEqual(cfg.Spread.Route, wantRoutes) {
		t.Errorf("routes %+v, want %+v", cfg.Spread.Route, wantRoutes)
	}
	if cfg, err := parse(t, "--shard=name=x,url=http://x name=y,url=http://y", "--shard=name=z,url=http://z"); err != nil || len(cfg.Spread.Shard) != 3 {
		t.Errorf("three shards by two flags: %+v, %v", cfg.Spread.Shard, err)
	}
}

// Two settings that would be one place without a word are refused, and both are
// named; one place that has two names is one shard.
func TestTwoSettingsOfOneBucket(t *testing.T) {
	a, b := "--shard=name=a,url=http://one:8086", "--shard=name=b,url=http://two:8086"
	file := writeFile(t, `
route: [event=a/x:y, self=a/x_y, activity=a/x/y]
`)
	for name, tt := range map[string]struct {
		args []string
		want []string // in the error; none if there is to be none
	}{
		"names of buckets":       {[]string{a, "--config=" + file}, []string{"--route self=a/x_y", "--route activity=a/x/y", `"a:x_y"`}},
		"long names of buckets":  {[]string{a, "--route=event=a/" + strings.Repeat("x", 70) + "1 self=a/" + strings.Repeat("x", 70) + "2"}, []string{"--route event", "--route self"}},
		"a bucket and a shard":   {[]string{a, "--shard=name=a:x,url=http://two:8086", "--route=self=a/x"}, []string{"--shard name=a:x", "--route self=a/x"}},
		"two shards":             {[]string{a, "--shard=name=b,url=http://ONE:8086/"}, []string{"--shard name=a", "--shard name=b", "same bucket"}},
		"two shards, other port": {[]string{"--shard=name=a,url=http://one", "--shard=name=b,url=http://one:80"}, []string{"--shard name=a", "--shard name=b"}},
		"two names":              {[]string{a, "--shard=name=a,url=http://two:8086"}, []string{"--shard", `"a"`}},
		"a key given twice":      {[]string{"--shard=name=a,url=http://one:8086,bucket=p,bucket=q"}, []string{"bucket is given twice"}},
		"a key within a value":   {[]string{"--config=" + writeFile(t, "shard: [{name: a, url: \"http://one:8086\", bucket: \"p,weight=9\"}]")}, []string{"shard", "bucket", "comma"}},
		"two buckets of a shard": {[]string{a, "--shard=name=b,url=http://one:8086,bucket=other"}, nil},
		"two organizations":      {[]string{a + ",org=p", "--shard=name=b,url=http://one:8086,org=q"}, nil},
		"a route that is b's":    {[]string{a, b + ",bucket=other", "--route=event=b/other self=b"}, nil},
		"a route to the default": {[]string{"--route=event=a/pingline"}, nil},
		"one bucket, two routes": {[]string{"--route=activity=a/long self=a/long"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parse(t, tt.args...)
			if tt.want == nil && err != nil {
				t.Fatal(err)
			}
			for _, want := range tt.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error %v, want it to say %s", err, want)
				}
			}
		})
	}
	status, text := exits(t, "serve", "--check-config", a, "--route=event=a/x:y", "--route=self=a/x_y", "--route=activity=a/x/y")
	if status != 2 || !strings.Contains(text, "--route self=a/x_y and --route activity=a/x/y") {
		t.Errorf("exit status %d, %s", status, text)
	}
}

// wander returns the pings of riders who are all over the world, and most of the
// time in one city: their tracks are in every shard.
func wander(riders, pings int, from time.Time) []pingline.Ping {
	rng := rand.New(rand.NewPCG(5, 6))
	var list []pingline.Ping
	for i := range pings {
		for r := range riders {
			p := pingline.Ping{Rider: fmt.Sprint("r-", r), Fix: pingline.Fix{At: from.UnixMilli() + int64(i)*1000}}
			// Most are in one city, whose cell is split.
			lat, lon := 41.15+rng.Float64()/100, -8.62+rng.Float64()/100
			if rng.IntN(4) == 0 {
				lat, lon = rng.Float64()*120-60, rng.Float64()*360-180
			}
			if err := p.SetPosition(lat, lon); err != nil {
				panic(err)
			}
			list = append(list, p)
		}
	}
	return list
}

// readTrack reads a rider's whole track, page by page.
func readTrack(t *testing.T, url, rider string, from time.Time) (at []int64, partial bool) {
	t.Helper()
	for next := fmt.Sprint(from.UnixMilli()); next != ""; {
		resp, err := http.Get(fmt.Sprintf("%s/v1/riders/%s/track?limit=300&from=%s", url, rider, next))
		if err != nil {
			t.Fatal(err)
		}
		var page struct {
			Pings   []struct{ TS int64 }
			Next    string
			Partial bool
		}
		err = json.NewDecoder(resp.Body).Decode(&page)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("track of %s: %s, %v", rider, resp.Status, err)
		}
		for _, p := range page.Pings {
			at = append(at, p.TS)
		}
		next, partial = page.Next, partial || page.Partial
	}
	return at, partial
}

// A track over three InfluxDBs reads back as it was sent, each point once, while
// its cell is split; with one of them away the rest is told, and marked; what was
// sent meanwhile is there when it is back.
func TestTracksOverShards(t *testing.T) {
	var flags []string
	var buckets []influx.Config
	var influxes []*influxd.Server
	for _, name := range []string{"a", "b", "c"} {
		influx := startInflux(t)
		flags = append(flags, fmt.Sprintf("--shard=name=%s,url=%s", name, influx.URL()))
		buckets = append(buckets, influxtest.Access(influx, "pingline"))
		influxes = append(influxes, influx)
	}
	// Fast enough that cells are split, and never so long that others stand in.
	flags = append(flags, "--max-error=0", "--accuracy-cap=0", "--rider-rate=0", "--hot-cell-rate=100", "--shard-handover=0")
	dir := t.TempDir()
	p := serve(t, dir, "", flags...)
	tr := &traffic{t: t, ledger: audit.NewLedger()}
	c := &client{t: t, ledger: tr.ledger}
	from := time.Now().Add(-30 * time.Minute)
	const riders, pings = 20, 600
	all := wander(riders, pings, from)
	check := func(what string, n int) {
		t.Helper()
		for r := range riders {
			at, partial := readTrack(t, p.url, fmt.Sprint("r-", r), from)
			if partial || len(at) != n || !slices.IsSorted(at) || len(slices.Compact(at)) != n {
				t.Fatalf("%s: rider %d has %d points, partial %v, want %d", what, r, len(at), partial, n)
			}
		}
	}
	half := len(all) / 2
	c.send(p.url, all[:half])
	p.settled()
	check("the first half", pings/2)

	influxes[1].Kill()
	at, partial := readTrack(t, p.url, "r-0", from)
	if !partial || len(at) == 0 || len(at) >= pings/2 {
		t.Errorf("one of three away: %d points of %d, partial %v", len(at), pings/2, partial)
	}
	c.send(p.url, all[half:])
	if err := influxes[1].Restart(context.Background()); err != nil {
		t.Fatal(err)
	}
	p.settled()
	check("all", pings)
	tr.auditIn(buckets...)

	resp, err := http.Get(p.url + "/v1/partitions")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var spread struct {
		Shards []struct {
			Name   string
			Points int
			Up     bool
		}
		HotCells []struct{ Splits int } `json:"hot_cells"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&spread); err != nil {
		t.Fatal(err)
	}
	for _, s := range spread.Shards {
		if s.Points < len(all)/10 || !s.Up {
			t.Errorf("shard %+v of %d points", s, len(all))
		}
	}
	if len(spread.Shards) != 3 || len(spread.HotCells) == 0 || spread.HotCells[0].Splits < 2 {
		t.Errorf("partitions %+v, want three shards and a split cell", spread)
	}
}

// A shard that is taken out of the configuration with lines waiting for it: they
// go to the others.
func TestShardRemovedWithLinesWaiting(t *testing.T) {
	one, other := startInflux(t), startInflux(t)
	a, b := "--shard=name=a,url="+one.URL(), "--shard=name=b,url="+other.URL()
	dir := t.TempDir()
	args := []string{"--max-error=0", "--accuracy-cap=0", "--rider-rate=0", "--shard-handover=0", "--max-ahead=1s"}
	p := serve(t, dir, "", append(args, a, b)...)
	tr := &traffic{t: t, ledger: audit.NewLedger()}
	c := &client{t: t, ledger: tr.ledger}
	from := time.Now().Add(-30 * time.Minute)
	all := wander(20, 200, from)
	c.send(p.url, all[:2000])
	p.settled()
	other.Kill()
	c.send(p.url, all[2000:])
	p.kill()
	p = serve(t, dir, "", append(args, a)...)
	p.settled()
	if _, partial := readTrack(t, p.url, "r-0", from); !partial {
		t.Error("a track is said to be complete, of which a shard that was removed holds a part")
	}
	eventually(t, "a track of times after that is complete", func() bool {
		_, partial := readTrack(t, p.url, "r-0", time.Now())
		return !partial
	})
	p.kill()
	p = serve(t, dir, "", append(args, a, "--moved-shard=b")...)
	if _, partial := readTrack(t, p.url, "r-0", from); partial {
		t.Error("a track is partial though what the removed shard held is elsewhere")
	}
	p.settled()
	if err := other.Restart(context.Background()); err != nil {
		t.Fatal(err)
	}
	tr.auditIn(influx.Config{URL: one.URL(), Bucket: "pingline"}, influx.Config{URL: other.URL(), Bucket: "pingline"})
}

// Events and the rest go to buckets of their own where routes say so.
func TestRoutesToOtherBuckets(t *testing.T) {
	influx := startInflux(t)
	for _, bucket := range []string{"events", "figures"} {
		if err := influx.CreateBucket(t.Context(), bucket, 0); err != nil {
			t.Fatal(err)
		}
	}
	p := serve(t, t.TempDir(), influx.URL(), "--route=event=a/events", "--route=self=a/figures", "--route=activity=a/figures")
	at := time.Now().UnixMilli()
	resp := post(t, p.url, fmt.Appendf(nil, `[{"rider_id":"r","ts":%d,"lat":1,"lon":2,"event":"sos"},{"rider_id":"q","ts":%d,"lat":1,"lon":2}]`, at, at))
	if resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status)
	}
	p.settled()
	for bucket, want := range map[string]string{"events": "r", "pingline": "q", "figures": ""} {
		var riders []string
		err := reader(t, influx, bucket).Points(t.Context(), store.Query{From: at - 1000, To: at + 1000}, func(e *pingline.Entry, _ int64) error {
			riders = append(riders, e.Rider)
			return nil
		})
		if err != nil || strings.Join(riders, " ") != want {
			t.Errorf("bucket %s has pings of %q (%v), want %q", bucket, riders, err, want)
		}
	}
	if list, _ := readTrack(t, p.url, "r", time.UnixMilli(at-1000)); len(list) != 1 {
		t.Errorf("the event is not read back: %v", list)
	}
}
