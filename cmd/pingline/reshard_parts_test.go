package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pingline/internal/influxd"
	"pingline/internal/resharding"
	"pingline/partition"
	"pingline/sink/moving"
	"pingline/sink/reshard"
)

// reshard runs a step at a node.
func (n *partNodes) reshard(name string, args ...string) (status int, said string) {
	n.t.Helper()
	args = append([]string{"reshard"}, args...)
	if !slices.Contains([]string{"plan", "status"}, args[1]) {
		args = append(args, "--yes")
	}
	status, stdout, stderr := runs(n.t, append(args, "--server="+n.ops[name])...)
	return status, stdout + stderr
}

func (n *partNodes) mustReshard(name string, args ...string) string {
	n.t.Helper()
	status, said := n.reshard(name, args...)
	if status != exitOK {
		n.t.Fatalf("reshard %v at %s: exit status %d: %s", args, name, status, said)
	}
	return said
}

// standing returns how far the change is, of all parts.
func (n *partNodes) standing(name string) (s resharding.ChangeStatus) {
	n.t.Helper()
	var list []resharding.ChangeStatus
	if err := json.Unmarshal([]byte(n.mustReshard(name, "status", "--json")), &list); err != nil || len(list) != 1 {
		n.t.Fatalf("status: %v", err)
	}
	return list[0]
}

// ownersOf waits until both parts have a node that takes pings, and returns them by part.
func (n *partNodes) ownersOf(names ...string) (owners [2]string) {
	n.t.Helper()
	eventually(n.t, "both parts have a node", func() bool {
		for _, name := range names {
			var said struct {
				Parts []struct {
					Node string `json:"node"`
				} `json:"parts"`
			}
			if status, text := probe(n.t, n.ops[name]+"/v1/cluster"); status != http.StatusOK || json.Unmarshal([]byte(text), &said) != nil || len(said.Parts) != 2 {
				continue
			}
			owners = [2]string{said.Parts[0].Node, said.Parts[1].Node}
			if owners[0] != "" && owners[1] != "" && n.takes(owners[0]) && n.takes(owners[1]) {
				return true
			}
		}
		return false
	})
	return owners
}

// resharded is three nodes of two parts, which write to shards a and b; c is free.
func resharded(t *testing.T, riders, each int) (n *partNodes, c *travellers, servers map[string]*influxd.Server, gate *gateway) {
	t.Helper()
	servers = map[string]*influxd.Server{"a": startInflux(t), "b": startInflux(t), "c": startInflux(t)}
	n = newPartNodes(t, "", startNATS(t), "n1", "n2", "n3")
	n.args = append(slices.Clone(reshardFlags), "--shard=name=a,url="+servers["a"].URL(), "--shard=name=b,url="+servers["b"].URL())
	for _, name := range []string{"n1", "n2", "n3"} {
		n.start(name)
	}
	two, _ := n.owners("n1", "n2", "n3")
	gate = newGateway(t, n.urls(two...)...)
	c = &travellers{t: t, readersAndSenders: readersAndSenders{from: time.Now().Add(-25 * time.Minute)}, url: gate.url(), riders: riders, pace: 150 * time.Millisecond}
	for batch := range slices.Chunk(c.history(each), 1000) {
		c.post(t.Context(), batch)
	}
	for _, name := range two {
		n.running[name].takesPings()
		n.running[name].settled()
	}
	return n, c, servers, gate
}

func (n *partNodes) urls(names ...string) (urls []string) {
	for _, name := range names {
		urls = append(urls, "http://"+n.at[name])
	}
	return urls
}

