package merge

import (
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"pingline"
)

// Stats counts the work of a Merger since New.
type Stats struct {
	Points     uint64 // rows written
	Rewrites   uint64 // of them, rows that had been written before
	Withheld   uint64 // not written, or not for the last time, because of overload
	Late       uint64 // totals of a part for a window that was closed
	Early      uint64 // windows closed before all parts had closed them
	LeftOut    uint64 // totals without room
	Lost       uint64 // rows not written: their window was closed while none could be written
	Gone       uint64 // messages that the feed had let go before they were read
	Unreadable uint64 // messages that are none of ours
	Failures   uint64 // of Emit

	Open  int           // windows that are not closed
	Bytes int64         // of their totals, about
	Lag   time.Duration // age of the newest message that was read

	at int64 // when that message came, ms; 0: none was read
}

// Stats returns the counts so far.
func (m *Merger) Stats() Stats {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.stats
	s.Open, s.Bytes = len(m.windows), m.bytes
	if s.at > 0 {
		s.Lag = time.Duration(max(0, m.now()-s.at)) * time.Millisecond
	}
	return s
}

// say logs trouble with the feed when it begins and ends.
func (m *Merger) say(err error) {
	m.mu.Lock()
	was := m.trouble
	m.trouble = err
	m.mu.Unlock()
	switch {
	case err != nil && was == nil:
		m.cfg.Logger.Warn("totals of parts cannot be read for now", "error", err)
	case err == nil && was != nil:
		m.cfg.Logger.Info("totals of parts are read again")
	}
}

// Notes returns a sentence for each trouble that an operator must know of.
func (m *Merger) Notes() (notes []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case errors.Is(m.trouble, pingline.ErrNewer):
		notes = append(notes, fmt.Sprintf("roll-up: sums of parts wait for a newer version: %v", m.trouble))
	case m.trouble != nil:
		notes = append(notes, fmt.Sprintf("roll-up: totals of other parts cannot be read: %v", m.trouble))
	}
	if m.failures > 3 {
		notes = append(notes, "roll-up: sums of parts cannot be written")
	}
	if list := m.silent(); len(list) > 0 && !errors.Is(m.trouble, pingline.ErrNewer) {
		notes = append(notes, fmt.Sprintf("roll-up: rows of the last minute lack riders: no totals have come of part %s", strings.Join(list, ", ")))
	}
	if list := m.unlike(); len(list) > 0 {
		notes = append(notes, fmt.Sprintf("roll-up: other windows than of part 0 are counted in part %s: start all nodes with the same --rollup-windows", strings.Join(list, ", ")))
	}
	return notes
}

// silent returns the parts that publish nothing, or are far behind. The caller holds mu.
func (m *Merger) silent() (list []string) {
	const usual = 60_000 // ms: a part says each second how far it is
	now := m.now()
	if m.first == 0 || now < m.first+usual {
		return nil
	}
	for i := range m.parts {
		if m.parts[i].Settled < now-usual {
			list = append(list, strconv.Itoa(i))
		}
	}
	return list
}

// unlike returns the parts whose windows have other lengths than those of part 0. The caller holds mu.
func (m *Merger) unlike() (list []string) {
	for i := range m.parts {
		if a, b := m.parts[0].Closed, m.parts[i].Closed; a != nil && b != nil && !maps.EqualFunc(a, b, func(_, _ int64) bool { return true }) {
			list = append(list, strconv.Itoa(i))
		}
	}
	return list
}
