package moving

import (
	"time"

	"pingline/sink/copying"
)

// MoveStatus is how far the history of a change is.
type MoveStatus struct {
	Set         string    `json:"set"`
	ID          string    `json:"id"` // of the change
	Stage       MoveStage `json:"stage"`
	Units       int       `json:"units"` // of the stage: pieces, as of a cell and a day
	UnitsDone   int       `json:"units_done"`
	Rows        uint64    `json:"rows"` // of the units, as the old shards count them
	RowsDone    uint64    `json:"rows_done"`
	Rate        float64   `json:"rate"`           // rows/s that are written now
	Left        float64   `json:"left,omitempty"` // s, at this rate; 0 if that cannot be told
	Refused     uint64    `json:"refused"`        // rows beyond the retention of where they belong
	Compared    bool      `json:"compared"`       // once it was copied
	Full        bool      `json:"full,omitempty"` // checksums of all are being compared
	Differ      int       `json:"differ"`         // differences that the last comparison found, and that copying did not end
	Differences []string  `json:"differences,omitempty"`
	Kept        int       `json:"kept,omitempty"` // pieces that could not be deleted
	KeptWhy     []string  `json:"kept_why,omitempty"`
	Paused      bool      `json:"paused"`
	Stands      string    `json:"stands,omitempty"`         // why it stands
	StandsFor   float64   `json:"stands_seconds,omitempty"` // s
	Slowed      string    `json:"slowed,omitempty"`         // why it is slower than it may be

	// Briefly is Stands without words of a store's own, which may name its address: for readers.
	Briefly string `json:"-"`
}

// Works reports whether history is being copied, compared or deleted.
func (s *MoveStatus) Works() bool { return s.Stage.works() }

// share is the part of the stage that is done, [0, 1].
func (s *MoveStatus) share() float64 {
	switch {
	case !s.Stage.works():
		return 1
	case s.Rows > 0:
		return float64(s.RowsDone) / float64(s.Rows)
	case s.Units > 0:
		return float64(s.UnitsDone) / float64(s.Units)
	}
	return 0
}

// Share is the part of the stage that is done, [0, 1].
func (s *MoveStatus) Share() float64 { return s.share() }

func addStatus(a, b copying.Status) copying.Status {
	a.Done, a.RowsDone, a.Refused = a.Done+b.Done, a.RowsDone+b.RowsDone, a.Refused+b.Refused
	return a
}

// Status returns how far it is, nil if no history is moved.
func (m *Mover) Status() *MoveStatus {
	m.mu.Lock()
	defer m.mu.Unlock()
	j := m.job
	if j == nil {
		return nil
	}
	s := &MoveStatus{Set: m.cfg.Set, ID: j.ID, Stage: j.Stage, Compared: j.Compared, Full: j.Stage == Comparing && j.Share == 1, Differ: j.Differ, Differences: j.Differences,
		Paused: j.Paused, Kept: m.keptAll, KeptWhy: m.kept}
	s.Stands, s.Briefly = m.standing()
	if !m.since.IsZero() {
		s.StandsFor = time.Since(m.since).Seconds()
	}
	w := m.now
	if m.failed && m.was.stage == j.Stage && (w == nil || w.units == 0) {
		w = m.was // it is planned again
	}
	if w == nil {
		return s
	}
	of := w.before
	if w.copier != nil {
		st := w.copier.Status()
		of = addStatus(of, st)
		s.Rate, s.Slowed = st.Rate, st.Slowed
	}
	s.Units, s.Rows, s.UnitsDone, s.RowsDone, s.Refused = w.units, w.rows, of.Done, of.RowsDone, of.Refused
	if s.Rate > 0 && s.Stage == Copying {
		s.Left = float64(s.Rows-min(s.RowsDone, s.Rows)) / s.Rate
	}
	return s
}

// standing returns why it stands, or "", also without words of a store's own. The caller holds
// mu; a copier's own is locked under it.
func (m *Mover) standing() (why, briefly string) {
	var st copying.Status
	if m.now != nil && m.now.copier != nil {
		st = m.now.copier.Status()
	}
	switch {
	case m.stands != "" && m.failing && st.Stands == "": // else the error is of before
		return m.stands, "it is tried again after an error"
	case m.stands != "" && !m.failing:
		return m.stands, m.stands
	}
	return st.Stands, st.Briefly
}

// fail notes that it stands for an error.
func (m *Mover) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.standLocked(err.Error())
	m.failing = true
}

func (m *Mover) stand(why string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.standLocked(why)
}

func (m *Mover) standLocked(why string) {
	if why != "" && why != m.stands {
		m.cfg.Logger.Info("the history of a change stands", "set", m.cfg.Set, "why", why)
	}
	m.stands, m.failing = why, false
	m.clockLocked()
}

// clock notes since when it stands.
func (m *Mover) clock() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.clockLocked()
}

func (m *Mover) clockLocked() {
	switch why, _ := m.standing(); {
	case why == "":
		m.since = time.Time{}
	case m.since.IsZero():
		m.since = time.Now()
	}
}
