package moving

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"pingline/queue/disk"
	"pingline/sink/reshard"
)

// MoveStage is how far the history of a change has come.
type MoveStage string

// The stages.
const (
	Copying   MoveStage = "copying"
	Comparing MoveStage = "comparing"
	Moved     MoveStage = "moved" // copied and compared; the old shards still have it
	Deleting  MoveStage = "deleting"
	Deleted   MoveStage = "deleted" // from the old shards

	// After an abort.
	Cleaning MoveStage = "cleaning" // rows that were copied are deleted from the new shards
	Cleaned  MoveStage = "cleaned"
)

var moveStages = []MoveStage{Copying, Comparing, Moved, Deleting, Deleted, Cleaning, Cleaned}

// works reports whether there is something to do.
func (s MoveStage) works() bool {
	return s == Copying || s == Comparing || s == Deleting || s == Cleaning
}

// Undone reports whether it is what follows an abort.
func (s MoveStage) Undone() bool { return s == Cleaning || s == Cleaned }

// moveJob is the state of a change's history, as its file has it.
type moveJob struct {
	Form        int            `json:"form"`
	ID          string         `json:"id"` // of the change
	Old         reshard.Spread `json:"old"`
	New         reshard.Spread `json:"new"`
	Rate        float64        `json:"rate"` // most rows a second; 0: no bound
	Stage       MoveStage      `json:"stage"`
	Paused      bool           `json:"paused,omitempty"`
	Share       float64        `json:"share,omitempty"`    // of units whose checksums are compared
	Compared    bool           `json:"compared,omitempty"` // at least once
	Differ      int            `json:"differ,omitempty"`   // differences that stayed
	Differences []string       `json:"differences,omitempty"`
	Nodes       []string       `json:"nodes,omitempty"` // that have worked on it, where several nodes share the riders
}

const jobForm = 1

func (j *moveJob) clone() *moveJob {
	c := *j
	c.Differ, c.Differences = 0, nil // of the comparison that begins
	return &c
}

func (m *Mover) path() string { return filepath.Join(m.cfg.Dir, "reshard-"+m.cfg.Set+".json") }

// load reads the job; nil if there is none.
func (m *Mover) load() (*moveJob, error) {
	path := m.path()
	var text []byte
	var err error
	if m.cfg.Others != nil {
		path = "the state of moved history, in the log"
		if text = []byte(m.cfg.Others.Load()); len(text) == 0 {
			return nil, nil //nolint:nilnil // nothing is moved, and that is no error
		}
	} else if text, err = os.ReadFile(path); errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // nothing is moved, and that is no error
	}
	j := new(moveJob)
	if err == nil {
		err = json.Unmarshal(text, j)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", path, err)
	case j.Form > jobForm:
		return nil, fmt.Errorf("%s is of form %d, this program knows %d: run the newer version", path, j.Form, jobForm)
	case j.ID == "" || len(j.Old) == 0 || len(j.New) == 0 || !slices.Contains(moveStages, j.Stage):
		return nil, fmt.Errorf("%s is not whole: remove it, and copy history with pingline copy", path)
	}
	return j, nil
}

func (m *Mover) save(j *moveJob) error {
	text, err := json.Marshal(j)
	switch {
	case err != nil:
	case m.cfg.Others != nil:
		err = m.cfg.Others.Keep(string(text))
	default:
		err = disk.WriteAside(m.path(), append(text, '\n'))
	}
	if err != nil {
		return fmt.Errorf("state of the history that is moved: %w", err)
	}
	return nil
}

// change changes the job, and makes that durable.
func (m *Mover) change(to func(j *moveJob) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.job == nil {
		return refuse("no history is being moved: pingline reshard start --history=move does that")
	}
	j := *m.job
	err := to(&j)
	if err == nil {
		err = m.save(&j)
	}
	if err == nil {
		m.job = &j
		m.wake()
	}
	return err
}

// sign notes that this node works on the job, before it copies a row. The caller holds mu.
func (m *Mover) sign() error {
	if m.cfg.Others == nil || slices.Contains(m.job.Nodes, m.cfg.Others.Node()) {
		return nil
	}
	j := *m.job
	j.Nodes = append(slices.Clone(j.Nodes), m.cfg.Others.Node())
	if err := m.save(&j); err != nil {
		return err
	}
	m.job = &j
	return nil
}

// unread notes, in all logs, that shards have nothing any more.
func (m *Mover) unread(id string, names []string) error {
	if m.cfg.Others != nil {
		if err := m.cfg.Others.Unread(context.Background(), id, names); err != nil {
			return err
		}
	}
	return m.cfg.Eras.Unread(id, names...)
}

// cleanedAll ends a change that was undone as if it had never been.
func (m *Mover) cleanedAll(id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.job == nil || m.job.ID != id || m.job.Stage != Cleaning {
		return nil // another change was quicker
	}
	m.cfg.Logger.Info("all that was copied is deleted from the new shards", "set", m.cfg.Set, "change", id)
	return m.forget()
}

// forget forgets the job and its files. The caller holds mu.
func (m *Mover) forget() error {
	for _, from := range m.job.Old.Names() {
		if err := os.Remove(m.unitsPath(m.job.ID, from)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if m.cfg.Others != nil {
		if err := m.cfg.Others.Keep(""); err != nil {
			return err
		}
	} else if err := os.Remove(m.path()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	m.job, m.failed = nil, false
	return nil
}
