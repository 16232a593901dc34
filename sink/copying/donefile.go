package copying

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"pingline/queue/disk"
	"pingline/sink/store"
)

// UnitState is how far a unit has come.
type UnitState string

// The states of a unit.
const (
	UnitBegun   UnitState = "begun" // may be copied in part
	UnitCopied  UnitState = "copied"
	UnitSame    UnitState = "same"    // copied, and compared since
	UnitDiffers UnitState = "differs" // though it was copied again
	UnitDeleted UnitState = "deleted" // from the source
)

// Copied counts rows of a unit.
type Copied struct {
	Rows    uint64 `json:"rows"` // that the source has for the targets
	Refused uint64 `json:"refused,omitempty"`
	Old     uint64 `json:"old,omitempty"` // older than a target keeps rows: left out, and not compared
}

// Done is a line of a DoneFile.
type Done struct {
	store.Unit
	State UnitState
	Copied
	Hash uint64 // sum over the rows
	Took int64  // ms

}

// DoneFile is a file that says how far each unit of a copy is, so that the copy goes on there
// after a crash. Its first line names the job; each further line is a unit, appended and synced,
// and the last line of a unit counts. A line that broke off is cut off.
type DoneFile struct {
	path    string
	job     CopyJob
	size    int      // of whole lines, when it was read; 0: it is to be written anew
	file    *os.File // nil before Begin
	fresh   bool
	done    map[store.Unit]Done
	refused int64
}

// CopyJob is the request that a DoneFile belongs to, as it was given. It has no secrets.
type CopyJob struct {
	From  string `json:"from"`
	To    string `json:"to"`
	Rider string `json:"rider,omitempty"`
	Since string `json:"since,omitempty"`
	Until string `json:"until,omitempty"`
}

// doneHead is the first line. Form 1 was a single object with all days, under Done.
type doneHead struct {
	Form int     `json:"form"`
	Job  CopyJob `json:"job"`

	Refused int64             `json:"refused_bytes,omitempty"`
	Done    map[string]Copied `json:"done,omitempty"`
}

const doneForm = 2

// doneLine is a unit's line.
type doneLine struct {
	Name  string    `json:"name,omitempty"`
	From  int64     `json:"from"`
	To    int64     `json:"to"`
	Cell  *string   `json:"cell,omitempty"` // nil: all cells
	State UnitState `json:"state"`
	Copied
	Sum     string `json:"sum,omitempty"` // hexadecimal
	Took    int64  `json:"took_ms,omitempty"`
	Refused int64  `json:"refused_bytes,omitempty"` // of the file of refused rows, that belong to units done
}

// ErrOtherJob is wrapped by OpenDone for the file of another request.
var ErrOtherJob = errors.New("belongs to another copy")

// OpenDone reads the file of a job, which is new if there is none. Nothing is written before
// Begin.
func OpenDone(path string, job CopyJob) (*DoneFile, error) {
	d := &DoneFile{path: path, job: job, done: make(map[store.Unit]Done)}
	text, err := os.ReadFile(path)
	if d.fresh = errors.Is(err, fs.ErrNotExist); err != nil && !d.fresh {
		return nil, err
	}
	if d.size, err = d.parse(text); err != nil {
		return nil, err
	}
	return d, nil
}

// Begin opens the file for units to be appended. It makes it if it is new, and writes it anew if it
// is of form 1.
func (d *DoneFile) Begin() (err error) {
	if d.size == 0 {
		text, err := d.text()
		if err == nil {
			err = disk.WriteAside(d.path, text)
		}
		if err != nil {
			return fmt.Errorf("state of the copy: %w", err)
		}
		d.size = len(text)
	}
	if d.file, err = os.OpenFile(d.path, os.O_WRONLY, 0o600); err == nil {
		err = d.file.Truncate(int64(d.size))
	}
	if err == nil {
		_, err = d.file.Seek(0, io.SeekEnd)
	}
	if err != nil {
		return fmt.Errorf("state of the copy: %w", err)
	}
	return nil
}

// parse reads the file. It returns how long its whole lines are, 0 if it must be written anew.
func (d *DoneFile) parse(text []byte) (size int, err error) {
	path := d.path
	if d.fresh || len(text) == 0 {
		return 0, nil
	}
	var head doneHead
	dec := json.NewDecoder(bytes.NewReader(text))
	if err := dec.Decode(&head); err != nil || head.Form < 1 || head.Form == 1 && head.Done == nil {
		return 0, fmt.Errorf("%s is no state of a copy", path)
	}
	switch {
	case head.Form > doneForm:
		return 0, fmt.Errorf("%s is of form %d, this program knows %d: use the version that made it", path, head.Form, doneForm)
	case head.Job != d.job:
		return 0, fmt.Errorf("%s %w, from %s to %s: name another file, or remove it", path, ErrOtherJob, head.Job.From, head.Job.To)
	case head.Form == 1:
		d.refused = head.Refused
		for key, n := range head.Done {
			u, err := unitOfKey(key)
			if err != nil {
				return 0, fmt.Errorf("%s: %w", path, err)
			}
			d.done[u] = Done{Unit: u, State: UnitCopied, Copied: n}
		}
		return 0, nil
	}
	size = int(dec.InputOffset())
	if size == len(text) {
		return 0, nil
	}
	if text[size] != '\n' {
		return 0, fmt.Errorf("%s, line 1 is damaged", path)
	}
	size++
	n := bytes.Count(text[:size], []byte("\n"))
	for line := range bytes.Lines(text[size:]) {
		n++
		var l doneLine
		err := json.Unmarshal(line, &l)
		if line[len(line)-1] != '\n' {
			break // it was not synced, so nobody was told
		}
		if err == nil {
			err = d.put(&l)
		}
		if err != nil {
			return 0, fmt.Errorf("%s, line %d is damaged: %w", path, n, err)
		}
		size += len(line)
	}
	return size, nil
}

