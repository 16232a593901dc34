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
	name string // as messages have it
	path string
	info os.FileInfo // of the file as given
	copy bool        // path is a copy of our own

	// Progress, unless nil, is told of each part of the file that was read: so many
	// bytes, compressed if they are. A Study reads the file twice.
	Progress func(n int)
}

// Open finds a file of NDJSON, CSV or GPX, each also with .gz, or the standard
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

// spool copies in, which may be a terminal: a read of it ends when a line comes, and
// not when ctx is cancelled, so that the read is left alone then.
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

// Size returns how many bytes there are to read, each time.
func (r *Recording) Size() int64 {
	info, err := os.Stat(r.path)
	if err != nil {
		return 0 // it is met again when the file is read
	}
	return info.Size()
}

// SameFile tells whether path is the file that was opened.
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

// read reads the recording once, with each.
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
	return each(in)
}

// told is a reader that tells how much was read.
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

// recordingClock tells when a recording's pings came in. It has only their own times to
// go by: of a track as much time goes by as its pings say, never back, and a
// track that begins in the past of others, as when a file has one after the
// other, begins now. A wait of twice the idle time is as good as a longer one.
type recordingClock struct {
	now, idle int64 // ms
}

// trackClock is how far a track has come.
type trackClock struct {
	newest int64 // ms
	came   int64 // when it came in by the clock, or would have
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