// While pings come in and tracks are read, a shard is added and another taken out, with history, on
// nodes that share the riders. The node that moves history is killed in the middle of the copy, and
// another takes its part and goes on; so is the node of the other part. In the end each ping is where
// the layout says, once.
func TestReshardTakeover(t *testing.T) {
	if testing.Short() {
		t.Skip("two takeovers of three nodes take seconds")
	}
	beside(t)
	n, c, servers, gate := resharded(t, 30, 15)
	all := []string{"n1", "n2", "n3"}
	owners := n.ownersOf(all...)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var busy sync.WaitGroup
	busy.Go(func() { c.drive(ctx) })
	busy.Go(func() { c.follow(ctx) })

	order := []string{"--add=name=c,url=" + servers["c"].URL(), "--remove=a", "--history=move", "--rate=200"}
	if said := n.mustReshard(owners[1], append([]string{"plan"}, order...)...); !strings.Contains(said, "history: ") || !strings.Contains(said, "kept with the logs") {
		t.Errorf("the plan says: %s", said)
	}
	t.Log(n.mustReshard(owners[1], append([]string{"start"}, order...)...))
	if status, said := n.reshard(owners[0], append([]string{"start"}, order...)...); status != exitFailed || !strings.Contains(said, "r-1 (add c, remove a) is going on, in phase dual") {
		t.Errorf("start again: exit status %d, %s", status, said)
	}
	copied := func(at string) func() bool {
		return func() bool {
			s := n.standing(at)
			return s.History != nil && s.History.Stage == moving.Copying && s.History.UnitsDone > 0 && s.History.UnitsDone < s.History.Units
		}
	}
	eventually(t, "a part of history is copied", copied(owners[1]))
	t.Log(n.mustReshard(owners[1], "status"))
	if s := n.standing(owners[1]); len(s.Parts) != 2 || s.Phase != reshard.Dual || s.Parts[0].Phase != reshard.Dual || s.Parts[1].Phase != reshard.Dual || s.Parts[0].Node != owners[0] {
		t.Errorf("the status is %+v", s)
	}

	n.running[owners[0]].kill() // the node that moves history
	gate.leadTo(n.urls(owners[1])...)
	eventually(t, "a part without a node is named", func() bool {
		s := n.standing(owners[1])
		return s.Parts[0].Node == "" && strings.Contains(s.Parts[0].Behind, "has no node") || s.Parts[0].Node != owners[0]
	})
	killed := owners[0]
	owners = n.ownersOf(owners[1])
	if owners[0] == killed {
		t.Fatalf("%s is killed, and has part 0", killed)
	}
	gate.leadTo(n.urls(owners[:]...)...)
	n.start(killed)
	eventually(t, "the copy goes on", copied(owners[1]))

	n.running[owners[1]].kill()
	gate.leadTo(n.urls(owners[0])...)
	killed = owners[1]
	owners = n.ownersOf(owners[0])
	gate.leadTo(n.urls(owners[:]...)...)
	n.start(killed)
	t.Log(n.mustReshard(owners[0], "status"))
	t.Log(n.mustReshard(owners[1], "cut"))
	t.Log(n.mustReshard(owners[1], "verify", "--full"))
	if s := n.standing(owners[0]); s.Phase != reshard.Cut {
		t.Errorf("after cut: %+v", s)
	}
	t.Log(n.mustReshard(owners[1], "finish"))
	n.mustReshard(owners[1], "delete")
	eventually(t, "the old shard has let go", func() bool { return n.standing(owners[1]).History.Stage == moving.Deleted })
	t.Log(n.mustReshard(owners[1], "status"))
	stop()
	busy.Wait()
	for _, name := range owners {
		n.running[name].takesPings()
		n.running[name].settled()
	}
	if s := n.standing(owners[1]); s.Phase != reshard.Settled || len(s.ReadOnly) > 0 || s.InForce.String() != "b=1 c=1" {
		t.Errorf("in the end: %+v", s)
	}
	in := laidOut(t, servers, partition.Shard{Name: "b", Weight: 1}, partition.Shard{Name: "c", Weight: 1})
	for i := range c.sent {
		if ping := fmt.Sprint(c.sent[i].Rider, " ", c.sent[i].At); in[ping] != 1 {
			t.Fatalf("%s is %d times there", ping, in[ping])
		}
	}
	if len(in) != len(c.sent) || c.asked < 20 {
		t.Errorf("%d pings are stored, and %d were sent; %d tracks read", len(in), len(c.sent), c.asked)
	}
	t.Logf("%d pings, %d tracks read", len(c.sent), c.asked)
}

// whole checks that both nodes tell the whole track of each rider, each ping once.
func (n *partNodes) whole(c *travellers, names ...string) {
	n.t.Helper()
	c.mu.Lock()
	want := make(map[string]map[int64]bool)
	for i := range c.sent {
		if want[c.sent[i].Rider] == nil {
			want[c.sent[i].Rider] = make(map[int64]bool)
		}
		want[c.sent[i].Rider][c.sent[i].At] = true
	}
	c.mu.Unlock()
	for _, name := range names {
		for rider, pings := range want {
			page := readSet(n.t, "http://"+n.at[name], fmt.Sprintf("/v1/riders/%s/track?limit=10000&from=%d", rider, c.from.Add(-100*time.Hour).UnixMilli()))
			have := make(map[int64]int)
			for _, p := range page.Pings {
				have[p.TS]++
			}
			for at := range pings {
				if have[at] != 1 {
					n.t.Fatalf("%s tells %d times of the ping of %s at %d: status %d, partial %v", name, have[at], rider, at, page.status, page.Partial)
				}
			}
			if len(have) != len(pings) || page.Partial {
				n.t.Fatalf("%s tells %d pings of %s, %d were sent; partial %v", name, len(have), rider, len(pings), page.Partial)
			}
		}
	}
}

