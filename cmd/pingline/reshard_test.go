package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pingline"
	"pingline/internal/influxd"
	"pingline/partition"
	"pingline/sim/audit"
	"pingline/sink/influx/influxtest"
	"pingline/sink/reshard"
	"pingline/sink/store"
)

// reshardDo runs a step of pingline reshard against p.
func reshardDo(t *testing.T, p *process, args ...string) (status int, said string) {
	t.Helper()
	args = append([]string{"reshard"}, args...)
	if !slices.Contains([]string{"plan", "status"}, args[1]) {
		args = append(args, "--yes")
	}
	status, stdout, stderr := runs(t, append(args, "--server="+strings.TrimSuffix(p.ops, "/metrics"))...)
	return status, stdout + stderr
}

func mustReshard(t *testing.T, p *process, args ...string) string {
	t.Helper()
	status, said := reshardDo(t, p, args...)
	if status != exitOK {
		t.Fatalf("reshard %v: exit status %d: %s", args, status, said)
	}
	return said
}

// standing returns how far a change of the main set is.
func standing(t *testing.T, p *process) reshard.SetStatus {
	t.Helper()
	var list []reshard.SetStatus
	if err := json.Unmarshal([]byte(mustReshard(t, p, "status", "--json")), &list); err != nil || len(list) == 0 {
		t.Fatalf("status: %v", err)
	}
	return list[0]
}

// readersAndSenders sends pings of riders all over the world until it is stopped, and reads their tracks.
type readersAndSenders struct {
	t    *testing.T
	from time.Time

	mu    sync.Mutex
	sent  []pingline.Ping // acknowledged, in order
	asked int             // tracks that were read
}

var cellsOfShards = sync.OnceValues(func() (partition.Cells, error) { return partition.NewCells(5) })

// own returns the shard of a ping in a layout.
func own(t *testing.T, ping *pingline.Ping, layout ...partition.Shard) string {
	t.Helper()
	shards, err := partition.NewShards(layout...)
	if err != nil {
		t.Fatal(err)
	}
	cells, err := cellsOfShards()
	if err != nil {
		t.Fatal(err)
	}
	return shards.At(shards.OfKey(partition.CellKey(cells.Exact(&ping.Fix), 0))).Name
}

// run sends until ctx ends.
func (c *readersAndSenders) run(ctx context.Context, url string, all []pingline.Ping) {
	cl := &client{t: c.t, ledger: audit.NewLedger()}
	for batch := range slices.Chunk(all, 100) {
		if ctx.Err() != nil {
			return
		}
		verdicts, resp := cl.request(url, batch)
		if resp.StatusCode != http.StatusOK || len(verdicts) != len(batch) {
			c.t.Errorf("%d pings: %s", len(batch), resp.Status)
			return
		}
		c.mu.Lock()
		c.sent = append(c.sent, batch...)
		c.mu.Unlock()
	}
	c.t.Error("the pings are used up")
}

func (c *readersAndSenders) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.sent)
}

// more waits until n more pings are acknowledged.
func (c *readersAndSenders) more(n int) {
	c.t.Helper()
	goal := c.count() + n
	eventually(c.t, "pings are acknowledged", func() bool { return c.count() >= goal })
}

// read reads tracks of random riders until ctx ends: each has all that was acknowledged before it
// was asked for and before its complete_to, once, and no shard is missed.
func (c *readersAndSenders) read(ctx context.Context, url string, riders int) {
	for rng := rand.New(rand.NewPCG(1, 9)); ctx.Err() == nil; {
		rider := fmt.Sprint("r-", rng.IntN(riders))
		c.mu.Lock()
		var want []int64
		for i := range c.sent {
			if c.sent[i].Rider == rider {
				want = append(want, c.sent[i].At)
			}
		}
		c.mu.Unlock()
		page := readSet(c.t, url, fmt.Sprintf("/v1/riders/%s/track?limit=5000&from=%d", rider, c.from.UnixMilli()))
		if page.status == http.StatusNotFound && len(want) == 0 {
			continue
		}
		have := make(map[int64]int)
		for _, p := range page.Pings {
			have[p.TS]++
		}
		for _, at := range want {
			if have[at] != 1 && at < page.CompleteTo {
				c.t.Errorf("the track of %s has %d points of %d, and is complete to %d", rider, have[at], at, page.CompleteTo)
			}
		}
		if page.status != http.StatusOK || page.Partial {
			c.t.Errorf("the track of %s: status %d, partial %v, complete to %d", rider, page.status, page.Partial, page.CompleteTo)
		}
		c.asked++
	}
}

