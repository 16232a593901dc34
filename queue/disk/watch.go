package disk

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// ErrGone is wrapped where a file is no longer the file that was opened.
var ErrGone = errors.New("was deleted or replaced while in use: new appends would be lost; restart")

// Watched are files and directories that must not be replaced after they were
// first seen. The zero value watches nothing. It is safe for concurrent use.
type Watched struct {
	mu   sync.Mutex             // guards seen and must; nothing else is locked under it
	seen map[string]os.FileInfo // nil until it is there
	must []string               // files that this process replaces: they must only be there

	looked atomic.Int64 // when Due last said so, ms
}

// Add watches path from now on: it must stay the file or directory that is there
// now, or the first that appears there.
func (w *Watched) Add(path string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.seen == nil {
		w.seen = make(map[string]os.FileInfo)
	}
	info, _ := os.Stat(path)
	w.seen[path] = info
}

// AddName watches that there is a file at path, which may be replaced.
func (w *Watched) AddName(path string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.must = append(w.must, path)
}

// watchPause is the least time between two looks, ms.
const watchPause = 20

// Due reports whether it is time to Check again, to many callers about once in
// watchPause.
func (w *Watched) Due() bool {
	now := time.Now().UnixMilli()
	if now-w.looked.Load() < watchPause {
		return false
	}
	w.looked.Store(now)
	return true
}

// Check returns an error wrapping ErrGone if something watched has changed.
func (w *Watched) Check() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for path, was := range w.seen {
		info, err := os.Stat(path)
		switch {
		case was == nil:
			w.seen[path] = info
		case errors.Is(err, os.ErrNotExist), err == nil && !os.SameFile(was, info):
			return fmt.Errorf("%s %w", path, ErrGone)
		}
	}
	for _, path := range w.must {
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%s %w", path, ErrGone)
		}
	}
	return nil
}
