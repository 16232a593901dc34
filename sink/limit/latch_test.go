package limit

import (
	"math"
	"slices"
	"testing"
)

func TestLatchTellsWhatCame(t *testing.T) {
	const minute, day = int64(60_000), int64(86_400_000)
	var l Latch
	whole := [][2]int64{{0, day}}
	hold := func(from, to int64) [][2]int64 {
		came, release, _ := l.Hold(from, to)
		release()
		return came
	}
	write := func(at ...int64) {
		rows := make([]int, len(at))
		for i := range rows {
			rows[i] = i
		}
		l.Enter(at, rows)
		l.Leave()
	}
	if got := hold(0, day); !slices.Equal(got, whole) {
		t.Errorf("unwatched: %v", got)
	}
	write(5)
	l.Watch()
	if got := hold(0, day); len(got) != 0 {
		t.Errorf("nothing came: %v", got)
	}
	write(0, minute, 3*minute+7, -1, day, math.MinInt64, math.MaxInt64)
	if got, want := hold(0, day), [][2]int64{{0, 2 * minute}, {3 * minute, 4 * minute}}; !slices.Equal(got, want) {
		t.Errorf("%v, not %v", got, want)
	}
	if got, want := hold(-minute/2, 7), [][2]int64{{-minute / 2, 7}}; !slices.Equal(got, want) {
		t.Errorf("%v, not %v", got, want)
	}
	l.Watch()
	for i := range int64(latchMinutes) {
		write(2 * i * minute)
	}
	if got := hold(0, day); !slices.Equal(got, whole) {
		t.Errorf("more than is told apart: %v", got)
	}
}

// A write that began before a deletion is waited for, and one that begins meanwhile waits.
func TestLatchHolds(t *testing.T) {
	var l Latch
	l.Watch()
	l.Enter([]int64{1}, []int{0})
	held := make(chan [][2]int64)
	var release func()
	go func() {
		var came [][2]int64
		came, release, _ = l.Hold(0, 10)
		held <- came
	}()
	select {
	case <-held:
		t.Fatal("a write goes on, and nothing waits for it")
	default:
	}
	l.Leave()
	if came := <-held; !slices.Equal(came, [][2]int64{{0, 10}}) {
		t.Errorf("came: %v", came)
	}
	entered := make(chan struct{})
	go func() { l.Enter([]int64{1}, []int{0}); close(entered); l.Leave() }()
	select {
	case <-entered:
		t.Fatal("a write began during a deletion")
	default:
	}
	release()
	<-entered
}
