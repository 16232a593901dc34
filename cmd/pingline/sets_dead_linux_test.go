package main

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"pingline"
	"pingline/internal/node"
	"pingline/sim"
	"pingline/sim/audit"
	"pingline/sink/clickhouse/clickhousetest"
	"pingline/sink/store"
)

var setsDead = flag.Duration("sets-dead", 2*time.Second, "how long each of two sets is dead in TestSetsOneDead; from a minute on under a full load, and the other may not be late")

// lateAtMost is how long a set may keep a ping from being read while another is dead.
const lateAtMost = time.Second

// withoutEvents records the pings that have no event.
type withoutEvents struct{ audit.Recorder }

func (w withoutEvents) Record(pings []pingline.Ping, verdicts []pingline.Verdict, maxError, accuracyCap float32) {
	var places []pingline.Ping
	var theirs []pingline.Verdict
	for i := range pings {
		if pings[i].Event != "" {
			continue
		}
		places = append(places, pings[i])
		if verdicts != nil {
			theirs = append(theirs, verdicts[i])
		}
	}
	w.Recorder.Record(places, theirs, maxError, accuracyCap)
}

// prober sends a ping every so often and reads it back from one shard.
type prober struct {
	t      *testing.T
	client *client
	all    *audit.Ledger // records the pings beside the client's
	url    string
	stored *node.StoredRows
	times  []time.Duration // from when a ping was sent until the shard shows it
}

// newProber returns one of a shard.
func newProber(t *testing.T, url string, shard node.ShardConfig) *prober {
	t.Helper()
	cfg := node.DefaultConfig()
	cfg.Shards = []node.ShardConfig{shard}
	cfg.Shards[0].Weight = 1
	stored, err := node.OpenStored(&cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stored.Close() })
	return &prober{t: t, url: url, stored: stored}
}

// probe sends pings of one rider for so long, and at least three, and returns once the
// shard shows each.
func (pr *prober) probe(rider string, lasts time.Duration) {
	pr.t.Helper()
	const every = 250 * time.Millisecond
	var mu sync.Mutex
	var shown sync.WaitGroup
	pr.times = nil
	for n, began := 0, time.Now(); n < 3 || time.Since(began) < lasts; n++ {
		p := pingline.Ping{Rider: rider, Fix: pingline.Fix{At: time.Now().UnixMilli()}}
		if err := p.SetPosition(41.15, -8.62+float64(n)/10_000); err != nil {
			pr.t.Fatal(err)
		}
		sent := time.Now()
		verdicts, resp := pr.client.request(pr.url, []pingline.Ping{p})
		if len(verdicts) != 1 || verdicts[0] != pingline.Accepted {
			pr.t.Fatalf("a ping was answered %s, %v", resp.Status, verdicts)
		}
		pr.all.Record([]pingline.Ping{p}, verdicts, 0, 0)
		shown.Go(func() {
			for limit := sent.Add(patience); !pr.shows(&p); time.Sleep(20 * time.Millisecond) {
				if time.Now().After(limit) {
					pr.t.Errorf("the shard never shows ping %d of %s", n, rider)
					return
				}
			}
			mu.Lock()
			defer mu.Unlock()
			pr.times = append(pr.times, time.Since(sent))
		})
		time.Sleep(time.Until(sent.Add(every)))
	}
	shown.Wait()
	pr.t.Logf("%s: %d pings could be read after p50 %v, p99 %v, at most %v", rider, len(pr.times), quantile(pr.times, 0.5), quantile(pr.times, 0.99), quantile(pr.times, 1))
}

// shows reports whether the shard has a ping; one that does not answer has none.
func (pr *prober) shows(p *pingline.Ping) (there bool) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := pr.stored.Points(ctx, store.Query{From: p.At, To: p.At + 1, Rider: p.Rider}, func(*pingline.Entry, int64) error {
		there = true
		return nil
	})
	return err == nil && there
}

