package limit

import (
	"context"
	"testing"
	"testing/synctest"
)

func testScheduler(limit int) *Scheduler {
	return &Scheduler{limiter: &limiter{limit: limit, unripe: 1 << 30}, half: func() bool { return false }}
}

// write is one that a scheduler has admitted.
type write struct {
	class   Class
	release func(int)
}

// queueUp has n writes of rows wait at s, and sends those that are admitted to
// admitted. It is for a bubble of synctest.
func queueUp(t *testing.T, s *Scheduler, admitted chan<- write, class Class, n, rows int) {
	for range n {
		go func() {
			release, err := s.Acquire(t.Context(), class, rows)
			if err == nil {
				admitted <- write{class, release}
			}
		}()
		synctest.Wait()
	}
}

// While all classes compete, the rows are shared by weight, and events go first.
func TestSchedulerSharesByWeight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := testScheduler(1)
		admitted := make(chan write, 10_000)
		hold, err := s.Acquire(t.Context(), Live, 1)
		if err != nil {
			t.Fatal(err)
		}
		queueUp(t, s, admitted, Backfill, 300, 5000)
		queueUp(t, s, admitted, Live, 2000, 1000) // smaller batches, but rows are what counts
		queueUp(t, s, admitted, Own, 300, 500)
		queueUp(t, s, admitted, Critical, 50, 10)
		var rows [Classes]int
		size := [Classes]int{Critical: 10, Live: 1000, Backfill: 5000, Own: 500}
		hold(1)
		for i := range 1000 {
			w := <-admitted
			rows[w.class] += size[w.class]
			if i > 110 && rows[Critical] < 500 { // of two at once, one
				t.Fatal("events wait for others")
			}
			w.release(1)
			synctest.Wait()
		}
		all := float64(rows[Live] + rows[Backfill] + rows[Own])
		for class, want := range map[Class]float64{Live: 90. / 101, Backfill: 10. / 101, Own: 1. / 101} {
			if got := float64(rows[class]) / all; got < want*0.9-0.003 || got > want*1.1+0.003 {
				t.Errorf("%v has %.1f %% of the rows, want %.1f %%", class, 100*got, 100*want)
			}
		}
	})
}

func TestScheduler(t *testing.T) {
	for _, tt := range []struct {
		name  string
		limit int
		come  []Class
		want  [Classes]int // in flight
	}{
		{"as many as the limit", 3, []Class{Live, Live, Live, Live}, [Classes]int{Live: 3}},
		{"an event beside the limit", 2, []Class{Live, Live, Critical, Critical}, [Classes]int{Critical: 1, Live: 2}},
		{"an event beside a limit of one", 1, []Class{Backfill, Critical, Live}, [Classes]int{Critical: 1, Backfill: 1}},
		{"events take all", 3, []Class{Critical, Critical, Critical, Critical, Live}, [Classes]int{Critical: 3, Live: 1}},
		{"backfill leaves room for live", 3, []Class{Backfill, Backfill, Backfill}, [Classes]int{Backfill: 2}},
		{"which live takes", 3, []Class{Backfill, Backfill, Backfill, Live, Live}, [Classes]int{Backfill: 2, Live: 1}},
		{"and events cannot use up", 3, []Class{Critical, Backfill, Backfill, Live}, [Classes]int{Critical: 1, Backfill: 1, Live: 1}},
		{"our own lines are alike", 3, []Class{Own, Backfill, Own, Own}, [Classes]int{Own: 1, Backfill: 1}},
		{"where only one may be, anyone is", 1, []Class{Own, Live}, [Classes]int{Own: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, admitted := testScheduler(tt.limit), make(chan write, 10)
				for _, class := range tt.come {
					queueUp(t, s, admitted, class, 1, 1)
				}
				if s.inFlight != tt.want {
					t.Errorf("in flight are %v, want %v", s.inFlight, tt.want)
				}
				for left := len(tt.come); left > 0; left-- { // and none waits for ever
					(<-admitted).release(1)
					synctest.Wait()
				}
				if s.inFlight != [Classes]int{} {
					t.Errorf("at the end, in flight are %v", s.inFlight)
				}
			})
		})
	}
}

// A class that was idle for a time has not saved up turns.
func TestSchedulerForgetsIdleClasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, admitted := testScheduler(1), make(chan write, 10_000)
		for range 1000 { // live alone
			release, err := s.Acquire(t.Context(), Live, 5000)
			if err != nil {
				t.Fatal(err)
			}
			release(1)
		}
		queueUp(t, s, admitted, Live, 100, 5000)
		queueUp(t, s, admitted, Backfill, 100, 5000)
		var n [Classes]int
		for range 50 {
			w := <-admitted
			n[w.class]++
			w.release(1)
			synctest.Wait()
		}
		if n[Backfill] < 3 || n[Backfill] > 8 {
			t.Errorf("backfill had %d of 50 turns, want a tenth", n[Backfill])
		}
	})
}

func TestSchedulerGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := testScheduler(1)
		release, err := s.Acquire(t.Context(), Live, 1)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan error)
		go func() {
			_, err := s.Acquire(ctx, Live, 1)
			gone <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-gone; err == nil {
			t.Error("a write was let in though it had given up")
		}
		release(1)
		if release, err = s.Acquire(t.Context(), Live, 1); err != nil {
			t.Fatal(err)
		}
		release(1)
	})
}
