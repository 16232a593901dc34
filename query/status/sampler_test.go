package status

import (
	"context"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"pingline"
)

// sampled is a node whose state tests set, and its Sampler.
type sampled struct {
	*Sampler
	t *testing.T

	mu    sync.Mutex // guards the fields below; nothing else is locked under it
	state State
	p50   float64
	off   time.Duration // by which the node's clock is wrong
	stall time.Duration // for which the node does not answer
	reads int
}

// sample runs a Sampler on a state until the test ends. It is called in a bubble.
func sample(t *testing.T) *sampled {
	n := &sampled{t: t, p50: math.NaN()}
	n.Sampler = New(Config{
		State: func() State {
			n.mu.Lock()
			n.reads++
			stall := n.stall
			n.stall = 0
			n.mu.Unlock()
			time.Sleep(stall)
			n.mu.Lock()
			defer n.mu.Unlock()
			return n.state
		},
		Freshness: func() (p50, p99 float64) {
			n.mu.Lock()
			defer n.mu.Unlock()
			return n.p50, 2 * n.p50
		},
		Version: "v1 <test>",
		Now: func() time.Time {
			n.mu.Lock()
			defer n.mu.Unlock()
			return time.Now().Add(n.off)
		},
	})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- n.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	synctest.Wait()
	return n
}

// set changes the node.
func (n *sampled) set(change func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change()
}

// pass lets whole steps pass, and what is due at their end be done.
func (n *sampled) pass(steps int) {
	time.Sleep(time.Duration(steps) * Step)
	synctest.Wait()
}

// ask returns the answer of now.
func (n *sampled) ask() *Answer {
	n.t.Helper()
	n.set(func() {}) // a data race with State is found
	body, err := n.JSON()
	if err != nil {
		n.t.Fatal(err)
	}
	a := new(Answer)
	if err := json.Unmarshal(body, a); err != nil {
		n.t.Fatalf("%v in %s", err, body)
	}
	return a
}

// is reports whether values are those wanted; NaN is NaN.
func is(got []float64, want ...float64) bool {
	return slices.EqualFunc(got, want, func(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) })
}

var null = math.NaN()

// Rates are over the last step, not since the start; what did not happen has no ratio and
// no quantile.
func TestRatesAreOfTheLastStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := sample(t)
		if a := n.ask(); !is(a.Now[:Queued], null, null, null, null, null, null) || len(a.History[0]) != 0 || a.StepS != 5 {
			t.Errorf("before the first step it tells %+v", a)
		}
		n.set(func() {
			n.state = State{Received: 5000, Valid: 4000, Kept: 1000, Stored: 500, Shed: 50, Queued: 400, QueueAge: 1500 * time.Millisecond, Riders: 77, Streams: 3}
			n.p50 = 0.5
		})
		n.pass(1)
		a := n.ask()
		if !is(a.Now[:], 1000, 100, 0.25, 10, 0.5, 1, 400, 1.5, 0, 0, 77, 3) {
			t.Errorf("after a step it tells %v", a.Now)
		}
		n.set(func() { n.state.Received, n.state.Queued, n.p50 = 5005, 0, null })
		n.pass(1)
		a = n.ask()
		if !is(a.Now[:Riders], 1, 0, null, 0, null, null, 0, null, 0, 0) { // nothing waits, so nothing has an age
			t.Errorf("after the next step it tells %v", a.Now)
		}
		if !is(a.History[Received], 1000, 1) || !is(a.History[Kept], 0.25, null) || !is(a.History[Queued], 400, 0) {
			t.Errorf("its history is %v", a.History)
		}
		if at := time.Now().UnixMilli(); a.At != at || a.From != at-Step.Milliseconds() {
			t.Errorf("at %d, from %d, and it is %d", a.At, a.From, at)
		}
	})
}

