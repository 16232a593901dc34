package sink

import (
	"context"
	"slices"
	"sync"
	"time"
)

// gate admits writes to one InfluxDB: as many at once as its pace says, and in
// an order that says whose turn it is. Critical writes go first and need not
// wait for room: one of them may always be under way, beside the limit. The
// rest share by weight what is written, in rows, for as long as they compete;
// of what lies idle each may take all, but backfill and our own lines leave
// room for one live write, so that a fresh ping never waits for old ones.
//
// Our own lines come last, but for a hundredth: standing still they would keep
// the log from being trimmed.
type gate struct {
	pace *pace
	half func() bool // the breaker is half-open: one at a time

	mu     sync.Mutex
	queues [laneKinds][]*ticket
	busy   [laneKinds]int
	owed   [laneKinds]float64 // rows admitted ÷ weight: who has least is next
	turn   float64            // owed of the one admitted last: who has been idle starts there
}

var gateWeights = [laneKinds]float64{live: 90, backfill: 10, own: 1}

// ticket is a write that waits.
type ticket struct {
	rows     int
	probe    bool          // admitted while the breaker was half-open
	admitted chan struct{} // closed once it may begin
}

// enter waits until a write of rows may begin. What it returns ends the write,
// and is told how many rows were taken; the only error is ctx's.
func (g *gate) enter(ctx context.Context, kind laneKind, rows int) (leave func(taken int), err error) {
	t := &ticket{rows: rows, admitted: make(chan struct{})}
	g.mu.Lock()
	if len(g.queues[kind]) == 0 && g.busy[kind] == 0 {
		g.owed[kind] = max(g.owed[kind], g.turn)
	}
	g.queues[kind] = append(g.queues[kind], t)
	g.admit()
	g.mu.Unlock()
	select {
	case <-t.admitted:
	case <-ctx.Done():
		if g.withdraw(kind, t) {
			return nil, ctx.Err()
		}
	}
	began := time.Now()
	return func(taken int) {
		took := time.Since(began)
		g.mu.Lock()
		defer g.mu.Unlock()
		g.busy[kind]--
		g.admit()
		if !t.probe {
			g.pace.ended(taken, took, g.waiting() > 0)
		}
	}, nil
}

func (g *gate) waiting() (n int) {
	for _, q := range g.queues {
		n += len(q)
	}
	return n
}

// limit returns how many writes there may be at once.
func (g *gate) limit() int {
	if g.half() {
		return 1
	}
	return g.pace.most()
}

// withdraw takes back t, unless it has been admitted.
func (g *gate) withdraw(kind laneKind, t *ticket) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.Index(g.queues[kind], t)
	if i < 0 {
		return false
	}
	g.queues[kind] = slices.Delete(g.queues[kind], i, i+1)
	return true
}

// admit lets in all that may begin now.
func (g *gate) admit() {
	half, limit := g.half(), g.limit()
	for {
		kind, ok := g.choose(limit)
		if !ok {
			return
		}
		t := g.queues[kind][0]
		g.queues[kind] = g.queues[kind][1:]
		g.busy[kind]++
		if kind != critical {
			g.turn = g.owed[kind]
			g.owed[kind] += float64(max(t.rows, 1)) / gateWeights[kind]
		}
		t.probe = half
		close(t.admitted)
	}
}

// choose returns whose turn it is.
func (g *gate) choose(limit int) (kind laneKind, ok bool) {
	all := 0
	for _, n := range g.busy {
		all += n
	}
	if len(g.queues[critical]) > 0 && (all < limit || g.busy[critical] == 0) {
		return critical, true
	}
	if all-min(g.busy[critical], 1) >= limit {
		return 0, false
	}
	left := 0 // for a live write
	if g.busy[live] == 0 && limit > 1 {
		left = 1
	}
	for k := live; k < laneKinds; k++ {
		if len(g.queues[k]) == 0 || k != live && all+left >= limit {
			continue
		}
		if !ok || g.owed[k] < g.owed[kind] {
			kind, ok = k, true
		}
	}
	return kind, ok
}

// inFlight returns how many writes are under way and how many may be.
func (g *gate) inFlight() (n, limit int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, k := range g.busy {
		n += k
	}
	return n, g.limit()
}
