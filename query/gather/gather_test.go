package gather

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pingline"
	"pingline/dedupe"
	"pingline/ingest"
	"pingline/ingest/forward"
	"pingline/partition"
	"pingline/query/fleet"
	"pingline/queue"
	"pingline/rollup"
)

// node is a writer, with all that tells other nodes of it.
type node struct {
	log       *queue.Log
	writer    *ingest.Writer
	rollup    *rollup.Rollup
	gatherer  *Gatherer
	forwarder *forward.Forwarder
	fleet     *fleet.Map
	stop      func() // the way to it
}

// cluster are nodes that share riders, as the forwarder of each knows it.
type cluster struct {
	t     testing.TB
	parts int
	mu    sync.Mutex
	addrs map[int]string
	nodes []*node
}

var filter = func() dedupe.Config {
	c := dedupe.DefaultConfig()
	c.MaxRiders = 10_000
	return c
}()

func openNode(t testing.TB) *node {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	log, err := queue.Open(t.Context(), queue.Config{Dir: t.TempDir(), Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	w, err := ingest.OpenWriter(t.Context(), ingest.WriterConfig{Log: log, Filter: filter, Bound: dedupe.Bound{MaxError: 10, AccuracyCap: 50}, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	n := &node{log: log, writer: w}
	n.rollup, err = rollup.New(rollup.Config{
		Log: log, Resolutions: []int{8, 6}, Windows: []time.Duration{10 * time.Second}, MinRiders: least, Apart: true, Logger: quiet,
		Emit: func(context.Context, []pingline.Entry) error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	counted := make(chan error, 1)
	counting, stop := context.WithCancel(context.Background())
	go func() { counted <- n.rollup.Run(counting) }()
	t.Cleanup(func() {
		stop()
		if err := <-counted; err != nil {
			t.Error(err)
		}
	})
	return n
}

// least is the least riders of a cell: a part has fewer of most cells.
const least = 3

// alone returns a node that has all riders.
func alone(t testing.TB) *node {
	n := openNode(t)
	n.gatherer = New(Config{Newest: n.writer.NewestPings, Rollup: n.rollup, MinRiders: least})
	n.fleet = n.newMap()
	return n
}

func (n *node) newMap() *fleet.Map {
	return fleet.New(fleet.Config{
		Newest: n.writer.NewestPings, Others: n.gatherer.Others(), MaxRiders: filter.MaxRiders, Cells: n.gatherer.Cells, Resolutions: []int{8, 6},
	})
}

func newCluster(t testing.TB, parts int) *cluster {
	c := &cluster{t: t, parts: parts, addrs: make(map[int]string), nodes: make([]*node, parts)}
	for part := range parts {
		c.join(part)
	}
	return c
}

// join has a new node take a part.
func (c *cluster) join(part int) *node {
	c.t.Helper()
	n := openNode(c.t)
	n.gatherer = New(Config{
		Parts: c.parts, Own: part, Newest: n.writer.NewestPings, Rollup: n.rollup, MinRiders: least, Logger: slog.New(slog.DiscardHandler),
		Ask: func(part int, question, dst []byte) ([]byte, error) { return n.forwarder.Ask(part, question, dst) },
	})
	n.fleet = n.newMap()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		c.t.Fatal(err)
	}
	n.forwarder, err = forward.New(forward.Config{
		Parts: c.parts, Own: part, Local: n.writer.Submit, Owner: c.owner, Tell: n.gatherer.Tell,
		Peer: forward.Security{Secret: []byte("a secret of nodes that are tested")}, Logger: slog.New(slog.DiscardHandler),
	}, ln)
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.forwarder.Run(ctx) }()
	n.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			c.t.Error(err)
		}
	})
	c.t.Cleanup(n.stop)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.addrs[part], c.nodes[part] = ln.Addr().String(), n
	return n
}

func (c *cluster) owner(part int) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.addrs[part]
}

var cellsOf, _ = partition.NewCells(8)

// jobOf returns a job of pings of riders by number, at places that follow from both numbers.
func jobOf(riders, round int, at time.Time) *ingest.Job {
	j := new(ingest.Job)
	for i := range riders {
		p := pingline.Ping{Rider: fmt.Sprint("r-", i), Device: []string{"", "watch"}[i%7/6], Fix: pingline.Fix{At: at.UnixMilli()}}
		lon := math.Remainder(179.9+float64(i)/float64(riders)*0.2+float64(round)/1000, 360) // over the date line
		if err := p.SetPosition(41+float64(i%10)/100+float64(round*(i%3))/100, lon); err != nil {
			panic(err)
		}
		p.SetOptional(pingline.HasSpeed, float64(i%30)/3)
		j.Pings, j.Cells = append(j.Pings, p), append(j.Cells, cellsOf.Of(&p.Fix))
	}
	return j
}

