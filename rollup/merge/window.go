package merge

import (
	"context"
	"math/bits"
	"slices"
	"time"

	"pingline"
	"pingline/rollup"
)

// openWindow has the totals of a window, of all parts that have published one.
type openWindow struct {
	from    int64 // ms since 1970
	length  time.Duration
	first   uint64 // its first message
	opened  int64  // by Merger.now
	cells   map[uint64]*cellParts
	lacks   uint64 // bit i: of part i a total had no room
	changed int    // cells that are to be written
	since   int64  // by Merger.now: when the first of them changed
	written bool
	told    int // how many parts the rows say that are in it
}

// cellParts are the newest totals of a cell in a window.
type cellParts struct {
	list    []partSums
	changed bool
	written bool
}

// partSums is a total of a part.
type partSums struct {
	part   int
	commit uint64
	sums   rollup.Sums
}

// Bytes that a cell takes without the totals of its parts, and a total, about.
const (
	cellBytes = 120
	sumsBytes = 110
)

func (w *openWindow) until() int64 { return w.from + w.length.Milliseconds() }

// put takes a total of a part unless a newer one is there, and returns how many bytes more w takes.
// It reports false if there was no room.
func (w *openWindow) put(part int, commit uint64, s *rollup.Sums, room, now int64) (used int64, ok bool) {
	c := w.cells[s.Cell]
	if c != nil {
		if i := slices.IndexFunc(c.list, func(p partSums) bool { return p.part == part }); i >= 0 {
			if had := &c.list[i]; commit >= had.commit {
				if had.sums != *s {
					w.change(c, now)
				}
				had.commit, had.sums = commit, *s
			}
			return 0, true
		}
	}
	used = sumsBytes
	if c == nil {
		used += cellBytes
	}
	if used > room {
		w.lacks |= 1 << part
		return 0, false
	}
	if c == nil {
		c = new(cellParts)
		w.cells[s.Cell] = c
	}
	c.list = append(c.list, partSums{part, commit, *s})
	w.change(c, now)
	return used, true
}

func (w *openWindow) change(c *cellParts, now int64) {
	if c.changed {
		return
	}
	if c.changed = true; w.changed == 0 {
		w.since = now
	}
	w.changed++
}

func (w *openWindow) bytes() (n int64) {
	for _, c := range w.cells {
		n += cellBytes + int64(len(c.list))*sumsBytes
	}
	return n
}

// Times, ms, behind which a window is written for the first time though a part is missing, and again
// when a total has changed: parts write at about the same time.
const (
	waitMissing = 5000 // after its end
	waitFirst   = 3000 // after its first total
	waitMore    = 2000
)

// inside returns how many parts are in w, and whether all of them have closed it.
func (m *Merger) inside(w *openWindow) (n int, final bool) {
	final = true
	for i := range m.parts {
		at := &m.parts[i]
		if at.Settled >= w.until() {
			n++
		}
		closed, known := at.Closed[w.length]
		if at.Closed == nil || known && closed < w.until() {
			final = false
		}
	}
	return max(0, n-bits.OnesCount64(w.lacks)), final
}

// due reports whether w is to be written.
func (m *Merger) due(w *openWindow, parts int, now int64) bool {
	switch {
	case !w.written:
		return parts == len(m.parts) || now >= w.until()+waitMissing && now >= w.opened+waitFirst
	case parts != w.told:
		return true
	}
	return w.changed > 0 && now >= w.since+waitMore
}

// turn writes the windows that are due, or all that have changed, and closes the final ones.
func (m *Merger) turn(ctx context.Context, all bool) {
	now := m.now()
	ready := m.caughtUp() && (now >= m.retry || all)
	for _, w := range slices.Clone(m.windows) {
		if !ready {
			break
		}
		parts, final := m.inside(w)
		if final || all || m.due(w, parts, now) {
			if ready = m.write(ctx, w, parts); ready && final {
				m.close(w)
			}
		}
	}
	m.letGo(ctx, now, ready)
	if ready && now >= m.kept+1000 {
		m.keep()
	}
}

