package study

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"time"

	"pingline/track"
)

// Recording is a file of pings that can be read more than once.
type Recording struct {
	name string // name in messages
	path string
	info os.FileInfo // of the file that Open was given
	copy bool        // path is a temporary copy

	// Progress, unless nil, is called with the number of bytes of each part of the
	// file that was read, before decompression. A Study reads the file twice.
	Progress func(n int)
}

// Open finds a file of pings in a form that a track.Reader reads, or the standard
// input if its name is "-". A pipe is copied to a temporary file, until ctx is
// cancelled.
func Open(ctx context.Context, name string) (*Recording, error) {
	in := os.Stdin
	if name == "-" {
		name = "stdin"
	} else {
		var err error
		if in, err = os.Open(name); err != nil {
			return nil, err
		}
		defer func() { _ = in.Close() }()
	}
	info, err := in.Stat()
	if err != nil {
		return nil, err
	}
	r := &Recording{name: name, path: name, info: info}
	switch {
	case info.IsDir():
		return nil, fmt.Errorf("%s is a directory", name)
	case !info.Mode().IsRegular() || in == os.Stdin:
		err = r.spool(ctx, in)
	}
	return r, err
}

// spool copies in to a temporary file. If in is a terminal, a read ends when a line
// comes, not when ctx is cancelled: then spool returns without waiting for the read.
func (r *Recording) spool(ctx context.Context, in io.Reader) error {
	f, err := os.CreateTemp("", "pingline-dedupe-")
	if err != nil {
		return err
	}
	r.path, r.copy = f.Name(), true
	copied := make(chan error, 1)
	go func() {
		_, err := io.Copy(f, in)
		copied <- err
	}()
	select {
	case err = <-copied:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("copy %s: %w", r.name, errors.Join(err, r.Close()))
	}
	return nil
}

// Size returns the number of bytes that a Study reads, twice, or 0 if not known.
func (r *Recording) Size() int64 {
	info, err := os.Stat(r.path)
	if err != nil {
		return 0 // reading the file will return the error again
	}
	return info.Size()
}

// SameFile reports whether path is the file that was opened.
func (r *Recording) SameFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && os.SameFile(info, r.info)
}

// Close removes the copy that Open may have made.
func (r *Recording) Close() error {
	if r.copy {
		return os.Remove(r.path)
	}
	return nil
}

// read calls each with a Reader of the recording.
func (r *Recording) read(each func(*track.Reader) error) error {
	f, err := os.Open(r.path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	in, err := track.NewReader(told{f, r.Progress}, r.name)
	if err != nil {
		return err
	}
	return errors.Join(each(in), in.Close())
}

// told is a reader that reports to Progress.
type told struct {
	io.Reader
	of func(n int)
}

func (t told) Read(p []byte) (n int, err error) {
	n, err = t.Reader.Read(p)
	if t.of != nil {
		t.of(n)
	}
	return n, err
}

// recordingClock tells when a recording's pings came in. It knows only the pings' own
// times: between two pings of a track it advances by their difference, never back, and
// a track that begins in the past, as in a file with a track behind another, begins
// now. It shortens waits to twice the idle time, as a longer wait makes no difference.
type recordingClock struct {
	now, idle int64 // ms
}

// trackClock is the progress of a track.
type trackClock struct {
	newest int64 // time of its newest ping, ms
	came   int64 // time at which that ping came in by the clock, or would have, ms
	pings  int
}

// tick moves the clock to the arrival of a track's ping of the time at, in ms.
func (c *recordingClock) tick(t *trackClock, at int64) time.Duration {
	if t.pings == 0 {
		t.newest, t.came = at, c.now
	}
	t.pings++
	if at > t.newest {
		t.came = max(t.came+min(at-t.newest, 2*c.idle), c.now-c.idle)
		t.newest = at
		c.now = max(c.now, t.came)
	}
	return time.Duration(min(c.now, math.MaxInt64/int64(time.Millisecond))) * time.Millisecond
}