// unitOfKey reads the key of a unit in form 1: its name, and from-to.
func unitOfKey(key string) (u store.Unit, err error) {
	name, span, ok := strings.Cut(key, " ")
	i := strings.LastIndexByte(span, '-')
	if i > 0 && span[i-1] == '-' { // of a negative number
		i--
	}
	if !ok || i < 1 {
		return u, fmt.Errorf("%q is no unit", key)
	}
	u.Name = name
	if u.From, err = strconv.ParseInt(span[:i], 10, 64); err == nil {
		u.To, err = strconv.ParseInt(span[i+1:], 10, 64)
	}
	return u, err
}

// put takes over a line.
func (d *DoneFile) put(l *doneLine) error {
	x := Done{Unit: store.Unit{Name: l.Name, From: l.From, To: l.To}, State: l.State, Copied: l.Copied, Took: l.Took}
	var err error
	if l.Cell != nil {
		x.InCell = true
		if x.Cell, err = strconv.ParseUint(*l.Cell, 16, 64); err != nil {
			return err
		}
	}
	if l.Sum != "" {
		if x.Hash, err = strconv.ParseUint(l.Sum, 16, 64); err != nil {
			return err
		}
	}
	d.done[x.Unit] = x
	d.refused = max(d.refused, l.Refused)
	return nil
}

// appendLine appends the line of a unit.
func appendLine(dst []byte, x *Done, refused int64) ([]byte, error) {
	l := doneLine{Name: x.Name, From: x.From, To: x.To, State: x.State, Copied: x.Copied, Took: x.Took, Refused: refused}
	if x.InCell {
		cell := strconv.FormatUint(x.Cell, 16)
		l.Cell = &cell
	}
	if x.Hash != 0 {
		l.Sum = strconv.FormatUint(x.Hash, 16)
	}
	text, err := json.Marshal(&l)
	return append(append(dst, text...), '\n'), err
}

// text returns the file as it is written anew.
func (d *DoneFile) text() ([]byte, error) {
	text, err := json.Marshal(doneHead{Form: doneForm, Job: d.job})
	text = append(text, '\n')
	for _, x := range d.done {
		if err == nil {
			text, err = appendLine(text, &x, d.refused)
		}
	}
	return text, err
}

// Fresh reports whether there was no file.
func (d *DoneFile) Fresh() bool { return d.fresh }

// Touched returns the units that were copied, if only in part.
func (d *DoneFile) Touched() []store.Unit { return slices.Collect(maps.Keys(d.done)) }

// Touch makes durable that units may be copied in part from now on.
func (d *DoneFile) Touch(units ...store.Unit) error {
	if d == nil {
		return nil
	}
	var fresh []Done
	for _, u := range units {
		if _, known := d.done[u]; !known {
			fresh = append(fresh, Done{Unit: u, State: UnitBegun})
		}
	}
	return d.Append(d.refused, fresh...)
}

// Get returns how far a unit is, and false if it was not copied as a whole. A day that was copied
// before cells were units holds for all its cells.
func (d *DoneFile) Get(u store.Unit) (Done, bool) {
	if d == nil {
		return Done{}, false
	}
	x, ok := d.done[u]
	if x.State == UnitBegun {
		return Done{}, false
	}
	if !ok && u.InCell {
		day := u
		day.InCell, day.Cell = false, 0
		if x, ok = d.done[day]; ok {
			x.Unit, x.Copied = u, Copied{}
		}
	}
	return x, ok
}

// RefusedBytes returns how long the file of refused rows was when the last unit was done.
func (d *DoneFile) RefusedBytes() int64 { return d.refused }

// Append makes durable how far units are, and how long the file of refused rows is.
func (d *DoneFile) Append(refused int64, list ...Done) (err error) {
	if d == nil || d.file == nil || len(list) == 0 {
		return nil
	}
	var text []byte
	for i := range list {
		if text, err = appendLine(text, &list[i], refused); err != nil {
			return err
		}
	}
	if _, err = d.file.Write(text); err == nil {
		err = d.file.Sync()
	}
	if err != nil {
		return fmt.Errorf("state of the copy: %w", err)
	}
	for i := range list {
		d.done[list[i].Unit] = list[i]
	}
	d.refused = refused
	return nil
}

// Close lets go of the file.
func (d *DoneFile) Close() error {
	if d == nil || d.file == nil {
		return nil
	}
	return d.file.Close()
}