// Nodes that know other shards than the rest are named, and nothing is changed. A change of two parts
// is aborted in each phase; a node that is away holds it back, and is named. Reads are as before.
func TestReshardPartsAbort(t *testing.T) {
	if testing.Short() {
		t.Skip("two nodes with NATS servers and InfluxDBs take seconds")
	}
	beside(t)
	servers := map[string]*influxd.Server{"a": startInflux(t), "b": startInflux(t), "c": startInflux(t)}
	shard := func(name, at string) string { return "--shard=name=" + name + ",url=" + servers[at].URL() }
	n := newPartNodes(t, "", startNATS(t), "n1", "n2")
	start := func(name string, shards ...string) {
		t.Helper()
		n.args = append(slices.Clone(reshardFlags), shards...)
		n.start(name)
	}
	right := []string{shard("a", "a"), shard("b", "b")}
	start("n1", right...)
	refused := func(says ...string) {
		t.Helper()
		n.ownersOf("n1", "n2")
		for _, at := range []string{"n1", "n2"} {
			var status int
			var said string
			eventually(t, "nodes know each other", func() bool {
				status, said = n.reshard(at, "start", "--add=name=c,url="+servers["c"].URL())
				return !strings.Contains(said, "holds it back")
			})
			if status != exitFailed {
				t.Fatalf("start at %s: exit status %d, %s", at, status, said)
			}
			for _, want := range says {
				if !strings.Contains(said, want) {
					t.Errorf("start at %s: %q is not in %s", at, want, said)
				}
			}
		}
		for _, p := range n.standing("n1").Parts {
			if p.Phase != reshard.Settled || p.ID != "" {
				t.Errorf("after a refusal: %+v", p)
			}
		}
	}
	n.running["n1"].takesPings()
	start("n2", shard("a", "a"))
	refused("(node n2)", "a=1 b=1", "start all nodes with the same --shard")
	n.running["n2"].kill()
	start("n2", shard("a", "a"), shard("b", "c"))
	refused("shard b is "+servers["b"].URL(), servers["c"].URL(), "(node n1)", "(node n2)")
	n.running["n2"].kill()
	start("n2", right...)
	n.running["n2"].takesPings()
	owners := n.ownersOf("n1", "n2")
	both := owners[:]

	gate := newGateway(t, n.urls(both...)...)
	c := &travellers{t: t, readersAndSenders: readersAndSenders{from: time.Now().Add(-25 * time.Minute)}, url: gate.url(), riders: 20}
	c.post(t.Context(), c.history(10))
	some := func() {
		t.Helper()
		for range 5 {
			c.post(t.Context(), c.now())
		}
		for _, name := range both {
			n.running[name].settled()
		}
		n.whole(c, both...)
	}
	settled := func(why string, idle bool) {
		t.Helper()
		s := n.standing("n1")
		for _, p := range s.Parts {
			if p.Phase != reshard.Settled || p.ID != s.ID || p.Behind != "" {
				t.Errorf("%s: %+v", why, p)
			}
		}
		if s.Phase != reshard.Settled || s.InForce.String() != "a=1 b=1" || s.Mirror || len(s.Parts) != 2 || slices.Contains(s.Idle, "c") != idle || len(s.ReadOnly) > 0 == idle {
			t.Errorf("%s: %+v", why, s)
		}
	}
	some()

	n.mustReshard(owners[1], "start", "--replace=a=name=c,url="+servers["c"].URL(), "--history=move", "--rate=100")
	some()
	eventually(t, "a part of history is copied", func() bool {
		h := n.standing("n1").History
		return h != nil && h.Stage == moving.Copying && h.UnitsDone > 0
	})
	n.running[owners[1]].kill()
	if status, said := n.reshard(owners[0], "pause"); status != exitOK {
		t.Errorf("pause: exit status %d, %s", status, said)
	}
	eventually(t, "the part without a node holds the change back, and is named", func() bool {
		p := n.standing(owners[0]).Parts[1]
		return p.Node == "" && strings.Contains(p.Behind, "has no node")
	})
	if said := n.mustReshard(owners[0], "status"); !strings.Contains(said, "part 1 · no node · holds it back: the part has no node") {
		t.Errorf("status: %s", said)
	}
	resp, err := http.Post(n.ops[owners[0]]+"/v1/reshard/abort", "application/json", strings.NewReader(`{"clean":true}`))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusTooEarly {
		t.Errorf("abort without the node of part 1: %s", resp.Status)
	}
	start(owners[1], right...) // it opens c as the log says
	n.running[owners[1]].takesPings()
	n.mustReshard(owners[1], "abort", "--clean")
	eventually(t, "c is clean", func() bool { return n.standing("n1").History == nil })
	settled("after abort --clean in dual", true)
	for ping := range storedIn(t, servers["c"]) {
		var rider string
		var at int64
		if _, err := fmt.Sscan(ping, &rider, &at); err != nil || at > c.from.Add(-49*time.Hour).UnixMilli() && at < c.from.Add(-23*time.Hour).UnixMilli() {
			t.Errorf("c has %s: %v", ping, err) // the rest is of the mirror, in pieces that were not copied
		}
	}
	some()

	n.mustReshard(owners[0], "start", "--add=c")
	some()
	if s := n.standing("n1"); s.Phase != reshard.Cut {
		t.Errorf("added: %+v", s)
	}
	n.mustReshard(owners[1], "abort")
	settled("after abort of an added shard, which has rows", false)
	for _, order := range []string{"--add=name=c,url=http://127.0.0.1:9", "--replace=a=name=c,url=http://127.0.0.1:9"} {
		for _, step := range []string{"plan", "start"} {
			if status, said := n.reshard(owners[1], step, order); status != exitFailed || !strings.Contains(said, "shard c is known, at "+servers["c"].URL()) {
				t.Errorf("%s of a shard that is known, at another address: exit status %d, %s", step, status, said)
			}
		}
	}
	some()

	n.mustReshard(owners[1], "start", "--remove=a", "--add=c")
	some()
	n.mustReshard(owners[0], "cut")
	some()
	n.mustReshard(owners[1], "abort")
	some()
	for _, step := range []string{"abort", "cut", "finish"} {
		if status, said := n.reshard(owners[0], step); status != exitFailed || !strings.Contains(said, "there is nothing to ") {
			t.Errorf("%s in the end: exit status %d, %s", step, status, said)
		}
	}
	if s := n.standing("n1"); s.Phase != reshard.Settled || s.InForce.String() != "a=1 b=1" {
		t.Errorf("in the end: %+v", s)
	}
}