// A held ping that is stored in a later step than it came makes no more than all of the
// pings kept.
func TestKeptIsAShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := sample(t)
		n.set(func() { n.state = State{Received: 1, Valid: 1, Kept: 50} })
		n.pass(1)
		if a := n.ask(); a.Now[Kept] != 1 {
			t.Errorf("%v of the pings are kept", a.Now[Kept])
		}
	})
}

// Counts that begin anew make no spike and nothing below zero: the step has no rates.
func TestCountsThatBeginAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := sample(t)
		n.set(func() { n.state = State{Received: 5000, Valid: 5000, Kept: 5000, Stored: 5000, Shed: 5000} })
		n.pass(1)
		n.set(func() { n.state = State{Received: 10, Valid: 10, Kept: 10, Stored: 10, Shed: 10} })
		n.pass(1)
		n.set(func() { n.state.Received = 20 })
		n.pass(1)
		a := n.ask()
		if !is(a.History[Received], 1000, null, 2) || !is(a.History[Stored], 1000, null, 0) || !is(a.History[Kept], 1, null, null) || !is(a.History[Shed], 1000, null, 0) {
			t.Errorf("its history is %v", a.History)
		}
	})
}

// Ten minutes are kept, in memory of a fixed size.
func TestTenMinutesAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := sample(t)
		for i := range 130 {
			n.set(func() { n.state.Received, n.state.Riders = n.state.Received+5*uint64(i), int64(i) })
			n.pass(1)
		}
		a := n.ask()
		for q := range a.History {
			if len(a.History[q]) != 120 {
				t.Errorf("%s has %d steps", keys[q], len(a.History[q]))
			}
		}
		if a.History[Received][0] != 10 || a.History[Received][119] != 129 || a.History[Riders][0] != 10 {
			t.Errorf("it keeps %v", a.History[Received])
		}
		if want := a.At - 119*5000; a.From != want {
			t.Errorf("the first step ended at %d, want %d", a.From, want)
		}
		if size := unsafe.Sizeof(*n.Sampler) + uintptr(cap(n.body)); size > 64<<10 {
			t.Errorf("it takes %d bytes", size)
		}
	})
}

// While the process stands still nothing is known, and what was counted meanwhile is no
// spike.
func TestProcessThatStoodStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := sample(t)
		n.set(func() { n.state.Received, n.state.Riders = 50, 1 })
		n.pass(1)
		n.set(func() { n.stall = 22 * time.Second })
		n.pass(1) // begins to read the second step, and ends in the sixth
		n.set(func() { n.state.Received, n.state.Riders = 1_000_000, 2 })
		time.Sleep(22 * time.Second)
		synctest.Wait()
		for _, left := range []uint64{3, 5, 5} { // seconds until the step ends
			n.set(func() { n.state.Received += 10 * left })
			time.Sleep(time.Duration(left) * time.Second)
			synctest.Wait()
		}
		a := n.ask()
		if got := a.History[Received]; !is(got, 10, null, null, null, null, null, 10, 10, 10) {
			t.Errorf("it tells %v", got)
		}
		if got := a.History[Riders]; !is(got, 1, null, null, null, null, 2, 2, 2, 2) {
			t.Errorf("riders were %v", got)
		}
	})
}

// Rates that are older than two steps are not told as those of now.
func TestOldRatesAreNotOfNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(Config{State: func() State { return State{Received: 5, Riders: 3} }, Freshness: func() (float64, float64) { return 1, 1 }})
		n.begin()
		time.Sleep(Step)
		n.sample()
		for _, tt := range []struct {
			after time.Duration
			rate  float64
		}{{2*Step - time.Millisecond, 0}, {2 * Step, null}} {
			time.Sleep(tt.after - time.Since(n.read))
			n.body = nil
			body, err := n.JSON()
			if err != nil {
				t.Fatal(err)
			}
			var a Answer
			if err := json.Unmarshal(body, &a); err != nil {
				t.Fatal(err)
			}
			if !is(a.Now[:1], tt.rate) || a.Now[Riders] != 3 || a.At-a.From != tt.after.Milliseconds() {
				t.Errorf("%v later: %s", tt.after, body)
			}
		}
	})
}

