package ingest

import (
	"math"
	"testing"
	"testing/synctest"
	"time"
)

func TestPatienceOfAJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWaiting(time.Minute)
		add := func(patience time.Duration) *Job {
			j := waits(1, false)
			j.Patience = patience
			if err := w.add(j, noRefusal); err != nil {
				t.Fatal(err)
			}
			return j
		}
		alone := add(time.Second)
		time.Sleep(1001 * time.Millisecond)
		if len(alone.done) != 1 || <-alone.done != errImpatient {
			t.Error("a job alone is not withdrawn after its own patience")
		}
		usual, short, long := add(0), add(time.Second), add(time.Hour)
		time.Sleep(2 * time.Second)
		for _, want := range []*Job{usual, long, nil} {
			if j, _ := w.next(math.MaxInt, holdsNothing); j != want {
				t.Errorf("job %+v is taken, want %+v", j, want)
			}
		}
		if len(short.done) != 1 || <-short.done != errImpatient {
			t.Error("a job behind another was judged after its patience")
		}
		time.Sleep(2 * time.Minute)
	})
}