// stored returns the times of the pings in a bucket, by rider.
func storedIn(t *testing.T, server *influxd.Server) map[string]int {
	t.Helper()
	in := make(map[string]int)
	err := reader(t, server, "pingline").Points(t.Context(), store.All(), func(e *pingline.Entry, _ int64) error {
		in[fmt.Sprint(e.Rider, " ", e.At)]++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return in
}

var reshardFlags = []string{"--max-error=0", "--accuracy-cap=0", "--rider-rate=0", "--client-rate=0", "--shard-handover=0", "--read-rate=0", "--hot-cell-rate=1000000"}

// While pings come in and tracks are read: a shard is added, one is reweighed, one is taken out.
// Each ping is where the layout of its time says, once, and every track is whole all along.
func TestReshardUnderLoad(t *testing.T) {
	servers := map[string]*influxd.Server{"a": startInflux(t), "b": startInflux(t), "c": startInflux(t)}
	dir := t.TempDir()
	flags := append(slices.Clone(reshardFlags), "--shard=name=a,url="+servers["a"].URL(), "--shard=name=b,url="+servers["b"].URL())
	p := serve(t, dir, "", flags...)
	const riders = 40
	c := &readersAndSenders{t: t, from: time.Now().Add(-25 * time.Minute)}
	all := wander(riders, 3000, c.from)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var busy sync.WaitGroup
	busy.Go(func() { c.run(ctx, p.url, all) })
	busy.Go(func() { c.read(ctx, p.url, riders) })

	a, b, cc := partition.Shard{Name: "a", Weight: 1}, partition.Shard{Name: "b", Weight: 1}, partition.Shard{Name: "c", Weight: 1}
	heavy := partition.Shard{Name: "b", Weight: 3}
	type part struct { // pings of which the layout is known, or of which either may be
		from, to int
		shards   [][]partition.Shard
	}
	var parts []part
	layout, begin := []partition.Shard{a, b}, 0
	change := func(to []partition.Shard, args ...string) {
		t.Helper()
		c.more(1000)
		before := c.count()
		mustReshard(t, p, args...)
		after := c.count() + 100 // a request may be on its way
		parts = append(parts, part{begin, before, [][]partition.Shard{layout}}, part{before, after, [][]partition.Shard{layout, to}})
		layout, begin = to, after
	}
	add := "--add=name=c,url=" + servers["c"].URL()
	if said := mustReshard(t, p, "plan", add); !strings.Contains(said, "c: reachable") || !strings.Contains(said, "% of keys") {
		t.Errorf("the plan says: %s", said)
	}
	change([]partition.Shard{a, b, cc}, "start", add)
	if status, said := reshardDo(t, p, "start", "--weight=b=3"); status != exitFailed || !strings.Contains(said, "finish or abort it first") {
		t.Errorf("a second change: exit status %d, %s", status, said)
	}
	mustReshard(t, p, "finish")
	change([]partition.Shard{a, heavy, cc}, "start", "--weight=b=3")
	mustReshard(t, p, "finish")
	c.more(1000)
	if said := mustReshard(t, p, "start", "--remove=a"); !strings.Contains(said, "pingline copy") {
		t.Errorf("nobody is told that the history of a stays there: %s", said)
	}
	eventually(t, "the mirror has come near", func() bool {
		status, _ := reshardDo(t, p, "cut")
		return status == exitOK
	})
	c.more(1000)
	mustReshard(t, p, "finish")
	cut := c.count() + 100
	c.more(1000)
	stop()
	busy.Wait()
	if t.Failed() {
		return
	}
	p.settled()
	if st := standing(t, p); st.Phase != reshard.Settled || st.Remaining != 0 || !slices.Equal(st.ReadOnly, []string{"a"}) || st.InForce.String() != "b=3 c=1" {
		t.Errorf("in the end: %+v", st)
	}

	in := make(map[string]map[string]int)
	for name, s := range servers {
		in[name] = storedIn(t, s)
	}
	where := func(ping *pingline.Ping) (names []string) {
		for _, name := range slices.Sorted(maps.Keys(in)) {
			switch n := in[name][fmt.Sprint(ping.Rider, " ", ping.At)]; {
			case n == 1:
				names = append(names, name)
			case n > 1:
				t.Errorf("%s has %d points of %s at %d", name, n, ping.Rider, ping.At)
			}
		}
		return names
	}
	moved := 0
	for _, part := range parts {
		for i := part.from; i < min(part.to, len(c.sent)); i++ {
			ping := &c.sent[i]
			var may []string
			for _, layout := range part.shards {
				may = append(may, own(t, ping, layout...))
			}
			if got := where(ping); len(got) != 1 || !slices.Contains(may, got[0]) {
				t.Fatalf("ping %d of %s is in %v, and belongs to %v", i, ping.Rider, got, may)
			}
			if may[0] == "c" {
				moved++
			}
		}
	}
	for i := cut; i < len(c.sent); i++ {
		if got, want := where(&c.sent[i]), own(t, &c.sent[i], heavy, cc); !slices.Equal(got, []string{want}) {
			t.Fatalf("ping %d, after a was taken out, is in %v and belongs to %s", i, got, want)
		}
	}
	for i := range c.sent {
		if len(where(&c.sent[i])) == 0 {
			t.Fatalf("ping %d is lost", i)
		}
	}
	if moved == 0 || c.asked < 20 || cut >= len(c.sent) {
		t.Errorf("%d pings of %d in c while it was new, %d tracks read, cut at %d: the test shows nothing", moved, len(c.sent), c.asked, cut)
	}
	t.Logf("%d pings, %d in c while it was new, %d tracks read", len(c.sent), moved, c.asked)

	// The flags say otherwise: the log is followed, and says so.
	p.kill()
	if status, said := exits(t, append([]string{"serve", "--data-dir=" + dir, "--listen=127.0.0.1:0", "--ops-listen="}, flags...)...); status != exitUsage || !strings.Contains(said, "shard c is in force") || !strings.Contains(said, "--shard name=c,url=") {
		t.Errorf("without c in the flags: exit status %d, %s", status, said)
	}
	p = serve(t, dir, "", append(flags, "--shard=name=c,weight=2,url="+servers["c"].URL())...)
	if said := p.said(); !strings.Contains(said, "c has the weight 2 in the flags, 1 in force") {
		t.Errorf("nobody is told that the flags differ: %s", said)
	}
	if st := standing(t, p); st.InForce.String() != "b=3 c=1" {
		t.Errorf("in force after a start with other flags: %v", st.InForce)
	}
	if at, partial := readTrack(t, p.url, "r-0", c.from); partial || len(at) == 0 {
		t.Errorf("a track has %d points, partial %v", len(at), partial)
	}
}

// A node is killed at random moments while its shards change to and fro, and what is kept is
// all that was acknowledged, in some shard that is read, and the accounts add up.
func TestReshardKilled(t *testing.T) {
	rounds := 12
	if testing.Short() {
		rounds = 4
	}
	servers := []*influxd.Server{startInflux(t), startInflux(t), startInflux(t)}
	dir, listen := t.TempDir(), freePort(t)
	flags := append(slices.Clone(reshardFlags), "--listen="+listen, "--shard=name=a,url="+servers[0].URL(), "--shard=name=b,url="+servers[1].URL())
	p := serve(t, dir, "", flags...)
	mustReshard(t, p, "start", "--add=name=c,url="+servers[2].URL())
	mustReshard(t, p, "finish")
	flags = append(flags, "--shard=name=c,url="+servers[2].URL())
	tr := drive(t, p.url, 2000)
	rng := rand.New(rand.NewPCG(3, uint64(rounds)))
	seen := make(map[reshard.ChangePhase]int)
	for range rounds {
		tr.more(500)
		steps, moment := make(chan struct{}), time.Duration(rng.IntN(1500))*time.Millisecond
		go func() { // until the node is dead
			defer close(steps)
			for {
				st, err := statusOf(p)
				if err != nil {
					return
				}
				_, _, _ = runs(t, slices.Concat([]string{"reshard"}, nextStep(st, rng.IntN(3)), []string{"--yes", "--server=" + strings.TrimSuffix(p.ops, "/metrics")})...)
			}
		}()
		time.Sleep(moment) // any will do
		p.kill()
		<-steps
		p = serve(t, dir, "", flags...)
		seen[standing(t, p).Phase]++
	}
	tr.stop()
	p.settled()
	if st := standing(t, p); st.Phase != reshard.Settled {
		mustReshard(t, p, "abort")
	}
	eventually(t, "all of before is written", func() bool { st := standing(t, p); return st.Remaining == 0 && st.MirrorQueued == 0 })
	p.settled()
	tr.auditIn(influxtest.Access(servers[0], "pingline"), influxtest.Access(servers[1], "pingline"), influxtest.Access(servers[2], "pingline"))
	t.Logf("phases after a kill: %v; in the end %+v", seen, standing(t, p))
}

func statusOf(p *process) (s reshard.SetStatus, err error) {
	resp, err := http.Get(strings.TrimSuffix(p.ops, "/metrics") + "/v1/reshard")
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	var list []reshard.SetStatus
	if err := json.NewDecoder(resp.Body).Decode(&list); err != nil {
		return s, err
	}
	return list[0], nil
}

// nextStep returns a step that a state allows.
func nextStep(s reshard.SetStatus, dice int) []string {
	switch {
	case s.Phase == reshard.Dual && dice == 0, s.Phase == reshard.Cut && dice == 0:
		return []string{"abort"}
	case s.Phase == reshard.Dual:
		return []string{"cut", "--force"}
	case s.Phase == reshard.Cut:
		return []string{"finish"}
	case len(s.InForce) == 2:
		for _, name := range []string{"a", "b", "c"} {
			if !slices.Contains(s.InForce.Names(), name) {
				if dice == 0 {
					return []string{"start", "--replace=" + s.InForce[0].Name + "=" + name}
				}
				return []string{"start", "--add=" + name}
			}
		}
	case dice == 0:
		return []string{"start", fmt.Sprintf("--weight=%s=%v", s.InForce[0].Name, 3-s.InForce[0].Weight)}
	}
	return []string{"start", "--remove=" + s.InForce[dice%len(s.InForce)].Name}
}
