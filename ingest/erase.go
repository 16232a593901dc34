package ingest

import (
	"cmp"
	"context"
	"slices"

	"pingline"
	"pingline/queue"
)

// Erased is the outcome of Erase.
type Erased struct {
	Upto   uint64       // number of the commit that ends the rider's past
	Behind queue.Cursor // the place behind that commit

	Tracks, Held int // how many the filter has forgotten
}

// Erase forgets a rider between two pings, makes mark durable, a point, and begins a
// checkpoint that replaces all before it. From the next commit on the rider is new. The
// caller keeps the Erasure until no checkpoint, and no commit, from before is left, and
// gives it to WriterConfig.Erasures: otherwise a restart would bring the rider back. After
// an error the rider may be forgotten, or not: call it again.
func (w *Writer) Erase(rider string, mark pingline.Entry) (Erased, error) {
	x := &erasing{rider: rider}
	err := w.Submit(&Job{Entries: []pingline.Entry{mark}, asks: x})
	return x.Erased, err
}

type erasing struct {
	rider string
	Erased
}

func (x *erasing) fill(w *Writer) {
	x.Tracks, x.Held = w.filter.Erase(x.rider)
	w.counts.Covered += uint64(x.Held)
	x.Upto = w.log.Last() + 1
	x.Behind = queue.Cursor{Next: x.Upto + 1, Totals: w.totals}
	renewing{}.fill(w)
}

// closes reports whether no job may follow j in its commit.
func (j *Job) closes() bool {
	_, erases := j.asks.(*erasing)
	return erases
}

// Save saves the filter's state while requests go on, and copies it to the servers of the log, so
// that a start has little to read. It returns once that has ended, however it ended, or ctx does.
func (w *Writer) Save(ctx context.Context) error {
	s := saving{make(chan (<-chan struct{}), 1)}
	if err := w.Submit(&Job{asks: s}); err != nil {
		return err
	}
	select {
	case <-<-s.began:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

type saving struct{ began chan (<-chan struct{}) }

func (s saving) fill(w *Writer) { s.began <- w.checkpoint.hurry() }

// Renew begins a checkpoint that replaces all before it. The cursor FilterCursor moves on
// once it is saved.
func (w *Writer) Renew() error { return w.Submit(&Job{asks: renewing{}}) }

type renewing struct{}

func (renewing) fill(w *Writer) {
	w.checkpoint.abandon()
	w.checkpoint.alone = true
}

// erasures returns the erasures that a replay from commit next meets, in their order. A
// checkpoint from behind an erasure is without the rider's past.
func (w *Writer) erasures(next uint64) (list []Erasure) {
	if w.cfg.Erasures == nil {
		return nil
	}
	for _, e := range w.cfg.Erasures() {
		if e.Upto >= next {
			list = append(list, e)
		}
	}
	slices.SortFunc(list, func(a, b Erasure) int { return cmp.Compare(a.Upto, b.Upto) })
	return list
}
