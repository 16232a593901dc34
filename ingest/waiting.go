package ingest

import (
	"cmp"
	"fmt"
	"sync"
	"time"

	"pingline"
)

// waiting holds the jobs that wait for the writer: urgent jobs first, and each kind in
// order of arrival. A job leaves it when the writer takes it, or when it is withdrawn: it
// has run out of patience, the log has begun to have trouble, or the writer has stopped.
// So a job that was answered is in nobody's hands but its owner's.
type waiting struct {
	patience time.Duration
	came     chan struct{} // has a value if a job came since the writer last found none

	mu      sync.Mutex // guards the fields below; nothing else is locked under it
	urgent  fifo
	jobs    fifo
	timer   *time.Timer // of the patience of the oldest job; runs while jobs wait
	running bool
	stopped bool
}

func newWaiting(patience time.Duration) *waiting {
	return &waiting{patience: patience, came: make(chan struct{}, 1)}
}

// errImpatient is the refusal of a job that the writer did not take in time.
var errImpatient = fmt.Errorf("waited too long for the log: %w", ErrUnavailable)

// ErrStopped is the refusal of a job that the writer does not take any more. Nothing of it was judged.
var ErrStopped = fmt.Errorf("shutting down: %w", ErrUnavailable)

// add adds a job, unless the writer has stopped or refusal has a reason against it. An
// error is the answer to j; otherwise the answer comes by j.done.
func (w *waiting) add(j *Job, refusal func(*Job) error) error {
	patience := cmp.Or(j.Patience, w.patience)
	j.until = time.Now().Add(patience)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped {
		return ErrStopped
	}
	// Asked under the lock, so that a job that comes as trouble begins is either refused
	// here, or found by withdraw.
	if err := refusal(j); err != nil {
		return err
	}
	if j.Urgent {
		w.urgent.push(j)
	} else {
		w.jobs.push(j)
	}
	if !w.running {
		w.run(patience)
	}
	select {
	case w.came <- struct{}{}:
	default:
	}
	return nil
}

// run has expire called after d.
func (w *waiting) run(d time.Duration) {
	w.running = true
	if w.timer == nil {
		w.timer = time.AfterFunc(d, w.expire)
	} else {
		w.timer.Reset(d)
	}
}

// expire withdraws the jobs that have run out of patience.
func (w *waiting) expire() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running = false
	now, next := time.Now(), time.Duration(0)
	for _, q := range [...]*fifo{&w.urgent, &w.jobs} {
		for j := q.first(); j != nil; j = q.first() {
			if left := j.until.Sub(now); left > 0 {
				if next == 0 || left < next {
					next = left
				}
				break
			}
			q.pop()
			j.done <- errImpatient
		}
	}
	if next > 0 {
		w.run(next)
	}
}

// next takes the next job. It returns nil if there is none, or if the next is put off,
// since it can take more than room bytes of a commit. Held returns the bytes that pings can
// take by the attributes of pings held before.
func (w *waiting) next(room int, held func([]pingline.Ping) int) (j *Job, putOff bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	q := &w.urgent
	for {
		if q.first() == nil {
			q = &w.jobs
		}
		if j = q.first(); j == nil {
			return nil, false
		}
		if j.Patience == 0 || time.Now().Before(j.until) {
			break
		}
		q.pop().done <- errImpatient // expire may be behind: it sees to the first jobs only
	}
	if j.held = held(j.Pings); j.size+j.held > room {
		return nil, true
	}
	return q.pop(), false
}

// len returns how many jobs wait.
func (w *waiting) len() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.urgent.len() + w.jobs.len()
}

// withdraw refuses the waiting jobs to which refusal has an answer.
func (w *waiting) withdraw(refusal func(*Job) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.urgent.withdraw(refusal)
	w.jobs.withdraw(refusal)
}

// stop refuses all jobs that wait, and all that come.
func (w *waiting) stop() {
	w.mu.Lock()
	w.stopped = true
	w.mu.Unlock()
	w.withdraw(func(*Job) error { return ErrStopped })
}

// fifo is a queue of jobs. Its zero value is empty.
type fifo struct {
	list []*Job
	head int // of the first
}

func (q *fifo) len() int { return len(q.list) - q.head }

// first returns the first job, or nil.
func (q *fifo) first() *Job {
	if q.head == len(q.list) {
		return nil
	}
	return q.list[q.head]
}

func (q *fifo) push(j *Job) {
	if len(q.list) == cap(q.list) && q.head > len(q.list)/2 {
		n := copy(q.list, q.list[q.head:])
		clear(q.list[n:])
		q.list, q.head = q.list[:n], 0
	}
	q.list = append(q.list, j)
}

func (q *fifo) pop() *Job {
	j := q.list[q.head]
	q.list[q.head] = nil
	if q.head++; q.head == len(q.list) {
		q.list, q.head = q.list[:0], 0
	}
	return j
}

func (q *fifo) withdraw(refusal func(*Job) error) {
	left := q.list[:0]
	for _, j := range q.list[q.head:] {
		if err := refusal(j); err != nil {
			j.done <- err
		} else {
			left = append(left, j)
		}
	}
	clear(q.list[len(left):])
	q.list, q.head = left, 0
}
