package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pingline/internal/pause"
	"pingline/partition"
	"pingline/sink/reshard"
)

// killer kills nodes that have a part, at random moments, and starts them again.
type killer struct {
	n    *partNodes
	rng  *rand.Rand
	gate *gateway
	seen map[string]int // phase of the change at a kill
}

var threeNodes = []string{"n1", "n2", "n3"}

// run kills until ctx ends; then all nodes run. The gateway leads to nodes that take pings.
func (k *killer) run(ctx context.Context) {
	for ctx.Err() == nil {
		owners := k.n.ownersOf(threeNodes...)
		k.gate.leadTo(k.n.urls(owners[:]...)...)
		if pause.For(ctx, time.Duration(3e9+k.rng.Int64N(12e9))) != nil {
			return
		}
		at := k.rng.IntN(2)
		phase := "no answer"
		if status, said := k.n.reshard(owners[1-at], "status"); status == exitOK {
			phase = string(reshard.Settled)
			for _, p := range []reshard.ChangePhase{reshard.Dual, reshard.Cut} {
				if strings.Contains(said, " · "+string(p)+" · ") {
					phase = string(p)
				}
			}
		}
		k.seen[fmt.Sprint(phase, ", part ", at)]++
		k.n.running[owners[at]].kill()
		k.gate.leadTo(k.n.urls(owners[1-at])...)
		k.n.start(owners[at])
	}
}

// insist makes a step, at nodes at random, until it is made or not possible any more.
func (n *partNodes) insist(rng *rand.Rand, possible func(said string) bool, args ...string) (made bool) {
	n.t.Helper()
	for began := time.Now(); time.Since(began) < 10*patience; time.Sleep(200 * time.Millisecond) {
		status, said := n.reshard(threeNodes[rng.IntN(3)], args...)
		switch {
		case status == exitOK:
			return true
		case !possible(said):
			n.t.Logf("%v: %s", args, said)
			return false
		}
	}
	n.t.Fatalf("%v is not made", args)
	return false
}

// Shards of three nodes are changed to and fro, with history, while nodes are killed at random, in the
// middle of steps too, and every other change is aborted somewhere. In the end each ping is where the
// layout says, or elsewhere beside, and is told of once. -chaos says for how long; without, it is skipped.
func TestChaosReshardsParts(t *testing.T) {
	needsChaos(t)
	seed := *chaosSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-chaos=%v -chaos-seed=%d", *chaos, seed)
	rng := rand.New(rand.NewPCG(seed, 5))
	n, c, servers, gate := resharded(t, 30, 15)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var busy, killing sync.WaitGroup
	busy.Go(func() { c.drive(ctx) })
	busy.Go(func() { c.follow(ctx) })
	deadly, peace := context.WithCancel(t.Context())
	k := &killer{n: n, rng: rand.New(rand.NewPCG(seed, 6)), gate: gate, seen: map[string]int{}}
	killing.Go(func() { k.run(deadly) })
	done := func(said string) bool { // by an earlier try, whose answer was lost
		return strings.Contains(said, "there is nothing to ") || strings.Contains(said, "has finished")
	}
	again := func(said string) bool { return !done(said) }

	in, out, changes := "c", "a", 0
	for began := time.Now(); time.Since(began) < *chaos; changes++ {
		order := []string{"start", "--add=name=" + in + ",url=" + servers[in].URL(), "--remove=" + out, "--history=move", "--rate=0"}
		n.insist(rng, func(said string) bool { return !strings.Contains(said, "is going on, in phase") }, order...)
		if changes%2 == 1 {
			_ = pause.For(ctx, time.Duration(rng.Int64N(int64(4*time.Second))))
			if rng.IntN(2) == 0 {
				n.insist(rng, again, "cut")
			}
			n.insist(rng, again, "abort")
			continue
		}
		n.insist(rng, again, "cut")
		n.insist(rng, again, "finish")
		n.insist(rng, func(said string) bool { return !strings.Contains(said, "no history is being moved") }, "delete")
		in, out = out, in
	}
	peace()
	killing.Wait()
	owners := n.ownersOf(threeNodes...)
	gate.leadTo(n.urls(owners[:]...)...)
	eventually(t, "the old shard has let go", func() bool {
		s := n.standing(owners[0])
		return s.History == nil || !s.History.Works()
	})
	t.Log(n.mustReshard(owners[0], "status"))
	stop()
	busy.Wait()
	for _, name := range owners {
		n.running[name].takesPings()
		n.running[name].settled()
	}
	s := n.standing(owners[1])
	for _, p := range s.Parts {
		if p.Phase != reshard.Settled || p.ID != s.ID || p.Behind != "" {
			t.Errorf("in the end: %+v", p)
		}
	}
	shards, err := partition.NewShards(s.InForce...)
	if err != nil {
		t.Fatal(err)
	}
	stored := map[string]map[string]int{}
	for name, server := range servers {
		stored[name] = storedIn(t, server)
	}
	for i := range c.sent {
		owner := own(t, &c.sent[i], s.InForce...)
		if ping := fmt.Sprint(c.sent[i].Rider, " ", c.sent[i].At); stored[owner][ping] == 0 {
			lies := slices.DeleteFunc([]string{"a", "b", "c"}, func(name string) bool { return stored[name][ping] == 0 })
			t.Fatalf("%s is not in %s, but in %v; %d shards are in force", ping, owner, lies, shards.Len())
		}
	}
	n.whole(c, owners[:]...)
	t.Logf("%d changes, kills by phase: %v; %d pings, %d tracks read", changes, k.seen, len(c.sent), c.asked)
}