// A clock that is set makes no spike. Set back, the steps before keep their distance from
// now, so that none lies in the future; set ahead, nothing is known of the time between.
func TestClockIsSet(t *testing.T) {
	for _, tt := range []struct {
		name string
		by   time.Duration
		want []float64
	}{
		{"back by an hour", -time.Hour, []float64{10, null, 10, 10}},
		{"back by four seconds", -4 * time.Second, []float64{10, null, 10, 10}},
		{"ahead by 15 seconds", 15 * time.Second, []float64{10, null, null, null, null, 10, 10}},
		{"ahead by a day", 24 * time.Hour, append(slices.Repeat([]float64{null}, 118), 10, 10)},
		{"slewed by 50 ms", 50 * time.Millisecond, []float64{10, 10, 10, 10}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := sample(t)
				for i := range 4 {
					n.set(func() {
						n.state.Received += 50
						if i == 1 {
							n.off = tt.by
						}
					})
					n.pass(1)
				}
				a := n.ask()
				if got := a.History[Received]; !is(got, tt.want...) {
					t.Errorf("it tells %v, want %v", got, tt.want)
				}
				if last := a.From + int64(len(a.History[0])-1)*5000; last != a.At || a.At != time.Now().Add(tt.by).UnixMilli() {
					t.Errorf("at %d, and the last step ended at %d", a.At, last)
				}
			})
		})
	}
}

// All who ask within a second get the same answer, and the node is read once for it.
func TestOneAnswerASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := sample(t)
		n.pass(1)
		n.set(func() { n.reads = 0 })
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if _, err := n.JSON(); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		first, _ := n.JSON()
		n.set(func() { n.state.Riders = 5 })
		time.Sleep(999 * time.Millisecond)
		if same, _ := n.JSON(); &same[0] != &first[0] || n.reads != 1 {
			t.Errorf("the node was read %d times", n.reads)
		}
		time.Sleep(time.Millisecond)
		if a := n.ask(); a.Now[Riders] != 5 {
			t.Error("an answer is more than a second old")
		}
	})
}

// The state that is told is the node's of now: why it takes no pings, what is given up in
// the sentences of the policy, which breakers are not closed.
func TestStateIsToldInWords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := sample(t)
		body, err := n.JSON()
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{`"version":"v1 <test>"`, `"ready":true`, `"reason":""`, `"level":0`, `"level_name":"normal"`, `"level_reason":""`, `"giving_up":[]`, `"breakers":[]`, `"received_per_s":null`, `"received_per_s":[]`} {
			if !strings.Contains(string(body), want) {
				t.Errorf("%s is not in %s", want, body)
			}
		}
		breakers := []ShardBreaker{{"a", Closed}, {"b", "half-open"}, {"c", "open"}}
		n.set(func() {
			n.state = State{Unready: "the log is full", Level: 3, LevelReason: "the log is 91 % full", Breakers: breakers}
		})
		time.Sleep(time.Second)
		a, policy := n.ask(), pingline.PolicyAt(3)
		if a.Ready || a.Reason != "the log is full" || a.Level != 3 || a.LevelName != policy.Name || a.LevelReason != "the log is 91 % full" || !slices.Equal(a.GivingUp, policy.GivingUp()) {
			t.Errorf("it tells %+v", a)
		}
		if strings.Contains(string(body), "reshard") || len(a.Reshard) > 0 {
			t.Errorf("a change of shards goes on in %s and in %+v", body, a.Reshard)
		}
		if !slices.Equal(a.Breakers, breakers) || a.Now[BreakersOpen] != 2 || a.Now[Level] != 3 {
			t.Errorf("it tells %+v", a)
		}
	})
}

