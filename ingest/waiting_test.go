package ingest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pingline"
)

// commitOne commits j, if it is not nil, without Run and Submit.
// holdsNothing is a filter without attributes of held pings.
func holdsNothing([]pingline.Ping) int { return 0 }

func (w *Writer) commitOne(ctx context.Context, j *Job, flush bool) error {
	if j != nil {
		w.waiting.jobs.push(j)
	}
	return w.commit(ctx, flush)
}

func waits(size int, urgent bool) *Job {
	return &Job{size: size, Urgent: urgent, done: make(chan error, 1)}
}

func noRefusal(*Job) error { return nil }

func TestWaitingOrder(t *testing.T) {
	w := newWaiting(time.Hour)
	var jobs []*Job
	for i := range 1000 {
		j := waits(i, i%10 == 7)
		jobs = append(jobs, j)
		if err := w.add(j, noRefusal); err != nil {
			t.Fatal(err)
		}
	}
	if n := w.len(); n != 1000 {
		t.Errorf("%d jobs wait", n)
	}
	slices.SortStableFunc(jobs, func(a, b *Job) int {
		switch {
		case a.Urgent == b.Urgent:
			return 0
		case a.Urgent:
			return -1
		}
		return 1
	})
	for i, want := range jobs {
		if j, putOff := w.next(want.size-1, holdsNothing); j != nil || !putOff {
			t.Fatalf("job %d of %d bytes is given to a room of a byte less", i, want.size)
		}
		if j, putOff := w.next(want.size, holdsNothing); j != want || putOff {
			t.Fatalf("job %d: %+v, put off %v, want %+v", i, j, putOff, want)
		}
	}
	if j, putOff := w.next(math.MaxInt, holdsNothing); j != nil || putOff {
		t.Errorf("a job of an empty queue: %+v, put off %v", j, putOff)
	}
}

// The queue keeps nothing of jobs that left it, and does not grow with their number.
func TestWaitingKeepsNothing(t *testing.T) {
	var q fifo
	for i := range 100_000 {
		q.push(waits(i, false))
		if i >= 100 {
			if j := q.pop(); j.size != i-100 {
				t.Fatalf("job %d, want %d", j.size, i-100)
			}
		}
	}
	q.withdraw(func(j *Job) error {
		if j.size%2 == 0 {
			return ErrStopped
		}
		return nil
	})
	if q.len() != 50 || cap(q.list) > 1000 {
		t.Errorf("%d jobs in a list of %d, want 50 of 100 in a list in proportion", q.len(), cap(q.list))
	}
	for q.len() > 0 {
		q.pop()
	}
	for _, j := range q.list[:cap(q.list)] {
		if j != nil {
			t.Fatalf("job %d left the queue, and is still known", j.size)
		}
	}
}

func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWaiting(time.Second)
		first, urgent, taken, last := waits(1, false), waits(2, true), waits(3, false), waits(4, false)
		add := func(j *Job) {
			if err := w.add(j, noRefusal); err != nil {
				t.Fatal(err)
			}
		}
		answered := func(j *Job) bool { return len(j.done) == 1 }
		add(first)
		time.Sleep(400 * time.Millisecond)
		add(urgent)
		add(taken)
		time.Sleep(599 * time.Millisecond)
		add(last)
		if answered(first) {
			t.Error("withdrawn before its time")
		}
		time.Sleep(2 * time.Millisecond) // 1.001 s
		if !answered(first) || answered(urgent) {
			t.Error("after 1 s: only the first has waited long enough")
		}
		if err := <-first.done; !errors.Is(err, ErrUnavailable) {
			t.Error(err)
		}
		for _, want := range []*Job{urgent, taken} {
			if j, _ := w.next(math.MaxInt, holdsNothing); j != want {
				t.Errorf("job %+v, want %+v", j, want)
			}
		}
		time.Sleep(time.Hour)
		if !answered(last) || answered(urgent) || answered(taken) || w.len() != 0 {
			t.Error("after an hour: the last is withdrawn, and no job that was taken")
		}
		early, urgent := waits(5, false), waits(6, true)
		add(waits(7, false))
		time.Sleep(200 * time.Millisecond)
		add(early)
		time.Sleep(600 * time.Millisecond)
		add(urgent)
		time.Sleep(401 * time.Millisecond) // 1.201 s
		if !answered(early) || answered(urgent) {
			t.Error("a job that waits has the patience of an urgent one behind it")
		}
		time.Sleep(time.Hour)
		add(first) // once more, though nobody waited for an hour
		time.Sleep(1001 * time.Millisecond)
		if !answered(first) {
			t.Error("the patience of a job behind an empty queue does not end")
		}
	})
}

func TestWithdrawAndStop(t *testing.T) {
	w := newWaiting(time.Hour)
	trouble := fmt.Errorf("no room: %w", ErrUnavailable)
	refusal := func(j *Job) error {
		if j.size > 0 {
			return trouble
		}
		return nil
	}
	pings, question := waits(1, false), waits(0, false)
	for _, j := range []*Job{pings, question} {
		if err := w.add(j, noRefusal); err != nil {
			t.Fatal(err)
		}
	}
	w.withdraw(refusal)
	if len(pings.done) != 1 || <-pings.done != trouble || len(question.done) != 0 || w.len() != 1 {
		t.Error("trouble of the log withdraws pings, and no question")
	}
	if err := w.add(pings, refusal); err != trouble {
		t.Errorf("a job that comes in trouble: %v", err)
	}
	w.stop()
	if len(question.done) != 1 || <-question.done != ErrStopped || w.len() != 0 {
		t.Error("a job waits for a writer that has stopped")
	}
	if err := w.add(question, noRefusal); err != ErrStopped {
		t.Errorf("a job that comes after the stop: %v", err)
	}
}
