package main

import (
	"slices"
	"testing"
	"time"
)

// A seed repeats its schedule, another has another; all kinds of faults are met, in each direction,
// and each is over before the next of its kind is likely.
func TestScheduleOfSeed(t *testing.T) {
	o, err := parse([]string{"-chaos", "-for=4h", "-clock", "-seed=7"})
	if err != nil {
		t.Fatal(err)
	}
	list := schedule(&o)
	if again := schedule(&o); !slices.Equal(list, again) {
		t.Error("a seed gives two schedules")
	}
	o.seed = 8
	if other := schedule(&o); slices.Equal(list, other) {
		t.Error("two seeds give one schedule")
	}
	var kinds [len(kindNames)]int
	ways := make(map[[3]bool]int)
	for i, f := range list {
		kinds[f.kind]++
		if f.at >= o.lasts || i > 0 && f.at <= list[i-1].at || f.lasts < time.Second || f.lasts > o.away+o.lease+time.Second {
			t.Errorf("%d is at %v and lasts %v", i, f.at, f.lasts)
		}
		ends, _ := f.cuts()
		switch f.kind {
		case cutServers, isolateServer, cutNode, cutPeers, cutInflux:
			if len(ends) == 0 || !f.to && !f.from {
				t.Errorf("%v cuts nothing", &f)
			}
			ways[[3]bool{f.to, f.from, f.deliver}]++
		default:
			if len(ends) > 0 {
				t.Errorf("%v cuts %v", &f, ends)
			}
		}
	}
	for kind, n := range kinds {
		if n == 0 {
			t.Errorf("%s never comes", kindNames[kind])
		}
	}
	if len(ways) != 6 {
		t.Errorf("cuts are of %v", ways)
	}
	o.clock = false
	if slices.ContainsFunc(schedule(&o), func(f fault) bool { return f.kind == stepClock }) {
		t.Error("clocks step of a program that was not built for it")
	}
}
