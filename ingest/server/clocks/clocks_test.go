package clocks

import (
	"strconv"
	"testing"
	"time"
)

func TestBehind(t *testing.T) {
	now := time.UnixMilli(1_760_000_000_000)
	at := func(d time.Duration) int64 { return now.Add(d).UnixMilli() }
	var c Clocks
	first := c.Behind("r", "", at(-1000*time.Hour), now)
	if want := (1000 * time.Hour).Milliseconds(); first != want {
		t.Fatalf("a first ping: %d ms behind, want %d", first, want)
	}
	for _, tt := range []struct {
		name   string
		later  time.Duration // after the first ping came
		made   time.Duration // after the first ping was made, by the same clock
		before bool          // the clock is as it was
	}{
		{"the same ping again", 5 * time.Minute, 0, true},
		{"a ping from later", 6 * time.Minute, 6 * time.Minute, true},
		{"one that was quicker on its way", 7 * time.Minute, 7*time.Minute + time.Second, true},
		{"an older one", 7 * time.Minute, time.Minute, true},
		{"a clock that was put forward", 8 * time.Minute, 9 * time.Minute, false},
	} {
		came := now.Add(tt.later)
		add := c.Behind("r", "", at(tt.made-1000*time.Hour), came)
		if (add == first) != tt.before {
			t.Errorf("%s: %d ms behind, was %d", tt.name, add, first)
		}
		if got := at(tt.made-1000*time.Hour) + add; !tt.before && got != came.UnixMilli() {
			t.Errorf("%s: at %d, want %d, when it came", tt.name, got, came.UnixMilli())
		}
	}
	if other := c.Behind("r", "watch", 0, now); other != now.UnixMilli() {
		t.Errorf("another device: %d ms behind", other)
	}
	hour := now.Add(time.Hour)
	if again := c.Behind("r", "", at(-1000*time.Hour), hour); at(-1000*time.Hour)+again != hour.UnixMilli() {
		t.Errorf("a receiver that starts at the same time again: %d ms behind", again)
	}
}

// Whoever brings ever more names takes no more memory.
func TestMemoryIsFixed(t *testing.T) {
	var c Clocks
	now := time.UnixMilli(1_760_000_000_000)
	for i := range 100_000 {
		c.Behind(strconv.Itoa(i), "", int64(i), now)
		now = now.Add(time.Millisecond)
	}
	if n := len(c.sets) * len(clockSet{}); n != 16_384 {
		t.Errorf("%d tracks", n)
	}
	if c.Behind("99999", "", 99_999, now) != now.UnixMilli()-99_999-1 {
		t.Error("the newest is forgotten")
	}
}
