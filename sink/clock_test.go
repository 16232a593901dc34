package sink

import (
	"testing"
	"testing/synctest"
	"time"
)

// A wall clock that is put right makes no commit older or younger: live neither
// jumps over what has just come, nor stays behind what waits for long.
func TestClockPutRightIsNoAge(t *testing.T) {
	for _, jump := range []time.Duration{time.Hour, 30 * time.Second, 0, -30 * time.Second, -time.Hour} {
		t.Run(jump.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var off int64
				c := ageClock{wall: func() int64 { return time.Now().UnixMilli() + off }}
				c.look(1)
				first := c.wall()
				time.Sleep(40 * time.Second)
				second := c.wall()
				off = jump.Milliseconds()
				c.look(3) // commits 1 and 2 are there
				third := c.wall()
				time.Sleep(10 * time.Second)
				for number, want := range map[uint64]time.Duration{1: 50 * time.Second, 2: 10 * time.Second, 3: 10 * time.Second} {
					at := map[uint64]int64{1: first, 2: second, 3: third}[number]
					if got := c.age(number, at, 4); got != want {
						t.Errorf("commit %d is said to be %v old, want %v", number, got, want)
					}
				}
			})
		})
	}
}

// However often it jumps, little is kept, and the newest commits have their age.
func TestClockThatKeepsJumping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var off int64
		c := ageClock{wall: func() int64 { return time.Now().UnixMilli() + off }}
		for n := range uint64(10 * mostSteps) {
			off += 5000 - 10_000*int64(n%2) + int64(n)
			c.look(n)
		}
		at := c.wall()
		time.Sleep(time.Minute)
		if got := c.age(10*mostSteps, at, 10*mostSteps+1); got != time.Minute || len(c.steps) > mostSteps {
			t.Errorf("%v old, %d steps", got, len(c.steps))
		}
	})
}