// A city sends to two sets, InfluxDB and ClickHouse, of which each is dead for a while: the
// other gets each ping meanwhile, both have all afterwards, and neither has what was not
// routed to it.
func TestSetsOneDead(t *testing.T) {
	influx, archive := startInflux(t), clickhousetest.Run(t)
	archive.Execute(t, "CREATE DATABASE city")
	main := node.ShardConfig{Name: "a", URL: influx.URL()}
	second := node.ShardConfig{Name: "ch", URL: archive.URL("city"), TokenFile: archive.PasswordFile()}
	p := serve(t, t.TempDir(), "", "--max-error=0", "--accuracy-cap=0", "--rider-rate=0", "--client-rate=0",
		"--shard=name=a,url="+main.URL, fmt.Sprintf("--shard=name=ch,url=%s,token-file=%s,set=archive", second.URL, second.TokenFile),
		"--route=location=main,archive", "--route=event=archive", "--route=activity=archive")
	rate := 300.0
	full := *setsDead >= time.Minute
	if full {
		rate = 2000
	}
	places := &traffic{t: t, ledger: audit.NewLedger()}
	tr := driveLoad(t, sim.CityConfig{Seed: 7, Riders: int(rate), Interval: time.Second}, sim.LoadConfig{
		URL: p.url, Rate: rate, Ledger: withoutEvents{places.ledger},
	})
	tr.more(uint64(rate))
	metric := func(name string) float64 {
		n, err := p.metric(name)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	written := func(shard string) float64 { return metric(`pingline_written_total{shard="` + shard + `"}`) }
	waiting := func(shard string) float64 {
		return metric(`pingline_queue_pings{lane="live",shard="`+shard+`"}`) + metric(`pingline_queue_pings{lane="backfill",shard="`+shard+`"}`)
	}
	for _, step := range []struct {
		dead    string
		kill    func()
		restart func() error
		lives   node.ShardConfig
	}{
		{"ch", archive.Kill, archive.Restart, main},
		{"a", influx.Kill, func() error { return influx.Restart(context.Background()) }, second},
	} {
		pr := newProber(t, p.url, step.lives)
		pr.client, pr.all = &client{t: t, ledger: places.ledger}, tr.ledger
		pr.probe("quiet-"+step.dead, *setsDead/4)
		quiet := quantile(pr.times, 0.99)
		before := written(step.dead)
		step.kill()
		pr.probe("dead-"+step.dead, *setsDead)
		if n := waiting(step.dead); n == 0 {
			t.Errorf("nothing waits for %s, which is dead", step.dead)
		}
		if late := quantile(pr.times, 0.99); full && late > quiet+lateAtMost {
			t.Errorf("while %s is dead, %s shows pings after %v (p99), and after %v before", step.dead, step.lives.Name, late, quiet)
		}
		if err := step.restart(); err != nil {
			t.Fatal(err)
		}
		back := time.Now()
		eventually(t, "the set that was dead has caught up", func() bool { return waiting(step.dead) < 2*rate })
		t.Logf("%s got %.0f pings and has caught up %v after its start", step.dead, written(step.dead)-before, time.Since(back).Round(time.Second/10))
	}
	tr.stop()
	p.settled()
	if gap, err := p.metric(`pingline_conservation_gap{equation="stored of archive"}`); gap != 0 || err != nil {
		t.Errorf("the archive lacks %v (%v)", gap, err)
	}
	places.auditAt(t, main)
	tr.auditAt(t, second)
	if n := countRows(t, influx, "SELECT pings FROM cell_activity"); n > 0 {
		t.Errorf("InfluxDB has %d rows of the roll-up, which go to the archive", n)
	}
	events := tr.ledger.Count(pingline.Accepted) - places.ledger.Count(pingline.Accepted)
	got := strings.TrimSpace(archive.Execute(t, "SELECT count() FROM city.pings FINAL WHERE event != ''"))
	if got != fmt.Sprint(events) || events == 0 {
		t.Errorf("ClickHouse has %s events, %d were sent", got, events)
	}
	eventually(t, "the archive has rows of the roll-up", func() bool {
		return strings.TrimSpace(archive.Execute(t, "SELECT count() FROM city.cell_activity")) != "0"
	})
	if tables := archive.Execute(t, "SELECT name FROM system.tables WHERE database = 'city'"); strings.Contains(tables, "pingline") {
		t.Errorf("ClickHouse has the node's own figures, which go to the first set: %s", tables)
	}
}
