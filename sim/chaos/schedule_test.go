package chaos

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func written(steps []FailureStep) string {
	var lines []string
	for _, s := range steps {
		lines = append(lines, fmt.Sprintf("%v %v %v", s.At, s.Fault, s.Lasts))
	}
	return strings.Join(lines, "\n")
}

// The same seed, time and failures give the same schedule, on every machine and for ever.
func TestScheduleIsGolden(t *testing.T) {
	got := written(Schedule(1, 2*time.Minute, List{Freeze, Kill}))
	want := "5s kill 2.093s\n15.696s freeze 10.781s\n39.663s freeze 13.966s\n1m7.593s kill 3.053s\n1m24.887s freeze 5.603s"
	if got != want {
		t.Errorf("the schedule is now\n%s", got)
	}
	if again := written(Schedule(1, 2*time.Minute, List{Kill, Freeze})); again != got {
		t.Errorf("the order in which failures are named changes it:\n%s", again)
	}
	if other := written(Schedule(2, 2*time.Minute, List{Freeze, Kill})); other == got {
		t.Error("another seed gives the same")
	}
}

// Each failure comes in the first round, however short the run, and each ends and has
// time to recover before the next begins.
func TestScheduleHasRoom(t *testing.T) {
	for seed := range uint64(50) {
		for _, lasts := range []time.Duration{5 * time.Second, time.Minute, 10 * time.Minute, 24 * time.Hour} {
			for _, of := range []List{nil, {Cut}, {Kill, FreezeStore, Fill}} {
				steps, round := Schedule(seed, lasts, of), of.sorted()
				if len(steps) < len(round) {
					t.Fatalf("seed %d, %v of %v: %d steps", seed, lasts, of, len(steps))
				}
				free := time.Duration(0)
				for i, s := range steps {
					if s.At <= free || s.Lasts <= 0 || s.Lasts > mostLast || s.At+s.Lasts >= lasts || !slices.Contains(round, s.Fault) {
						t.Fatalf("seed %d, %v of %v: step %d of\n%s", seed, lasts, of, i, written(steps))
					}
					free = s.At + s.Lasts
				}
				var first List
				for _, s := range steps[:len(round)] {
					first = append(first, s.Fault)
				}
				if !slices.Equal(first.sorted(), round) {
					t.Errorf("seed %d, %v of %v: the first round is %v", seed, lasts, of, first)
				}
			}
		}
	}
}

func TestListReadsNames(t *testing.T) {
	for _, tt := range []struct{ text, want, err string }{
		{"all", "all", ""},
		{"kill, freeze-store", "kill,freeze-store", ""},
		{"fill,cut,kill-store,freeze", "fill,cut,kill-store,freeze", ""},
		{"kill,kill", "", "kill is given twice"},
		{"", "", `"" is not one of all, kill, freeze, kill-store, freeze-store, fill, cut`},
		{"explode", "", `"explode" is not one of`},
		{"kill,all", "", `"all" is not one of`},
	} {
		var l List
		switch err := l.UnmarshalText([]byte(tt.text)); {
		case tt.err == "" && (err != nil || l.String() != tt.want):
			t.Errorf("%q is %v: %v", tt.text, l, err)
		case tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)):
			t.Errorf("%q: %v, want %s", tt.text, err, tt.err)
		}
	}
}