// seen returns the riders on the pages of a box, and whether a page was partial.
func (n *node) seen(t testing.TB, q fleet.InBox) (list []string, partial bool) {
	t.Helper()
	for {
		page, err := n.fleet.Riders(&q)
		if errors.Is(err, fleet.ErrCursor) { // a part has come to another node
			list, q.Cursor = nil, ""
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(page.List) > q.Limit || page.Next != "" && len(page.List) < q.Limit {
			t.Errorf("a page of %d of at most %d, the next is %q", len(page.List), q.Limit, page.Next)
		}
		partial = partial || page.Partial
		for i := range page.List {
			e := &page.List[i]
			list = append(list, fmt.Sprintf("%s/%s %+v", e.Rider, e.Device, e.Fix))
		}
		if q.Cursor = page.Next; q.Cursor == "" {
			slices.Sort(list)
			return list, partial
		}
	}
}

// eventually waits for a state, which is there soon: a snapshot is a second old at most.
func eventually(t testing.TB, state string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it does not come to be so that %s", state)
		}
	}
}

// Each of several nodes tells the same of all riders as a single node that got the same pings.
func TestRidersOfAllNodes(t *testing.T) {
	one, c := alone(t), newCluster(t, 4)
	start := time.Now().Add(-20 * time.Second).Truncate(time.Second)
	const riders = 600
	for round := range 4 {
		at := start.Add(time.Duration(round) * 5 * time.Second)
		if err := one.writer.Submit(jobOf(riders, round, at)); err != nil {
			t.Fatal(err)
		}
		if err := c.nodes[round%4].forwarder.Submit(jobOf(riders, round, at)); err != nil {
			t.Fatal(err)
		}
		globe := partition.Box{West: -180, South: -90, East: 180, North: 90}
		for _, q := range []fleet.InBox{
			{Box: globe, Since: at.UnixMilli(), Limit: 10_000},
			{Box: globe, Since: math.MinInt64, Limit: 10_000},
			{Box: globe, Since: math.MinInt64, Limit: 7},
			{Box: partition.Box{West: 179.95, South: 41, East: -179.95, North: 41.05}, Since: math.MinInt64, Limit: 50},
			{Box: partition.Box{West: 179.95, South: 41, East: 179.99, North: 42}, Since: at.UnixMilli(), Limit: 50},
			{Box: globe, Since: at.UnixMilli() + 1, Limit: 50},
		} {
			for _, n := range c.nodes {
				eventually(t, "a node tells of all riders", func() bool {
					want, _ := one.seen(t, q)
					got, partial := n.seen(t, q)
					return slices.Equal(got, want) && !partial && (q.Limit < 10_000 || len(got) == riders)
				})
			}
		}
	}
	if want, _ := one.seen(t, fleet.InBox{Box: partition.Box{West: 179.95, South: 41, East: -179.95, North: 41.05}, Since: math.MinInt64, Limit: 50}); len(want) < 50 {
		t.Errorf("%d riders at the date line show little", len(want))
	}
}

// Cells of all nodes are those of a single node that got the same pings: of enough riders together, though a part has
// fewer, and of the same windows.
func TestCellsOfAllNodes(t *testing.T) {
	one, c := alone(t), newCluster(t, 4)
	start := time.Now().Add(-40 * time.Second).Truncate(10 * time.Second)
	const riders = 200
	for round := range 4 {
		for _, submit := range []func(*ingest.Job) error{one.writer.Submit, c.nodes[round].forwarder.Submit} {
			if err := submit(jobOf(riders>>(round%2), round, start.Add(time.Duration(round)*10*time.Second))); err != nil {
				t.Fatal(err)
			}
		}
	}
	globe := partition.Box{West: -180, South: -90, East: 180, North: 90}
	line := partition.Box{West: 179.95, South: 41, East: -179.95, North: 41.2}
	cells := func(n *node, box partition.Box, res, most int) []fleet.Activity {
		list, partial, err := n.gatherer.Cells(box, res, most)
		if err != nil || partial {
			t.Fatal(partial, err)
		}
		return list
	}
	few := 0
	for part := range 4 {
		list, _, _, err := c.nodes[part].rollup.Apart(globe, 8, 1000, true)
		if err != nil {
			t.Fatal(err)
		}
		for i := range list {
			if list[i].Riders < least {
				few++
			}
		}
	}
	for _, n := range c.nodes {
		for _, q := range []struct {
			box       partition.Box
			res, most int
		}{{globe, 8, 1000}, {globe, 6, 1000}, {globe, -1, 1000}, {line, 8, 1000}, {globe, 8, 5}} {
			eventually(t, "cells are those of a single node", func() bool {
				want := cells(one, q.box, q.res, q.most)
				got := cells(n, q.box, q.res, q.most)
				return slices.Equal(got, want) && len(want) > 1
			})
		}
	}
	if want := cells(one, globe, 8, 1000); len(want) < 20 || few < 20 {
		t.Errorf("%d cells, and %d totals of few riders, show little", len(want), few)
	}
	c.nodes[3].stop()
	if _, partial, err := c.nodes[0].gatherer.Cells(globe, 8, 1000); err != nil || !partial {
		t.Errorf("without a node: partial %v, %v", partial, err)
	}
}

