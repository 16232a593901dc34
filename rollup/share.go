package rollup

import (
	"context"
	"math"
	"time"
)

// Sums are the pings of a cell in a window as whole numbers: sums of several parts of the riders
// add up to the same in any order. Riders are exact up to 6,000 of a part.
type Sums struct {
	Cell   uint64        // H3
	Res    int           // its resolution
	From   int64         // ms since 1970: when the window begins
	Window time.Duration // its length

	Pings, Riders, Moving uint64
	Speeds, SpeedSum      uint64  // pings whose speed is known, and the sum of these speeds, mm/s
	SpeedMax              float32 // the largest of them, m/s
}

// Add adds o to s: the same cell and window, and other riders.
func (s *Sums) Add(o *Sums) {
	s.Pings += o.Pings
	s.Riders += o.Riders
	s.Moving += o.Moving
	s.Speeds += o.Speeds
	s.SpeedSum += o.SpeedSum
	s.SpeedMax = max(s.SpeedMax, o.SpeedMax)
}

// Activity returns s as an activity.
func (s *Sums) Activity() CellActivity {
	a := CellActivity{
		Cell: s.Cell, Res: s.Res, From: s.From, Window: s.Window,
		Pings: s.Pings, Riders: s.Riders, Moving: s.Moving, Waiting: s.Riders - min(s.Moving, s.Riders),
	}
	if a.HasSpeed = s.Speeds > 0; a.HasSpeed {
		a.SpeedMean = meanOf(s.SpeedSum, s.Speeds)
		a.SpeedMax = float64(s.SpeedMax)
	}
	return a
}

// sums returns t, of a cell in w.
func (r *Rollup) sums(res int, cell uint64, t *aggregate, w *window) Sums {
	s := Sums{
		Cell: cell, Res: r.cfg.Resolutions[res], From: w.from, Window: time.Duration(w.until-w.from) * time.Millisecond,
		Pings: t.pings, Speeds: t.speeds, SpeedSum: t.speedSum, SpeedMax: t.speedMax,
	}
	s.Riders, s.Moving = t.riders.count()
	return s
}

// Reach is how far a roll-up has counted its log. Of two Sums of the same cell and window those
// with the higher Commit are newer, whichever process counted them: both have read the same log.
type Reach struct {
	Commit  uint64        // number of the newest commit that is counted
	Settled int64         // ms: the totals of windows that end by then have been given to Share once
	Windows []WindowReach // the shortest first
}

// WindowReach is how far windows of a length are closed.
type WindowReach struct {
	Window time.Duration
	Closed int64 // ms: no total of a window that ends by then changes any more
}

// reach returns how far r is.
func (r *Rollup) reach() Reach {
	at := Reach{Commit: r.next.Next - 1, Settled: r.settled}
	for level, length := range r.lengths {
		closed := floor(r.clock-r.lateness, length)
		for _, w := range r.windows[level] {
			if !w.mute {
				closed = min(closed, w.from)
				break
			}
		}
		at.Windows = append(at.Windows, WindowReach{r.cfg.Windows[level], closed})
	}
	return at
}

// tell has Share know how far r is, once a second, though no total has changed. failed says that a
// window which was due at now is not written.
func (r *Rollup) tell(ctx context.Context, now int64, failed bool) {
	if r.cfg.Share == nil || r.clock == 0 {
		return
	}
	if !failed && r.caughtUp() {
		r.settled = max(r.settled, min(now, max(r.clock, r.now()))-settle)
	}
	if at := r.now(); at >= r.retry && (at >= r.told+turnEvery || at < r.told || now == math.MaxInt64) {
		if r.emitted(r.cfg.Share(ctx, r.reach(), nil)) {
			r.told = at
		}
	}
}
