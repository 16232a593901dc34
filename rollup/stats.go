package rollup

import (
	"fmt"
	"slices"
	"time"
)

// Stats counts the work of a Rollup since New.
type Stats struct {
	Pings     uint64 // counted, each once; a restart does not count again
	Late      uint64 // came after their window had closed
	LeftOut   uint64 // had no room, or their window began before the oldest commit read
	Damaged   uint64 // lost by the log: the totals of their windows are too small
	Early     uint64 // windows closed before their time, as they held back too much of the log
	Coarsened uint64 // windows that went on in coarser cells, for lack of memory
	Hidden    uint64 // windows that the live view left out at some resolution, for lack of memory
	Forgotten uint64 // pings without speed whose track found no room to be remembered
	Failures  uint64 // of Emit

	Behind uint64 // commits that are not read yet
	Open   int    // cells and windows being counted
	Bytes  int64  // bytes of all parts that grow with the pings, about

	Stages []Stage // by window, shortest first, and resolution, finest first
}

// Stage counts the totals of a resolution and a window by their fate.
type Stage struct {
	Res    int
	Window time.Duration

	Points   uint64 // written
	Rewrites uint64 // points that had been written before, with fewer pings
	Withheld uint64 // not written, or not for the last time, because of overload
	Lost     uint64 // not written: their window closed early as Emit failed, or before the commits of an earlier process were read
}

// PingsPerPoint returns how many pings stand behind a point that a stage wrote,
// rewrites included, 0 before the first.
func (s *Stats) PingsPerPoint(stage int) float64 {
	if s.Stages[stage].Points == 0 {
		return 0
	}
	return float64(s.Pings) / float64(s.Stages[stage].Points)
}

func (r *Rollup) stages() (list []Stage) {
	for _, w := range r.cfg.Windows {
		for _, res := range r.cfg.Resolutions {
			list = append(list, Stage{Res: res, Window: w})
		}
	}
	return list
}

// Stats returns the counts so far.
func (r *Rollup) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.stats
	s.Stages = slices.Clone(s.Stages)
	s.Forgotten, s.Bytes = r.tracks.forgotten, r.bytes()
	s.Hidden = r.view.hidden()
	for _, list := range r.windows {
		for _, w := range list {
			s.Open += len(w.aggregates)
		}
	}
	if next := r.cfg.Log.Last() + 1; next > r.next.Next {
		s.Behind = next - r.next.Next
	}
	return s
}

// Unread returns how much of the log has not been read yet.
func (r *Rollup) Unread() int64 {
	r.mu.Lock()
	next := r.next.Next
	r.mu.Unlock()
	return r.cfg.Log.BytesSince(next)
}

// noted has the times, ms of our own clock, at which an event of its kind last
// happened that an operator must know; 0 for never.
type noted struct{ coarsened, hidden, early, failing int64 }

// Notes returns a sentence for each trouble that an operator must know of.
func (r *Rollup) Notes() (notes []string) {
	const recent = int64(10 * time.Minute / time.Millisecond)
	const patience = int64(10 * time.Second / time.Millisecond)
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	if at := r.noted.coarsened; at > 0 && now-at < recent {
		notes = append(notes, fmt.Sprintf("roll-up: too many cells for %d MiB: windows are counted in coarser cells, %d windows so far", r.cfg.MaxBytes>>20, r.stats.Coarsened))
	}
	if at := r.noted.hidden; at > 0 && now-at < recent {
		notes = append(notes, fmt.Sprintf("roll-up: too many cells for the live view's %d MiB: windows of the finest cells are left out, %d windows so far", r.view.limit>>20, r.view.hidden()))
	}
	if at := r.noted.early; at > 0 && now-at < recent {
		notes = append(notes, fmt.Sprintf("roll-up: open windows held back an eighth of the log: closed before their time: %d", r.stats.Early))
	}
	if at := r.noted.failing; r.failures > 0 && now-at > patience {
		notes = append(notes, fmt.Sprintf("roll-up: no total could be written for %v", (time.Duration(now-at)*time.Millisecond).Round(time.Second)))
	}
	return notes
}