// A part without a node is told of as it was, as partial, and by its next owner whole.
func TestRidersOfAPartThatIsAway(t *testing.T) {
	c := newCluster(t, 2)
	at := time.Now().Truncate(time.Second)
	if err := c.nodes[0].forwarder.Submit(jobOf(100, 0, at)); err != nil {
		t.Fatal(err)
	}
	all := fleet.InBox{Box: partition.Box{West: -180, South: -90, East: 180, North: 90}, Since: math.MinInt64, Limit: 30}
	told, partial := c.nodes[0].seen(t, all)
	if len(told) != 100 || partial {
		t.Fatalf("%d riders, partial %v", len(told), partial)
	}
	c.nodes[1].stop()
	eventually(t, "the answer is partial", func() bool {
		got, partial := c.nodes[0].seen(t, all)
		if !slices.Equal(got, told) {
			t.Fatalf("%d riders are told of when a node is away", len(got))
		}
		return partial
	})
	view := fleet.View{Look: fleet.Look{Riders: true, Res: -1}, Box: all.Box}
	var before, delta fleet.Delta
	c.nodes[0].fleet.Change(&before, &view, "")
	page, err := c.nodes[0].fleet.Riders(&fleet.InBox{Box: all.Box, Since: math.MinInt64, Limit: 30})
	if err != nil || !before.Full || !before.Partial || len(before.Riders) != 100 {
		t.Fatalf("%+v, %v", before, err)
	}

	next := c.join(1) // which knows fewer riders, and numbers them in another order
	j := jobOf(100, 1, at.Add(5*time.Second))
	slices.Reverse(j.Pings)
	j.Pings, j.Cells = j.Pings[:50], j.Cells[:50]
	for i := range j.Pings {
		j.Cells[i] = cellsOf.Of(&j.Pings[i].Fix)
	}
	if err := next.forwarder.Submit(j); err != nil {
		t.Fatal(err)
	}
	own, away := 0, 0 // riders told of from now on
	for i := range 100 {
		if partition.Part(fmt.Sprint("r-", i), 2) == 0 {
			own++
		} else if i >= 50 {
			away++
		}
	}
	for _, n := range c.nodes {
		eventually(t, "the next owner's riders are told of", func() bool {
			got, partial := n.seen(t, all)
			return len(got) == own+away && !partial
		})
	}
	c.nodes[0].fleet.Change(&delta, &view, before.ID)
	if delta.Full || delta.Partial {
		t.Errorf("a viewer begins anew: %+v", delta)
	}
	known := make(map[uint32]bool)
	for _, key := range before.Riders {
		known[key] = true
	}
	for _, key := range delta.RidersGone {
		delete(known, key)
	}
	for _, key := range delta.Riders {
		known[key] = true
	}
	if len(known) != own+away {
		t.Errorf("a viewer knows %d riders after the takeover, want %d", len(known), own+away)
	}
	if _, err := c.nodes[0].fleet.Riders(&fleet.InBox{Box: all.Box, Cursor: page.Next, Limit: 30}); err == nil {
		t.Error("a cursor from before the takeover is taken, though its numbers are used again")
	}
}

// A rider who is removed at the owner is told of by nobody.
func TestRemovedRidersOfOtherNodes(t *testing.T) {
	c := newCluster(t, 2)
	if err := c.nodes[0].forwarder.Submit(jobOf(20, 0, time.Now())); err != nil {
		t.Fatal(err)
	}
	all := fleet.InBox{Box: partition.Box{West: -180, South: -90, East: 180, North: 90}, Since: math.MinInt64, Limit: 30}
	rider := ""
	for i := 0; rider == ""; i++ {
		if name := fmt.Sprint("r-", i); partition.Part(name, 2) == 1 {
			rider = name
		}
	}
	has := func(n *node) bool {
		list, _ := n.seen(t, all)
		return slices.ContainsFunc(list, func(s string) bool { return strings.HasPrefix(s, rider+"/") })
	}
	if !has(c.nodes[0]) || !has(c.nodes[1]) {
		t.Fatalf("%s is not told of", rider)
	}
	mark := pingline.Entry{Kind: pingline.Activity, Point: &pingline.Point{Name: "removal", At: 1, Fields: []pingline.PointField{pingline.Int("n", 1)}}}
	if _, err := c.nodes[1].writer.Erase(rider, mark); err != nil {
		t.Fatal(err)
	}
	c.nodes[1].gatherer.Forget(c.nodes[1].fleet.Erase)(rider)
	for _, n := range c.nodes {
		eventually(t, "nobody tells of a rider who was removed", func() bool { return !has(n) })
	}
}
