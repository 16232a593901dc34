package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
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
	for _, wrong := range [][]string{
		{"--add=name=d,url=" + servers["c"].URL(), "same bucket"}, {"--add=name=d,url=" + servers["a"].URL(), "same bucket"},
		{"--add=name=d,url=http://127.0.0.1:1 name=e,url=http://127.0.0.1:1", "same bucket"},
		{"--replace=a=name=d,weight=2,url=http://127.0.0.1:1", "--weight a=2"}, {"--weight=b=2 b=3", "weight: b is named twice"}, {"--add=name=c,weight=x", "is no number in"},
	} {
		if status, said := reshardDo(t, p, "plan", wrong[0]); status != exitFailed || !strings.Contains(said, wrong[1]) {
			t.Errorf("plan %s: exit status %d, %s", wrong[0], status, said)
		}
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

// stages are phases of a change in which a node is killed.
var stages = []string{"dual", "cut", "added", "finished", "aborting"}

// before makes the steps that lead to a stage but for the last, and returns that one.
func before(t *testing.T, p *process, stage string, rng *rand.Rand) (last []string) {
	t.Helper()
	if st := standing(t, p); st.Phase != reshard.Settled {
		mustReshard(t, p, "abort")
	}
	start := nextStep(standing(t, p), stage != "added", rng)
	if stage == "dual" || stage == "added" {
		return start
	}
	mustReshard(t, p, start...)
	if stage == "aborting" && rng.IntN(2) == 0 {
		return []string{"abort"}
	}
	if stage != "cut" {
		mustReshard(t, p, "cut", "--force")
	}
	return map[string][]string{"cut": {"cut", "--force"}, "finished": {"finish"}, "aborting": {"abort"}}[stage]
}

// A node is killed in each phase of changes to and fro: while a step is made, and after it was
// answered. The phase and the layout are those before the step or after it, all that was
// acknowledged is in some shard, an abort leaves layout and rows as before, and the accounts add
// up.
func TestReshardKilled(t *testing.T) {
	beside(t)
	rounds := 5 * len(stages)
	if testing.Short() {
		rounds = len(stages)
	}
	servers := map[string]*influxd.Server{"a": startInflux(t), "b": startInflux(t), "c": startInflux(t)}
	dir, listen := t.TempDir(), freePort(t)
	flags := append(slices.Clone(reshardFlags), "--listen="+listen, "--shard=name=a,url="+servers["a"].URL(), "--shard=name=b,url="+servers["b"].URL())
	p := serve(t, dir, "", flags...)
	mustReshard(t, p, "start", "--add=name=c,url="+servers["c"].URL())
	mustReshard(t, p, "finish")
	flags = append(flags, "--shard=name=c,url="+servers["c"].URL())
	tr := drive(t, p.url, 2000)
	rng := rand.New(rand.NewPCG(3, uint64(rounds)))
	killed := make(map[string]int)
	for i := range rounds {
		stage, answered := stages[i%len(stages)], i/len(stages)%2 == 0
		var was standingOf
		if stage == "aborting" && answered {
			was = standingIn(t, p, servers)
		}
		last := before(t, p, stage, rng)
		tr.more(100)
		from := standing(t, p)
		made := make(chan error, 1)
		go func() { made <- doStep(t.Context(), p, last) }()
		var err error
		if answered {
			err = <-made
		} else {
			time.Sleep(time.Duration(rng.IntN(20)) * time.Millisecond) // any moment will do
		}
		to := standingAfter(from, last)
		p.kill()
		if !answered {
			err = <-made
		}
		p = serve(t, dir, "", flags...)
		st := standing(t, p)
		killed[stage]++
		if is := phaseAndLayout(&st); is != to && (err == nil || is != phaseAndLayout(&from)) {
			t.Errorf("killed in %s, after %v (%v): %q, before it %q and after it %q", stage, last, err, is, phaseAndLayout(&from), to)
		}
		if answered && err != nil {
			t.Errorf("%v: %v", last, err)
		}
		if stage == "aborting" && answered {
			was.compare(t, p, servers, &from)
		}
	}
	tr.stop()
	p.settled()
	if st := standing(t, p); st.Phase != reshard.Settled {
		mustReshard(t, p, "abort")
	}
	eventually(t, "all of before is written", func() bool { st := standing(t, p); return st.Remaining == 0 && st.MirrorQueued == 0 })
	p.settled()
	tr.auditIn(influxtest.Access(servers["a"], "pingline"), influxtest.Access(servers["b"], "pingline"), influxtest.Access(servers["c"], "pingline"))
	for _, stage := range stages {
		if killed[stage] == 0 {
			t.Errorf("never killed in %s", stage)
		}
	}
	t.Logf("kills: %v; in the end %+v", killed, standing(t, p))
}

// doStep makes a step, and returns why it was not made, or not answered.
func doStep(ctx context.Context, p *process, step []string) error {
	var out, errs bytes.Buffer
	if status := run(ctx, slices.Concat([]string{"reshard"}, step, []string{"--yes", "--server=" + strings.TrimSuffix(p.ops, "/metrics")}), &out, &errs); status != exitOK {
		return errors.New(errs.String())
	}
	return nil
}

func phaseAndLayout(s *reshard.SetStatus) string { return fmt.Sprint(s.Phase, ": ", s.InForce) }

// standingAfter is phase and layout after a step.
func standingAfter(s reshard.SetStatus, step []string) string {
	switch step[0] {
	case "cut":
		s.Phase, s.InForce = reshard.Cut, s.New
	case "finish":
		s.Phase = reshard.Settled
	case "abort":
		s.Phase, s.InForce = reshard.Settled, s.Old
	case "start":
		name := step[1][strings.LastIndex(step[1], "=")+1:]
		switch {
		case strings.HasPrefix(step[1], "--add="):
			s.Phase, s.InForce = reshard.Cut, append(slices.Clone(s.InForce), partition.Shard{Name: name, Weight: 1})
		case strings.HasPrefix(step[1], "--weight="):
			s.Phase, s.InForce = reshard.Cut, slices.Clone(s.InForce)
			s.InForce[0].Weight = 3 - s.InForce[0].Weight
		default:
			s.Phase = reshard.Dual
		}
	}
	return phaseAndLayout(&s)
}

// standingOf is the standing of a set, and the rows in each shard.
type standingOf struct {
	reshard.SetStatus
	rows map[string]map[string]int
}

func standingIn(t *testing.T, p *process, servers map[string]*influxd.Server) standingOf {
	t.Helper()
	if st := standing(t, p); st.Phase != reshard.Settled {
		mustReshard(t, p, "abort")
	}
	s := standingOf{standing(t, p), make(map[string]map[string]int)}
	for _, name := range s.InForce.Names() {
		s.rows[name] = storedIn(t, servers[name])
	}
	return s
}

// compare checks that an abort has left things as they were: the layout, the shards that are read,
// but for new ones which have rows, and the rows in each shard of the layout.
func (s *standingOf) compare(t *testing.T, p *process, servers map[string]*influxd.Server, in *reshard.SetStatus) {
	t.Helper()
	st := standing(t, p)
	if st.Phase != reshard.Settled || st.InForce.String() != s.InForce.String() || len(st.New)+len(st.Old) > 0 {
		t.Errorf("in force %v, %s, after an abort: %v before", st.InForce, st.Phase, s.InForce)
	}
	for _, name := range s.ReadOnly {
		if !slices.Contains(st.ReadOnly, name) {
			t.Errorf("%s was read before an abort, and %v after it", name, st.ReadOnly)
		}
	}
	for _, name := range st.ReadOnly {
		if !slices.Contains(s.ReadOnly, name) && !slices.Contains(in.New.Names(), name) {
			t.Errorf("%s is read only since an abort of %s", name, in.Do)
		}
	}
	for name, rows := range s.rows {
		now, gone := storedIn(t, servers[name]), 0
		for row := range rows {
			if now[row] != 1 {
				gone++
			}
		}
		if gone > 0 {
			t.Errorf("%d of %d rows of %s are not there once, after an abort of %s", gone, len(rows), name, in.Do)
		}
	}
}

// nextStep returns a start that a state allows: of a change with a mirror, or of one without.
func nextStep(s reshard.SetStatus, mirrored bool, rng *rand.Rand) []string {
	one := s.InForce[rng.IntN(len(s.InForce))].Name
	if len(s.InForce) == 3 {
		if mirrored {
			return []string{"start", "--remove=" + one}
		}
		return []string{"start", fmt.Sprintf("--weight=%s=%v", s.InForce[0].Name, 3-s.InForce[0].Weight)}
	}
	for _, name := range []string{"a", "b", "c"} {
		switch {
		case slices.Contains(s.InForce.Names(), name):
		case mirrored:
			return []string{"start", "--replace=" + one + "=" + name}
		default:
			return []string{"start", "--add=" + name}
		}
	}
	return nil
}

// A shard is replaced while pings come in, and both the one that goes and the one that comes are
// killed meanwhile. Each ping is in the shards where the layouts of its phase say, and in no
// other.
func TestReshardShardsKilled(t *testing.T) {
	servers := map[string]*influxd.Server{"a": startInflux(t), "b": startInflux(t), "c": startInflux(t)}
	p := serve(t, t.TempDir(), "", append(slices.Clone(reshardFlags),
		"--shard=name=a,url="+servers["a"].URL(), "--shard=name=b,url="+servers["b"].URL())...)
	c := &readersAndSenders{t: t}
	all := wander(40, 1500, time.Now().Add(-25*time.Minute))
	a, b, cc := partition.Shard{Name: "a", Weight: 1}, partition.Shard{Name: "b", Weight: 1}, partition.Shard{Name: "c", Weight: 1}
	old, now := []partition.Shard{a, b}, []partition.Shard{cc, b}
	send := func(during func()) {
		t.Helper()
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		var busy sync.WaitGroup
		busy.Go(func() { c.run(ctx, p.url, all[len(c.sent):]) })
		during()
		stop()
		busy.Wait()
	}
	restart := func(name string) {
		t.Helper()
		if err := servers[name].Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	var asked, started, finished int
	send(func() {
		c.more(500)
		asked = c.count()
		mustReshard(t, p, "start", "--replace=a=name=c,url="+servers["c"].URL())
		started = c.count() + 100 // a request may be on its way
		servers["a"].Kill()       // the source
		c.more(500)
		restart("a")
		c.more(300)
		mustReshard(t, p, "cut", "--force")
		servers["c"].Kill() // the target
		c.more(500)
		restart("c")
		c.more(300)
	})
	p.settled()
	finished = len(c.sent)
	mustReshard(t, p, "finish")
	send(func() { c.more(500) })
	p.settled()
	if st := standing(t, p); st.InForce.String() != "c=1 b=1" || !slices.Equal(st.ReadOnly, []string{"a"}) || st.Remaining+st.MirrorQueued > 0 {
		t.Errorf("in the end: %+v", st)
	}
	in := make(map[string]map[string]int)
	for name, s := range servers {
		in[name] = storedIn(t, s)
	}
	counts := make(map[string]int)
	for i := range c.sent {
		ping := &c.sent[i]
		var where []string
		for _, name := range []string{"a", "b", "c"} {
			if n := in[name][fmt.Sprint(ping.Rider, " ", ping.At)]; n == 1 {
				where = append(where, name)
			} else if n > 1 {
				t.Errorf("%s has %d points of %s at %d", name, n, ping.Rider, ping.At)
			}
		}
		before, both, after := []string{own(t, ping, old...)}, slices.Sorted(slices.Values([]string{own(t, ping, old...), own(t, ping, now...)})), []string{own(t, ping, now...)}
		both = slices.Compact(both)
		may := [][]string{both}
		switch {
		case i < asked:
			may = [][]string{before}
		case i < started:
			may = append(may, before)
		case i >= finished:
			may = [][]string{after}
		}
		if !slices.ContainsFunc(may, func(at []string) bool { return slices.Equal(at, where) }) {
			t.Fatalf("ping %d is in %v, and belongs to %v; the change was started at %d, finished at %d", i, where, may, started, finished)
		}
		counts[strings.Join(where, "+")]++
	}
	if counts["a+c"] == 0 || counts["b+c"] == 0 || counts["c"] == 0 || counts["b"] == 0 {
		t.Errorf("pings by shards: %v: the test shows nothing", counts)
	}
	t.Logf("%d pings, by shards: %v", len(c.sent), counts)
}