// remove has a node begin to remove a rider.
func (n *partNodes) remove(name, rider string) {
	n.t.Helper()
	req, err := http.NewRequest(http.MethodDelete, n.ops[name]+"/v1/riders/"+rider, nil)
	if err != nil {
		n.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		n.t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		n.t.Fatalf("delete %s: %s", rider, resp.Status)
	}
}

// storedOf returns where pings of some riders are.
func storedOf(t *testing.T, servers map[string]*influxd.Server, of map[string]bool) (places []string) {
	t.Helper()
	for name, server := range servers {
		for ping := range storedIn(t, server) {
			if rider, _, _ := strings.Cut(ping, " "); of[rider] {
				places = append(places, name+" has "+ping)
			}
		}
	}
	return places
}

// A rider of one node is removed while another moves the history of all: no copy brings pings back.
func TestReshardPartsRemovesRider(t *testing.T) {
	if testing.Short() {
		t.Skip("three nodes with NATS servers and InfluxDBs take seconds")
	}
	beside(t)
	n, c, servers, _ := resharded(t, 30, 15)
	owners := n.ownersOf("n1", "n2", "n3")
	gone := ""
	for i := range c.riders {
		if gone = fmt.Sprint("r-", i); partition.Part(gone, 2) == 1 {
			break
		}
	}
	n.mustReshard(owners[1], "start", "--add=name=c,url="+servers["c"].URL(), "--remove=a", "--history=move", "--rate=100")
	eventually(t, "history is copied", func() bool { h := n.standing(owners[1]).History; return h != nil && h.UnitsDone > 0 })
	n.remove(owners[1], gone)
	in := func() []string { return storedOf(t, servers, map[string]bool{gone: true}) }
	eventually(t, "the rider is removed", func() bool { return len(in()) == 0 })
	t.Log(n.mustReshard(owners[0], "status"))
	eventually(t, "history is moved", func() bool { return n.standing(owners[1]).History.Stage == moving.Moved })
	if left := in(); len(left) > 0 {
		t.Fatalf("a copy brought pings back: %v", left)
	}
}
