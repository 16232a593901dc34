package forward

import (
	"errors"
	"testing"
	"time"

	"pingline/ingest"
)

// A part that was let go is waited for: pings of which nothing was judged go to its next owner, once
// there is one.
func TestPartIsHandedOver(t *testing.T) {
	ns := newNodes(t, 2)
	old := &judge{refuse: ingest.ErrStopped}
	asked := make(chan struct{}, 100)
	old.before = func(j *ingest.Job) {
		if len(j.Pings) > 0 {
			asked <- struct{}{}
		}
	}
	from := ns.add(0, new(judge).Submit, nil)
	ns.add(1, old.Submit, nil)
	next := new(judge)
	addr := ns.add(-1, next.Submit, func(cfg *Config) { cfg.Own = 1 }).Addr().String()
	riders := ridersOf(1, 2, 3)
	answer := make(chan error, 1)
	go func() { answer <- from.Submit(jobOf(riders, 2)) }()
	<-asked
	ns.set(1, "") // let go
	ns.set(1, addr)
	if err := <-answer; err != nil {
		t.Fatalf("a job at the hand-over: %v", err)
	}
	if next.jobs != 1 || next.pings != 6 {
		t.Errorf("the next owner has judged %d jobs of %d pings, want 1 of 6", next.jobs, next.pings)
	}
	if s := from.Stats(); s.Away != 0 || s.InProgress != 0 {
		t.Errorf("counts are %+v, want none away or in progress", s)
	}
}

// Without a next owner such pings are refused after a while, and those of a part that had none
// before at once.
func TestPartIsHandedToNobody(t *testing.T) {
	ns := newNodes(t, 2)
	let := time.Time{}
	from := ns.add(0, new(judge).Submit, func(cfg *Config) { cfg.LetGo = func(int) time.Time { return let } })
	riders := ridersOf(1, 2, 1)
	began := time.Now()
	if err := from.Submit(jobOf(riders, 1)); !errors.Is(err, ingest.ErrUnavailable) {
		t.Errorf("a part without a node: %v", err)
	}
	let = began
	if err := from.Submit(jobOf(riders, 1)); !errors.Is(err, ingest.ErrUnavailable) {
		t.Errorf("a part that nobody takes: %v", err)
	}
	if took := time.Since(began); took < nextOwner {
		t.Errorf("the next owner was waited for until %v after the last had let go, want %v", took, nextOwner)
	}
}
