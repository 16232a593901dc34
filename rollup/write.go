package rollup

import (
	"context"
	"math"
	"slices"

	"pingline"
	"pingline/partition"
)

// A window is written settle after its end, when nearly all of its pings are
// there; if more come, again when four times as long has passed since its end;
// and for good when it closes. With a lateness of 2 minutes that is after 2, 8,
// 32 and 120 seconds, and each time only totals that have changed are written.
const (
	settle    = 2000 // ms
	turnEvery = 1000 // ms of the log's clock
)

// nextDue sets the time after now at which w is to be written again.
func (w *window) nextDue(now, lateness int64) {
	wait := int64(settle)
	for wait < lateness && w.until+wait <= now {
		wait *= 4
	}
	w.due = math.MaxInt64 // not before it closes
	if wait < lateness {
		w.due = w.until + wait
	}
}

// caughtUp reports whether all commits are read that an earlier process can have
// read. Until then a total that is not final may be smaller than a total that
// the earlier process has written.
func (r *Rollup) caughtUp() bool { return r.next.Next > r.last }

// turn shows and writes the windows due at now, closes the windows that get no more
// pings, and moves the record.
func (r *Rollup) turn(ctx context.Context, now int64) {
	r.tell(ctx, now, r.writeDue(ctx, now))
	r.letGo(ctx)
	r.keep()
	r.tidy()
	r.nextTurn = r.clock + turnEvery
	for _, list := range r.windows {
		for _, w := range list {
			for _, at := range [...]int64{w.due, w.until + r.lateness} {
				if at > r.clock {
					r.nextTurn = min(r.nextTurn, at)
				}
			}
		}
	}
}

// writeDue writes the windows that are due, and closes the windows that are
// final. It closes a window only when it is written, and after the windows
// before it. It reports whether one of them could not be written.
func (r *Rollup) writeDue(ctx context.Context, now int64) (failed bool) {
	policy := r.cfg.Policy()
	for k := range r.windows {
		for i := 0; i < len(r.windows[k]); {
			w := r.windows[k][i]
			final := w.until+r.lateness <= r.clock
			if final || now >= w.due && r.caughtUp() {
				if r.write(ctx, w, final, policy) {
					w.nextDue(now, r.lateness)
				} else {
					failed = true
				}
			}
			if final && !failed {
				r.close(w)
			} else {
				i++
			}
		}
	}
	return failed
}

// letGo closes windows before their time while they hold back more than an eighth
// of the log's limit, beginning with the windows that hold back the most.
func (r *Rollup) letGo(ctx context.Context) {
	for r.holds(r.origin(true)) > r.cfg.Log.Limit()/8 {
		var oldest *window
		for _, list := range slices.Backward(r.windows) { // the longest first
			for _, w := range list {
				if !w.mute && (oldest == nil || w.first.Next < oldest.first.Next) {
					oldest = w
				}
			}
		}
		if oldest == nil {
			return
		}
		level, until := oldest.level, oldest.until
		for len(r.windows[level]) > 0 && r.windows[level][0].until <= until {
			r.closeEarly(ctx, r.windows[level][0])
		}
	}
}

// closeEarly writes w, if that can be done at once, and closes it.
func (r *Rollup) closeEarly(ctx context.Context, w *window) {
	if !w.mute {
		if !r.caughtUp() || !r.write(ctx, w, true, r.cfg.Policy()) {
			r.drop(w)
		}
		r.mu.Lock()
		r.stats.Early++
		r.noted.early = r.now()
		r.mu.Unlock()
	}
	r.close(w)
}

// pass is a single writing of a window.
type pass struct {
	r      *Rollup
	ctx    context.Context
	w      *window
	final  bool
	policy pingline.Policy
	off    bool // no points are emitted in this pass

	points []pingline.Entry // not emitted yet
	sums   []Sums           // in place of points, not shared yet
	counts []Stage          // counts of points, by resolution
	failed bool             // a point was not taken

	shown, apart [][]total // by resolution, for the live view
}

const passPoints = 500 // most points of a call of Emit

// write shows the totals of w that changed since it was last shown, writes the
// totals that changed since it was last written, and reports whether they are
// durable.
func (r *Rollup) write(ctx context.Context, w *window, final bool, policy pingline.Policy) bool {
	since, off := slices.Min(w.written[w.res:]), r.now() < r.retry
	if off {
		since = math.MaxUint64
	}
	if w.level == 0 {
		since = min(since, w.shown)
	}
	if w.mute || r.newest(w) <= since {
		return w.mute || !off
	}
	p := &r.pass
	*p = pass{r: r, ctx: ctx, w: w, final: final, policy: policy, off: off, counts: p.counts, shown: p.shown, apart: p.apart}
	r.each(w, since, p.total)
	p.flush()
	p.show()
	p.w = nil // w may be closed next
	if p.failed || off {
		return false
	}
	for res := w.res; res < len(w.written); res++ {
		if !r.withheld(res, policy) {
			w.written[res] = r.next.Next - 1
		}
	}
	return true
}

// withheld reports whether totals of a resolution are not written under a policy.
func (r *Rollup) withheld(res int, policy pingline.Policy) bool {
	return res < len(r.cfg.Resolutions)-policy.Resolutions
}

