package ingest

import (
	"strings"
	"testing"
	"time"
)

func TestWhatAsksForALevel(t *testing.T) {
	for _, tt := range []struct {
		name string
		load load
		want int
		why  string // in the reason
	}{
		{"nothing", load{full: never}, 0, ""},
		{"almost half full", load{fill: 0.499, full: never}, 0, ""},
		{"half full", load{fill: 0.50, full: never}, 1, "50 % full"},
		{"three quarters full", load{fill: 0.75, full: never}, 2, "75 % full"},
		{"nine tenths full", load{fill: 0.90, full: never}, 3, "90 % full"},
		{"almost full", load{fill: 0.95, full: never}, 4, "95 % full"},
		{"full in half an hour", load{fill: 0.30, full: 29 * time.Minute}, 1, "full in 29 min"},
		{"full in more than half an hour", load{fill: 0.30, full: 31 * time.Minute}, 0, ""},
		{"full in ten minutes", load{fill: 0.40, full: 9 * time.Minute}, 2, "full in 9 min"},
		{"full in two minutes", load{fill: 0.46, full: time.Minute}, 3, "full in 60 s"},
		{"a burst into an empty log", load{fill: 0.01, full: 10 * time.Second}, 0, ""},
		{"a burst into a quarter full log", load{fill: 0.26, full: 10 * time.Second}, 1, "full in 10 s"},
		{"a breaker just opened", load{full: never, breaker: 29 * time.Second}, 0, ""},
		{"a breaker open for long", load{full: never, breaker: 31 * time.Second}, 1, "nothing for 31 s"},
		{"memory short", load{full: never, memory: 0.91}, 4, "91 % of the memory"},
		{"memory in use", load{full: never, memory: 0.89}, 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			level, why := tt.load.asks(0, 1)
			if level != tt.want || !strings.Contains(why, tt.why) || (why == "") != (level == 0) {
				t.Errorf("%+v asks for %d because %q, want %d because %q", tt.load, level, why, tt.want, tt.why)
			}
		})
	}
}

// The level goes up at once, over several steps if need be, and down one at a
// time, each when it has had more than enough room for all of hold.
func TestLevelsGoUpAtOnceAndDownSlowly(t *testing.T) {
	type step struct {
		at   int // seconds
		fill float64
		want int
	}
	for _, tt := range []struct {
		name  string
		steps []step
	}{
		{"up", []step{{0, 0.1, 0}, {1, 0.5, 1}, {2, 0.76, 2}, {3, 0.96, 4}}},
		{"all the way up", []step{{0, 0.1, 0}, {1, 0.97, 4}}},
		{"a little less is not enough", []step{{0, 0.76, 2}, {1, 0.66, 2}, {100, 0.66, 2}}},
		{"less for too short", []step{{0, 0.76, 2}, {1, 0.60, 2}, {20, 0.60, 2}, {25, 0.70, 2}, {30, 0.60, 2}, {59, 0.60, 2}, {61, 0.60, 1}}},
		{"down step by step", []step{{0, 0.96, 4}, {10, 0.1, 4}, {39, 0.1, 4}, {40, 0.1, 3}, {69, 0.1, 3}, {70, 0.1, 2}, {100, 0.1, 1}, {130, 0.1, 0}, {200, 0.1, 0}}},
		{"up again on the way down", []step{{0, 0.76, 2}, {1, 0.1, 2}, {31, 0.1, 1}, {32, 0.91, 3}, {33, 0.1, 3}, {62, 0.1, 3}, {63, 0.1, 2}}},
		{"stays where it is asked for", []step{{0, 0.96, 4}, {1, 0.55, 4}, {31, 0.55, 3}, {61, 0.55, 2}, {91, 0.55, 1}, {1000, 0.55, 1}, {1001, 0.45, 1}, {2000, 0.41, 1}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := ladder{hold: 30 * time.Second}
			start := time.Unix(1000, 0)
			for _, s := range tt.steps {
				got := l.update(start.Add(time.Duration(s.at)*time.Second), &load{fill: s.fill, full: never})
				if got != s.want {
					t.Fatalf("second %d, %.2f full: level %d, want %d", s.at, s.fill, got, s.want)
				}
				if (l.reason == "") != (got == 0) {
					t.Errorf("level %d because %q", got, l.reason)
				}
			}
		})
	}
}

// run feeds a flow one second at a time for as long as asked.
func (f *flow) run(from time.Time, seconds int, stored, written, bytes, free int64) (now time.Time) {
	w, s, b := int64(f.written), int64(f.stored), f.waiting
	for i := range int64(seconds) {
		now = from.Add(time.Duration(i+1) * time.Second)
		f.update(now, uint64(s+stored*(i+1)), uint64(w+written*(i+1)), b+bytes*(i+1), free)
	}
	return now
}

func TestTimeToFull(t *testing.T) {
	var f flow
	start := time.Unix(1000, 0)
	f.update(start, 0, 0, 0, 1<<30)
	if f.full != never {
		t.Errorf("full in %v before anything was seen", f.full)
	}
	now := f.run(start, 300, 10_000, 5000, 1<<20, 1<<30)
	if want := 1024 * time.Second; f.full < want*9/10 || f.full > want*11/10 {
		t.Errorf("full in %v at 1 MiB/s with 1 GiB free, want about %v", f.full, want)
	}
	now = f.run(now, 300, 10_000, 10_000, 0, 1<<30)
	if f.full < 1000*time.Hour {
		t.Errorf("full in %v although as much goes out as comes in", f.full)
	}
	f.run(now, 60, 0, 10_000, -1<<20, 1<<30)
	if f.full != never {
		t.Errorf("full in %v although it empties", f.full)
	}
	// What happened in one second is not what will happen.
	f = flow{}
	f.update(start, 0, 0, 0, 1<<30)
	f.run(start, 1, 10_000, 0, 10<<20, 1<<30)
	if f.full < 30*time.Minute {
		t.Errorf("full in %v after a second of 10 MiB/s", f.full)
	}
}

func TestAdviceTellsOverloadFromABurst(t *testing.T) {
	for _, tt := range []struct {
		name                   string
		seconds                int
		stored, written, bytes int64
		level, shards          int
		maxError               float64
		want                   string
	}{
		{"a burst", 40, 55_000, 40_000, 1 << 20, 0, 1, 10, ""},
		{"as much out as in", 600, 55_000, 55_000, 0, 0, 1, 10, ""},
		{"lasting", 1200, 55_000, 40_000, 1 << 20, 0, 1, 10,
			"InfluxDB takes 40,000/s, 55,000/s are kept for 20 min, and the log is full in 2 h: a second shard, or --max-error 20"},
		{"a burst that costs something", 40, 55_000, 40_000, 1 << 20, 1, 1, 10, "a second shard, or --max-error 20"},
		{"of several shards, all kept", 1200, 55_000, 40_000, 1 << 20, 2, 3, 0, "another shard, or --max-error 10"},
		{"nothing goes out", 1200, 55_000, 0, 1 << 20, 1, 1, 10, "InfluxDB must take pings again"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var f flow
			start := time.Unix(1000, 0)
			f.update(start, 0, 0, 0, 8<<30)
			now := f.run(start, tt.seconds, tt.stored, tt.written, tt.bytes, 8<<30)
			got := f.advice(now, tt.level, tt.shards, tt.maxError)
			if got != tt.want && (tt.want == "" || !strings.HasSuffix(got, tt.want)) {
				t.Errorf("advice %q, want %q", got, tt.want)
			}
		})
	}
}
