package messages

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

// Reject is a message that was refused, a line of a file.
type Reject struct {
	At        int64  `json:"at"` // ms since 1970
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	Reason    string `json:"reason"`
	Key       []byte `json:"key,omitempty"` // base64, as the next
	Body      []byte `json:"body"`
}

// ErrFull says that the rejects have reached their limit.
var ErrFull = errors.New("the file of refused messages is full: move it away")

// Rejects keeps messages that were refused in a file, FileName, which may be moved away at any
// time. It is safe for concurrent use.
type Rejects struct {
	dir  string
	most int64      // bytes of the file
	mu   sync.Mutex // guards the file; no other mutex is taken under it
}

// FileName is the file of rejects in its directory.
const FileName = "refused.jsonl"

// KeepRejects returns the rejects in a directory, which it makes with the first of them.
func KeepRejects(dir string, most int64) *Rejects { return &Rejects{dir: dir, most: most} }

// Append makes messages durable, and returns how many of the first of them are: all of them, or
// as many as there is room for and ErrFull, or none and another error. A crash can leave one torn,
// and then all of them come again.
func (r *Rejects) Append(list []Reject) (kept int, err error) {
	if len(list) == 0 {
		return 0, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	defer func() {
		if err != nil {
			err = fmt.Errorf("refused messages: %w", err)
		}
	}()
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		return 0, err
	}
	file, err := os.OpenFile(filepath.Join(r.dir, FileName), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	size := info.Size()
	line, kept, full := r.lines(list, size)
	if kept == 0 {
		return 0, full
	}
	if torn, err := endsTorn(file, size); err != nil {
		return 0, err
	} else if torn {
		line = append([]byte("\n"), line...)
	}
	if _, err = file.Write(line); err == nil {
		err = file.Sync()
	}
	if err != nil {
		return 0, errors.Join(err, file.Truncate(size))
	}
	if size == 0 {
		err = syncDir(r.dir)
	}
	if err != nil {
		return 0, err
	}
	return kept, full
}

// lines encodes as many of the first messages as a file of that size has room for, and returns an
// error if these are not all.
func (r *Rejects) lines(list []Reject, size int64) (text []byte, n int, err error) {
	out := new(bytes.Buffer)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	for i := range list {
		before := out.Len()
		if err := enc.Encode(&list[i]); err != nil {
			return out.Bytes()[:before], i, err
		}
		if size+int64(out.Len()) > r.most {
			if size == 0 && i == 0 {
				return nil, 0, fmt.Errorf("a message of %d bytes does not fit into an empty file, which may have %d: raise --deadletter-max-bytes", out.Len(), r.most)
			}
			return out.Bytes()[:before], i, ErrFull
		}
	}
	return out.Bytes(), len(list), nil
}

// endsTorn reports whether the last line has no end.
func endsTorn(file *os.File, size int64) (bool, error) {
	if size == 0 {
		return false, nil
	}
	last := make([]byte, 1)
	_, err := file.ReadAt(last, size-1)
	return last[0] != '\n', err
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