// A change of shards is told while it goes on, without members that say nothing.
func TestChangeThatGoesOnIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := sample(t)
		none, part := 0.0, 0.42
		for _, tt := range []struct {
			list []ShardChange
			want string
		}{
			{[]ShardChange{{Set: "main", Phase: "cut", What: "add c"}, {Set: "archive", Phase: "dual", What: "remove <d>", History: "copying", Done: &none, Stands: "the node sheds, level 2"}},
				`,"reshard":[{"set":"main","phase":"cut","what":"add c"},{"set":"archive","phase":"dual","what":"remove <d>","history":"copying","done":0,"stands":"the node sheds, level 2"}]}`},
			{[]ShardChange{{Set: "main", Phase: "dual", What: "add c", History: "comparing", Done: &part, RowsPerS: 8000, LeftS: 57}},
				`,"reshard":[{"set":"main","phase":"dual","what":"add c","history":"comparing","done":0.42,"rows_per_s":8000,"left_s":57}]}`},
			{nil, "]}}"},
		} {
			n.set(func() { n.state.Reshard = tt.list })
			time.Sleep(time.Second)
			if body, err := n.JSON(); err != nil || !strings.HasSuffix(string(body), tt.want+"\n") {
				t.Errorf("of %+v it tells %s, %v; want %s", tt.list, body, err, tt.want)
			}
		}
	})
}

// Numbers have three decimals at most, and the longest answer of ten minutes is small.
func TestLongestAnswer(t *testing.T) {
	a := Answer{GivingUp: pingline.PolicyAt(pingline.MaxLevel).GivingUp()}
	for q := range a.History {
		a.Now[q] = 123456.7894
		a.History[q] = slices.Repeat([]float64{123456.7894}, 120)
	}
	body, err := a.text()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(body), `"riders":123456.789,`) || len(body) > 20<<10 {
		t.Errorf("%d bytes: %.300s", len(body), body)
	}
}

// An answer of a version with other keys is read: what is not there is not known, and a
// history that lacks steps of a quantity ends with the others.
func TestAnswerOfAnotherVersion(t *testing.T) {
	var a Answer
	text := `{"at":1,"now":{"received_per_s":5,"queue_pings":null,"colour":1},"history":{"received_per_s":[1,null,3],"riders":[7],"level":[0,1,2],"moons":[1,2,3,4]},"moons":[]}`
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		t.Fatal(err)
	}
	if v, known := a.Now.Of(Received); v != 5 || !known {
		t.Errorf("received is %v, %v", v, known)
	}
	if _, known := a.Now.Of(Queued); known {
		t.Error("null is known")
	}
	if _, known := a.Now.Of(Stored); known {
		t.Error("an absent key is known")
	}
	if !is(a.History[Received], 1, null, 3) || !is(a.History[Riders], null, null, 7) || !is(a.History[Stored], null, null, null) {
		t.Errorf("its history is %v", a.History)
	}
	for _, text := range []string{`{"now":5}`, `{"now":{"level":"x"}}`, `{"history":[]}`, `{"history":{"level":[true]}}`} {
		if err := json.Unmarshal([]byte(text), &a); err == nil {
			t.Errorf("%s is read", text)
		}
	}
}

// The shorter courses of an answer are filled up at once, however much longer another is.
func TestCoursesOfUnequalLengths(t *testing.T) {
	const n = 5000
	text := []byte(`{"received_per_s":[` + strings.Repeat("1,", n-1) + `2],"streams":[3]}`)
	var h Course
	allocs := testing.AllocsPerRun(1, func() {
		if err := h.UnmarshalJSON(text); err != nil {
			t.Fatal(err)
		}
	})
	if allocs > 2*n {
		t.Errorf("%.0f allocations", allocs)
	}
	if h[Received][n-1] != 2 || len(h[Streams]) != n || h[Streams][n-1] != 3 || !math.IsNaN(h[Streams][n-2]) || len(h[Level]) != n || !math.IsNaN(h[Level][n-1]) {
		t.Errorf("streams are %d values, and levels %d", len(h[Streams]), len(h[Level]))
	}
}