// letGo closes windows whose missing parts are not waited for any longer, the oldest first.
func (m *Merger) letGo(ctx context.Context, now int64, ready bool) {
	for len(m.windows) > 0 {
		w := m.windows[0]
		full := m.bytes > m.cfg.MaxBytes/8*7
		if !full && (now < w.until()+m.cfg.Lateness.Milliseconds()+patience.Milliseconds() || now < w.opened+patience.Milliseconds()/2) {
			return
		}
		parts, _ := m.inside(w)
		ready = ready && m.write(ctx, w, parts)
		m.mu.Lock()
		m.stats.Early++
		m.mu.Unlock()
		m.close(w)
	}
}

// close forgets w, and any other window of its length that ends no later.
func (m *Merger) close(w *openWindow) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed[w.length] = max(m.closedTo(w.length), w.until())
	m.windows = slices.DeleteFunc(m.windows, func(o *openWindow) bool {
		gone := o.length == w.length && o.until() <= w.until()
		if gone {
			m.bytes -= o.bytes()
			for _, c := range o.cells {
				if c.changed && m.few(c) {
					continue
				}
				if c.changed && m.withheld(c.list[0].sums.Res) {
					m.stats.Withheld++
				} else if c.changed {
					m.stats.Lost++
				}
			}
		}
		return gone
	})
}

// few reports whether a cell has too few riders to be told of.
func (m *Merger) few(c *cellParts) bool { sum := c.sum(); return sum.Riders < m.cfg.MinRiders }

// withheld reports whether sums of a resolution are not written for now.
func (m *Merger) withheld(res int) bool {
	finest := len(m.cfg.Resolutions) - min(m.cfg.Policy().Resolutions, len(m.cfg.Resolutions))
	return finest > 0 && (finest == len(m.cfg.Resolutions) || res > m.cfg.Resolutions[finest])
}

func (c *cellParts) sum() rollup.Sums {
	sum := c.list[0].sums
	for i := range c.list[1:] {
		sum.Add(&c.list[i+1].sums)
	}
	return sum
}

const mostRows = 500 // of a call of Emit

// write writes the rows of w that have changed, all of them if other parts are in it than they say,
// and reports whether they are durable.
func (m *Merger) write(ctx context.Context, w *openWindow, parts int) bool {
	var rows []pingline.Entry
	var cells []*cellParts
	flush := func() bool {
		if len(rows) > 0 && !m.emit(ctx, rows) {
			return false
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, c := range cells {
			m.stats.Points++
			if c.written {
				m.stats.Rewrites++
			}
			if c.changed {
				w.changed--
			}
			c.changed, c.written = false, true
		}
		rows, cells = nil, nil // Emit may keep the slice
		return true
	}
	again := w.written && parts != w.told
	for _, c := range w.cells {
		if !c.changed && !again {
			continue
		}
		sum := c.sum()
		if sum.Riders < m.cfg.MinRiders {
			continue
		}
		if m.withheld(sum.Res) {
			w.change(c, m.now())
			continue
		}
		a := sum.Activity()
		a.Parts = uint64(parts) // #nosec G115: not negative
		rows, cells = append(rows, pingline.Entry{Kind: pingline.Activity, Point: a.Point("")}), append(cells, c)
		if len(rows) == mostRows && !flush() {
			return false
		}
	}
	if !flush() {
		return false
	}
	w.written, w.told, w.since = true, parts, m.now()
	return true
}

// emit makes rows durable. Behind an error it is not to be called for a while.
func (m *Merger) emit(ctx context.Context, rows []pingline.Entry) bool {
	err := m.cfg.Emit(ctx, rows)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil {
		m.failures = 0
		return true
	}
	if m.failures == 0 {
		m.cfg.Logger.Warn("sums of parts cannot be written, and are tried again", "error", err)
	}
	const first, most = 250, 10_000 // ms
	m.retry = m.now() + min(int64(most), first<<min(m.failures, 10))
	m.failures++
	m.stats.Failures++
	return false
}
