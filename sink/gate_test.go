package sink

import (
	"context"
	"testing"
	"testing/synctest"
)

func testGate(limit int) *gate {
	return &gate{pace: &pace{limit: limit, unripe: 1 << 30}, half: func() bool { return false }}
}

// waiter is a write that waits at a gate, or is under way.
type waiter struct {
	kind  laneKind
	leave func(int)
}

// queueUp has n writes of rows wait at g, and sends those that are admitted to
// admitted. It is for a bubble of synctest.
func queueUp(t *testing.T, g *gate, admitted chan<- waiter, kind laneKind, n, rows int) {
	for range n {
		go func() {
			leave, err := g.enter(t.Context(), kind, rows)
			if err == nil {
				admitted <- waiter{kind, leave}
			}
		}()
		synctest.Wait()
	}
}

// While all compete, what is written is shared by weight, and events go first.
func TestGateSharesByWeight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := testGate(1)
		admitted := make(chan waiter, 10_000)
		hold, err := g.enter(t.Context(), live, 1)
		if err != nil {
			t.Fatal(err)
		}
		queueUp(t, g, admitted, backfill, 300, 5000)
		queueUp(t, g, admitted, live, 2000, 1000) // smaller batches, but rows are what counts
		queueUp(t, g, admitted, own, 300, 500)
		queueUp(t, g, admitted, critical, 50, 10)
		var rows [laneKinds]int
		size := [laneKinds]int{critical: 10, live: 1000, backfill: 5000, own: 500}
		hold(1)
		for i := range 1000 {
			w := <-admitted
			rows[w.kind] += size[w.kind]
			if i > 110 && rows[critical] < 500 { // of two at once, one
				t.Fatal("events wait for others")
			}
			w.leave(1)
			synctest.Wait()
		}
		all := float64(rows[live] + rows[backfill] + rows[own])
		for kind, want := range map[laneKind]float64{live: 90. / 101, backfill: 10. / 101, own: 1. / 101} {
			if got := float64(rows[kind]) / all; got < want*0.9-0.003 || got > want*1.1+0.003 {
				t.Errorf("%v has %.1f %% of the rows, want %.1f %%", kind, 100*got, 100*want)
			}
		}
	})
}

func TestGate(t *testing.T) {
	for _, tt := range []struct {
		name  string
		limit int
		come  []laneKind
		want  [laneKinds]int // under way
	}{
		{"as many as the limit", 3, []laneKind{live, live, live, live}, [laneKinds]int{live: 3}},
		{"an event beside the limit", 2, []laneKind{live, live, critical, critical}, [laneKinds]int{critical: 1, live: 2}},
		{"an event beside a limit of one", 1, []laneKind{backfill, critical, live}, [laneKinds]int{critical: 1, backfill: 1}},
		{"events take all", 3, []laneKind{critical, critical, critical, critical, live}, [laneKinds]int{critical: 3, live: 1}},
		{"backfill leaves room for live", 3, []laneKind{backfill, backfill, backfill}, [laneKinds]int{backfill: 2}},
		{"which live takes", 3, []laneKind{backfill, backfill, backfill, live, live}, [laneKinds]int{backfill: 2, live: 1}},
		{"and events cannot use up", 3, []laneKind{critical, backfill, backfill, live}, [laneKinds]int{critical: 1, backfill: 1, live: 1}},
		{"our own lines are alike", 3, []laneKind{own, backfill, own, own}, [laneKinds]int{own: 1, backfill: 1}},
		{"where only one may be, anyone is", 1, []laneKind{own, live}, [laneKinds]int{own: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g, admitted := testGate(tt.limit), make(chan waiter, 10)
				for _, kind := range tt.come {
					queueUp(t, g, admitted, kind, 1, 1)
				}
				if g.busy != tt.want {
					t.Errorf("under way are %v, want %v", g.busy, tt.want)
				}
				for left := len(tt.come); left > 0; left-- { // and none waits for ever
					(<-admitted).leave(1)
					synctest.Wait()
				}
				if g.busy != [laneKinds]int{} {
					t.Errorf("at the end, under way are %v", g.busy)
				}
			})
		})
	}
}

// Who comes back after a time has not saved up turns.
func TestGateForgetsWhoWasIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, admitted := testGate(1), make(chan waiter, 10_000)
		for range 1000 { // live alone
			leave, err := g.enter(t.Context(), live, 5000)
			if err != nil {
				t.Fatal(err)
			}
			leave(1)
		}
		queueUp(t, g, admitted, live, 100, 5000)
		queueUp(t, g, admitted, backfill, 100, 5000)
		var n [laneKinds]int
		for range 50 {
			w := <-admitted
			n[w.kind]++
			w.leave(1)
			synctest.Wait()
		}
		if n[backfill] < 3 || n[backfill] > 8 {
			t.Errorf("backfill had %d of 50 turns, want a tenth", n[backfill])
		}
	})
}

func TestGateGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := testGate(1)
		leave, err := g.enter(t.Context(), live, 1)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan error)
		go func() {
			_, err := g.enter(ctx, live, 1)
			gone <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-gone; err == nil {
			t.Error("a write was let in though it had given up")
		}
		leave(1)
		if leave, err = g.enter(t.Context(), live, 1); err != nil {
			t.Fatal(err)
		}
		leave(1)
	})
}
