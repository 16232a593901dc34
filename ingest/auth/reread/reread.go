// Package reread tells when the text of a file has changed, by looking at the file now and
// then.
//
// It finds a file that was written in place, replaced, or reached by a link that now leads
// elsewhere. It does not know whether a writer has finished: a caller whose file may be
// written in parts looks twice.
package reread

import (
	"context"
	"crypto/sha256"
	"io/fs"
	"os"
	"time"
)

// Every is how often a file should be looked at.
const Every = 500 * time.Millisecond

// settled is the age from which on a file that has not changed is not read: a file may
// change twice within a tick of its clock.
const settled = 2 * time.Second

// Copy is a file as it was read last. It is for a single goroutine.
type Copy struct {
	path string
	seen fs.FileInfo // nil: it was not there, or could not be read
	sum  [sha256.Size]byte
	read bool // sum is of a text
	err  string
}

// New returns a Copy of a file that nobody has looked at.
func New(path string) *Copy { return &Copy{path: path} }

// Mode returns the permissions of the file as it was read last.
func (f *Copy) Mode() fs.FileMode {
	if f.seen == nil {
		return 0
	}
	return f.seen.Mode().Perm()
}

// Look returns the text of the file, or why it cannot be read, if that has changed since
// the Look before.
func (f *Copy) Look() (text []byte, changed bool, err error) {
	info, err := os.Stat(f.path)
	if err == nil {
		if f.seen != nil && os.SameFile(info, f.seen) && info.ModTime().Equal(f.seen.ModTime()) && info.Size() == f.seen.Size() &&
			time.Since(info.ModTime()) > settled {
			return nil, false, nil
		}
		text, err = os.ReadFile(f.path)
	}
	if err != nil {
		changed = err.Error() != f.err
		f.seen, f.read, f.err = nil, false, err.Error()
		return nil, changed, err
	}
	sum := sha256.Sum256(text)
	changed = !f.read || sum != f.sum
	f.seen, f.sum, f.read, f.err = info, sum, true, ""
	if !changed {
		return nil, false, nil
	}
	return text, true, nil
}

// Follow looks at the file until ctx is cancelled, and gives changed what Look returns each
// time that it has changed.
func (f *Copy) Follow(ctx context.Context, changed func(text []byte, err error)) {
	tick := time.NewTicker(Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if text, is, err := f.Look(); is {
				changed(text, err)
			}
		}
	}
}
