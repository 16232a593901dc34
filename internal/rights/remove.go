package rights

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"pingline"
	"pingline/ingest"
	"pingline/internal/pause"
	"pingline/queue"
	"pingline/sink/store"
)

// Measurement has a point for each removal: it tells that there was one, and not of whom.
const Measurement = ingest.ErasureMark

// cursorPrefix begins the names of the cursors that hold the log for removals.
const cursorPrefix = "erase-"

// Run removes riders until ctx is cancelled, and returns nil. Removals that are not done by
// then go on at the next start.
func (r *Rights) Run(ctx context.Context) error {
	var all sync.WaitGroup
	defer all.Wait()
	r.dropCursors()
	for {
		select {
		case m := <-r.cfg.Removals.news:
			r.cfg.Logger.Info("a rider is being removed", "removal", m.ID, "step", m.Step)
			all.Go(func() { r.remove(ctx, m) })
		case <-ctx.Done():
			return nil
		}
	}
}

// dropCursors drops cursors of removals that are done.
func (r *Rights) dropCursors() {
	for name := range r.cfg.Log.Cursors() {
		id, ours := strings.CutPrefix(name, cursorPrefix)
		if !ours {
			continue
		}
		if m, err := r.cfg.Removals.Get(id); err != nil || m.Step == Finished {
			r.cfg.Log.DropCursor(name)
		}
	}
}

// Waits between two tries of a step.
const (
	lookAgain = 250 * time.Millisecond
	tryAgain  = 2 * time.Second
)

// errNotYet is wrapped by the reason why a step is not done yet.
var errNotYet = errors.New("not yet")

func notYet(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errNotYet, fmt.Sprintf(format, args...))
}

// remove does the steps of m, each until it is done. It ends early if ctx does.
func (r *Rights) remove(ctx context.Context, m *Removal) {
	for ctx.Err() == nil {
		err := r.step(ctx, m)
		switch {
		case err == nil && m.Step == Finished:
			r.cfg.Logger.Info("a rider is removed", "removal", m.ID)
			return
		case err == nil, errors.Is(err, errAgain):
			continue
		}
		wait := lookAgain
		if !errors.Is(err, errNotYet) {
			wait = tryAgain
		}
		r.cfg.Removals.waits(m, strings.TrimPrefix(err.Error(), errNotYet.Error()+": "))
		if pause.For(ctx, wait) != nil {
			return
		}
	}
}

// step does the next step of m.
func (r *Rights) step(ctx context.Context, m *Removal) error {
	if at, _ := r.cfg.Removals.Get(m.ID); at.Again && m.Step != Reopened {
		r.renewals.Delete(m.ID)
		return r.cfg.Removals.change(m, func(m *Removal) {
			*m = Removal{ID: m.ID, Rider: m.Rider, Asked: m.Asked, Step: Asked, Upto: m.Upto, Also: m.Also}
		})
	}
	if m.Left {
		return r.takeUp(m)
	}
	switch m.Step {
	case Asked:
		return r.forget(m)
	case Forgotten:
		return r.unletter(ctx, m)
	case Unlettered:
		return r.clear(ctx, m)
	case Cleared:
		return r.reopen(m)
	case Reopened:
		return r.restore(ctx, m)
	}
	return r.trim(m)
}

// mark is the point of a removal: the same row, however often it is logged.
func (r *Rights) mark(m *Removal) pingline.Entry {
	return pingline.Entry{Kind: pingline.Self, Point: &pingline.Point{
		Name: Measurement, At: m.Asked,
		Tags:   []pingline.Tag{{Key: "node", Value: r.cfg.Node}},
		Fields: []pingline.PointField{pingline.Int("count", 1)},
	}}
}

// takeUp asks for the removal by pseudonym of a rider whose removal was left while no server
// ran.
func (r *Rights) takeUp(m *Removal) error {
	also := Removal{}
	if stored := r.cfg.Names.Stored(m.Rider); stored != m.Rider {
		var err error
		if also, err = r.cfg.Removals.Ask(stored, ""); err != nil {
			return err
		}
	}
	return r.cfg.Removals.change(m, func(m *Removal) { m.Also, m.Left = also.ID, false })
}

// forget ends the rider's past: with the commit of a mark.
func (r *Rights) forget(m *Removal) error {
	cursor := cursorPrefix + m.ID
	r.cfg.Log.SetCursor(cursor, r.cfg.Log.Head()) // commits that come meanwhile are read again
	gone, err := r.cfg.Writer.Erase(m.Rider, r.mark(m))
	if err != nil {
		return err
	}
	until := time.Now().UnixMilli()
	r.cfg.Log.SetCursor(cursor, gone.Behind)
	if err := r.cfg.Log.KeepCursors(); err != nil {
		return err
	}
	r.cfg.Forget(m.Rider)
	return r.cfg.Removals.change(m, func(m *Removal) {
		m.Step, m.Upto, m.Until, m.Tracks, m.Held = Forgotten, gone.Upto, until, gone.Tracks, gone.Held
	})
}

// fill fills the file of the log that has the end of the past, so that it can go.
func (r *Rights) fill(m *Removal) error {
	if m.Filled > 0 || !r.cfg.Log.Fill() {
		return nil
	}
	for r.cfg.Log.Filling() > 0 {
		if err := r.cfg.Writer.Submit(&ingest.Job{Entries: []pingline.Entry{r.mark(m)}}); err != nil {
			return err
		}
	}
	last := r.cfg.Log.Last()
	return r.cfg.Removals.change(m, func(m *Removal) { m.Filled = last })
}