// total takes the total of a cell for the pass.
func (p *pass) total(res int, cell uint64, t *aggregate) {
	show := p.w.level == 0 && t.last > p.w.shown
	write := !p.off && !p.failed && t.last > p.w.written[res]
	if write && p.r.withheld(res, p.policy) {
		write = false
		if p.final {
			p.counts[res].Withheld++
		}
	}
	if !show && !write {
		return
	}
	a := p.r.activity(res, cell, t, p.w)
	few := a.Riders < p.r.cfg.MinRiders
	if show && p.r.cfg.Apart {
		p.apart[res] = append(p.apart[res], totalOf(&a, t))
	}
	if show && !few {
		p.shown[res] = append(p.shown[res], totalOf(&a, t))
	}
	switch share := p.r.cfg.Share != nil; {
	case !write || few && !share:
		return
	case share:
		p.sums = append(p.sums, p.r.sums(res, cell, t, p.w))
	default:
		p.points = append(p.points, pingline.Entry{Kind: pingline.Activity, Point: a.Point(p.r.cfg.Node)})
	}
	p.counts[res].Points++
	if t.first <= p.w.written[res] {
		p.counts[res].Rewrites++
	}
	if len(p.points)+len(p.sums) == passPoints {
		p.flush()
	}
}

// flush makes the points so far durable.
func (p *pass) flush() {
	switch {
	case len(p.points) > 0:
		p.failed = !p.r.emitted(p.r.cfg.Emit(p.ctx, p.points))
		p.points = nil // Emit may keep the slice
	case len(p.sums) > 0:
		p.failed = !p.r.emitted(p.r.cfg.Share(p.ctx, p.r.reach(), p.sums))
		p.sums = nil // so may Share
	}
	if !p.failed {
		p.r.book(p.w.level, p.counts)
	}
	clear(p.counts)
}

// show hands the totals to the live view.
func (p *pass) show() {
	if p.w.level > 0 {
		return
	}
	left := p.r.view.put(p.w.from, p.shown)
	if p.r.cfg.Apart {
		p.r.view.keep(p.w.from, p.apart)
	}
	for res := range p.shown {
		p.shown[res], p.apart[res] = reuse(p.shown[res]), reuse(p.apart[res])
	}
	p.r.mu.Lock()
	defer p.r.mu.Unlock()
	p.w.shown = p.r.next.Next - 1
	if left {
		p.r.noted.hidden = p.r.now()
	}
}

// emitted records whether Emit failed, and when to try again.
func (r *Rollup) emitted(err error) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		if r.failures > 0 {
			r.cfg.Logger.Info("roll-ups are written again")
		}
		r.failures = 0
		return true
	}
	if r.failures == 0 {
		r.noted.failing = r.now()
		r.cfg.Logger.Warn("roll-ups cannot be written, and are tried again", "error", err)
	}
	const first, most = 250, 10_000 // ms
	r.retry = r.now() + min(int64(most), first<<min(r.failures, 10))
	r.failures++
	r.stats.Failures++
	return false
}

// book adds to the counts of a window length's stages.
func (r *Rollup) book(level int, counts []Stage) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for res := range counts {
		s, c := &r.stats.Stages[level*len(counts)+res], &counts[res]
		s.Points += c.Points
		s.Rewrites += c.Rewrites
		s.Withheld += c.Withheld
		s.Lost += c.Lost
	}
}

// drop counts the totals of w that will not be written.
func (r *Rollup) drop(w *window) {
	counts := make([]Stage, len(r.cfg.Resolutions))
	r.each(w, slices.Min(w.written[w.res:]), func(res int, _ uint64, t *aggregate) {
		if t.last > w.written[res] {
			counts[res].Lost++
		}
	})
	r.book(w.level, counts)
}

// newest returns the commit of the newest ping that w counts.
func (r *Rollup) newest(w *window) uint64 {
	last := w.last
	for _, part := range r.parts(w) {
		last = max(last, r.newest(part))
	}
	return last
}

// each calls total with the totals of w in every resolution, children before
// their parent, each merged from its children. It leaves out cells of the
// coarsest resolution that have no ping after commit since.
func (r *Rollup) each(w *window, since uint64, total func(res int, cell uint64, t *aggregate)) {
	r.list = r.refs(r.list[:0], w)
	top := len(r.cfg.Resolutions) - 1
	for list := r.list; len(list) > 0; {
		n, newest := 0, uint64(0)
		for parent := r.parent(list[0].cell, top); n < len(list) && r.parent(list[n].cell, top) == parent; n++ {
			newest = max(newest, list[n].last)
		}
		if newest > since {
			r.sum(top, w.res, list[:n], total)
		}
		list = list[n:]
	}
	clear(r.list)
	r.list = reuse(r.list)
}

// sum calls total for a cell, whose aggregates are list, and for all cells below it
// down to the finest resolution, and returns the cell's total.
func (r *Rollup) sum(res, finest int, list []ref, total func(int, uint64, *aggregate)) *aggregate {
	cell := r.parent(list[0].cell, res)
	t := &r.byRes[res]
	switch t.reset(&r.scratch); {
	case res > finest:
		for len(list) > 0 {
			n, child := 0, r.parent(list[0].cell, res-1)
			for n < len(list) && r.parent(list[n].cell, res-1) == child {
				n++
			}
			t.merge(&r.scratch, r.sum(res-1, finest, list[:n], total))
			list = list[n:]
		}
	case len(list) == 1:
		t = list[0].aggregate
	default:
		for i := range list {
			t.merge(&r.scratch, list[i].aggregate)
		}
	}
	total(res, cell, t)
	return t
}

func (r *Rollup) parent(cell uint64, res int) uint64 {
	return partition.Parent(cell, r.cfg.Resolutions[res])
}

// activity returns t as the activity of a cell in w.
func (r *Rollup) activity(res int, cell uint64, t *aggregate, w *window) CellActivity {
	s := r.sums(res, cell, t, w)
	return s.Activity()
}
