package copying

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"pingline/queue/disk"
)

// DoneFile is a file that says which units of a copy are done, so that the copy goes on there
// after a crash.
type DoneFile struct {
	path  string
	fresh bool
	saved
}

// saved is the content of the file.
type saved struct {
	Form    int               `json:"form"`
	Job     CopyJob           `json:"job"`
	Refused int64             `json:"refused_bytes"` // of the file of refused rows, that belong to units done
	Done    map[string]Copied `json:"done"`          // by unit
}

// CopyJob is the request that a DoneFile belongs to, as it was given. It has no secrets.
type CopyJob struct {
	From  string `json:"from"`
	To    string `json:"to"`
	Rider string `json:"rider,omitempty"`
	Since string `json:"since,omitempty"`
	Until string `json:"until,omitempty"`
}

const stateForm = 1

// ErrOtherJob is wrapped by OpenDone for the file of another request.
var ErrOtherJob = errors.New("belongs to another copy")

// OpenDone reads the state of a job, which is new if there is no file.
func OpenDone(path string, job CopyJob) (*DoneFile, error) {
	s := &DoneFile{path: path, saved: saved{Form: stateForm, Job: job, Done: map[string]Copied{}}}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		s.fresh = true
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &s.saved); err != nil || s.Form < 1 || s.Done == nil {
		return nil, fmt.Errorf("%s is no state of a copy", path)
	}
	if s.Form > stateForm {
		return nil, fmt.Errorf("%s is of form %d, this program knows %d: use the version that made it", path, s.Form, stateForm)
	}
	if s.Job != job {
		return nil, fmt.Errorf("%s %w, from %s to %s: name another file, or remove it", path, ErrOtherJob, s.Job.From, s.Job.To)
	}
	return s, nil
}

// Fresh reports whether there was no file.
func (s *DoneFile) Fresh() bool { return s.fresh }

// IsDone returns what was copied of a unit, and whether all of it was.
func (s *DoneFile) IsDone(u Unit) (Copied, bool) {
	n, ok := s.Done[key(u)]
	return n, ok
}

// RefusedBytes returns how long the file of refused rows was when the last unit was done.
func (s *DoneFile) RefusedBytes() int64 { return s.Refused }

// SetDone makes durable that a unit is done, and how long the file of refused rows is.
func (s *DoneFile) SetDone(u Unit, n Copied, refused int64) error {
	s.Done[key(u)], s.Refused = n, refused
	return s.Save()
}

// Save makes the state durable.
func (s *DoneFile) Save() error {
	text, err := json.MarshalIndent(&s.saved, "", "\t")
	if err == nil {
		err = disk.WriteAside(s.path, append(text, '\n'))
	}
	if err != nil {
		return fmt.Errorf("state of the copy: %w", err)
	}
	return nil
}

// key names a unit.
func key(u Unit) string { return fmt.Sprintf("%s %d-%d", u.Name, u.From, u.To) }