// unletter removes dead letters, once the lanes have passed the past: from then on none is
// added.
func (r *Rights) unletter(ctx context.Context, m *Removal) error {
	if next := r.cfg.Written(); next <= m.Upto {
		return notYet("a shard has not taken all that came before: it is at commit %d of %d", next, m.Upto)
	}
	n, err := r.cfg.Letters.Erase(ctx, m.Rider)
	if err != nil {
		return err
	}
	return r.cfg.Removals.change(m, func(m *Removal) { m.Step, m.DeadLetters = Unlettered, n })
}

// clear removes the rider from the stores. Nothing of the rider is written meanwhile.
func (r *Rights) clear(ctx context.Context, m *Removal) error {
	for _, sh := range r.cfg.Shards() {
		if slices.ContainsFunc(m.Shards, func(e Emptied) bool { return e.Shard == sh.Name }) { // by name: shards may have been added or taken away since
			continue
		}
		e, ok := sh.Store.(store.Eraser)
		read, reads := sh.Store.(store.Reader)
		if !ok || !reads {
			return fmt.Errorf("shard %s: no rider can be removed from its kind of store", sh.Name)
		}
		was, err := count(ctx, read, m.Rider)
		if err == nil {
			err = e.Erase(ctx, m.Rider)
		}
		left := 0
		if err == nil {
			left, err = count(ctx, read, m.Rider)
		}
		switch {
		case err != nil:
			return fmt.Errorf("shard %s: %w", sh.Name, err)
		case left > 0:
			return fmt.Errorf("shard %s: %d of %d points are left", sh.Name, left, was)
		}
		done := Emptied{Shard: sh.Name, Removed: was, Remaining: left}
		if err := r.cfg.Removals.change(m, func(m *Removal) { m.Shards = append(m.Shards, done) }); err != nil {
			return err
		}
	}
	return r.cfg.Removals.change(m, func(m *Removal) { m.Step = Cleared })
}

// count returns how many points of a rider a store has.
func count(ctx context.Context, from store.Reader, rider string) (n int, err error) {
	q := store.All()
	q.Rider = rider
	err = from.Points(ctx, q, func(*pingline.Entry, int64) error {
		n++
		return nil
	})
	return n, err
}

// reopen has pings of later commits written as those of other riders. It is decided while no
// lane is told about an entry, so that a ping that a lane has left out is in a commit up
// to Through.
func (r *Rights) reopen(m *Removal) error {
	return r.cfg.Removals.change(m, func(m *Removal) { m.Step, m.Through = Reopened, r.cfg.Log.Last() })
}

// restoredAtOnce is the most pings that are put back in a commit.
const restoredAtOnce = 1000

// restore puts the pings that came since the past of the rider ended, and that the lanes
// have left out, into the log again. Broken off, it begins anew: then rows are written twice.
func (r *Rights) restore(ctx context.Context, m *Removal) error {
	n := 0
	var job ingest.Job
	submit := func() error {
		err := r.cfg.Writer.Submit(&job)
		job.Entries = job.Entries[:0]
		return err
	}
	err := r.inLog(ctx, m.Rider, m.Upto+1, m.Through, func(e *pingline.Entry) error {
		again := *e
		again.Kind, again.Promoted, again.State, again.To = pingline.Replayed, false, 0, ""
		job.Entries = append(job.Entries, again)
		if n++; len(job.Entries) < restoredAtOnce {
			return nil
		}
		return submit()
	})
	if err = errors.Join(err, submit()); err != nil {
		return err
	}
	if err := r.cfg.Removals.change(m, func(m *Removal) { m.Step, m.Later = Restored, n }); err != nil {
		return err
	}
	r.cfg.Log.DropCursor(cursorPrefix + m.ID)
	return nil
}

// trim waits until no checkpoint has the past of the rider, and until the log is trimmed
// behind it.
func (r *Rights) trim(m *Removal) error {
	r.cfg.Log.DropCursor(cursorPrefix + m.ID)
	// Not before: while a store is away nothing is trimmed, and padding would take its room.
	if err := r.fill(m); err != nil {
		return err
	}
	behind := max(m.Upto, m.Filled)
	if at, ok := r.cfg.Log.Cursor(ingest.FilterCursor); ok && at.Next <= behind && !r.renewed(m.ID) {
		if err := r.cfg.Writer.Renew(); err != nil {
			return err
		}
	}
	if err := r.cfg.Log.KeepCursors(); err != nil {
		return err
	}
	first, err := r.cfg.Log.Drop()
	if err != nil {
		return err
	}
	if first <= behind {
		name, at := r.last(behind)
		return notYet("the log has records from before; %s is at commit %d of %d", name, at, behind+1)
	}
	said := "no file of the log has bytes of before"
	if m.Filled == 0 {
		said = "the log's newest file may have bytes of before: it goes once it is full, at 8 MiB, and all of it is written"
	}
	err = r.cfg.Removals.finish(m, func(m *Removal) { m.Log, m.Done = said, time.Now().UnixMilli() })
	if err == nil {
		m.Step = Finished
	}
	return err
}

// renewed reports whether the checkpoint was renewed for a removal in this process, and
// notes that it is.
func (r *Rights) renewed(id string) bool {
	_, was := r.renewals.LoadOrStore(id, true)
	return was
}

// last returns the cursor that is furthest behind.
func (r *Rights) last(head uint64) (name string, at uint64) {
	name, at = "its last record", head
	for _, list := range [...]map[string]queue.Cursor{r.cfg.Log.Cursors(), r.cfg.Log.Kept()} {
		for n, c := range list {
			if c.Next < at {
				name, at = n, c.Next
			}
		}
	}
	return name, at
}
