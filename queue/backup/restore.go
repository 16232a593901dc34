package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"pingline/queue"
	"pingline/queue/disk"
	"pingline/queue/record"
)

// aside is the directory in which a restoration is made, until it is complete.
const aside = "restoring"

// ErrNotEmpty is wrapped by Restore for a directory that has something in it.
var ErrNotEmpty = errors.New("is not empty: a backup is restored into an empty directory")

// Restore makes the data directory dir, which is empty or not there, from a backup. It leaves
// dir without any of it unless the backup is whole and all of it is on disk.
func Restore(ctx context.Context, r io.Reader, dir string) (s Manifest, err error) {
	if err := disk.MakeDir(dir); err != nil {
		return s, fmt.Errorf("restore: %w", err)
	}
	at := filepath.Join(dir, aside)
	list, err := os.ReadDir(dir)
	list = slices.DeleteFunc(list, func(f fs.DirEntry) bool { return f.Name() == recovered || f.Name() == aside })
	if err == nil && len(list) > 0 {
		err = fmt.Errorf("%s %w", dir, ErrNotEmpty)
		_, part := os.Stat(at)
		if _, log := os.Stat(filepath.Join(dir, LogDir)); part == nil && errors.Is(log, fs.ErrNotExist) {
			err = fmt.Errorf("%w; a restoration was broken off in it: remove all that is in it", err)
		}
	}
	if err == nil {
		err = os.RemoveAll(at) // of a restoration that was broken off
	}
	if err == nil {
		err = os.Mkdir(at, 0o700)
	}
	if err != nil {
		return s, fmt.Errorf("restore: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(at))
		}
	}()
	m := &maker{ctx: ctx, dir: at}
	s, err = read(r, m)
	if err = errors.Join(err, m.close()); err != nil {
		return s, err
	}
	if err := m.check(&s); err != nil {
		return s, err
	}
	return s, settle(at, dir)
}

// settle syncs all under from, and moves it to dir, the log last: without it no server would
// take the rest for its own.
func settle(from, dir string) error {
	err := filepath.WalkDir(from, func(path string, _ fs.DirEntry, err error) error {
		if err == nil {
			err = disk.SyncDir(path) // or a file
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	list, err := os.ReadDir(from)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	for _, last := range []bool{false, true} {
		for _, f := range list {
			if (f.Name() == LogDir) != last {
				continue
			}
			if err := os.Rename(filepath.Join(from, f.Name()), filepath.Join(dir, f.Name())); err != nil {
				return fmt.Errorf("restore: %w", err)
			}
		}
		if err := disk.SyncDir(dir); err != nil {
			return fmt.Errorf("restore: %w", err)
		}
	}
	return errors.Join(os.Remove(from), disk.SyncDir(dir))
}

// maker makes a data directory.
type maker struct {
	ctx  context.Context
	dir  string
	log  *queue.Log // nil before begin
	from *contents
}

func (m *maker) file(name string, r io.Reader) error {
	path := filepath.Join(m.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}

func (m *maker) logDir() string { return filepath.Join(m.dir, LogDir) }

func (m *maker) begin(c *contents) error {
	m.from = c
	return m.open(queue.Cursor{Next: c.First, Totals: c.Before})
}

// open opens the log so that its next record is number at.Next.
func (m *maker) open(at queue.Cursor) (err error) {
	if err := queue.Begin(m.logDir(), at); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	m.log, err = queue.Open(m.ctx, m.config())
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if head := m.log.Head(); head != at {
		return fmt.Errorf("restore: the log is at %v, not at %v", head, at)
	}
	return nil
}

func (m *maker) config() queue.Config {
	return queue.Config{
		Dir: m.logDir(), URL: queue.Embedded, Unsynced: true,
		MaxBytes: 1 << 50, Reserve: -1, CacheBytes: 1,
		Logger: slog.New(slog.DiscardHandler),
	}
}

func (m *maker) record(rec *record.Record) error {
	_, err := m.log.Append(m.ctx, rec.Payload, rec.Totals, true)
	if errors.Is(err, queue.ErrFull) {
		err = fmt.Errorf("%w: the disk under %s needs twice the room of the backup", err, m.dir)
	}
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	return nil
}

// lost leaves out numbers: a log that is behind its high-water mark has lost the records
// between.
func (m *maker) lost(run *lostRun) error {
	err := m.log.Close()
	if m.log = nil; err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	return m.open(queue.Cursor{Next: run.To + 1, Totals: run.After})
}

// close sets the cursors, and closes the log.
func (m *maker) close() error {
	if m.log == nil {
		return nil
	}
	m.log.Change(queue.Change{Set: m.from.Cursors, Notes: m.from.Notes})
	if err := m.log.Close(); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	return nil
}

// check opens the log as a server does, and compares it with the backup.
func (m *maker) check(s *Manifest) error {
	log, err := queue.Open(m.ctx, m.config())
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	gone := uint64(0)
	for _, d := range log.Damage() {
		gone += d.To + 1 - d.From
	}
	last := log.Last()
	if err := log.Close(); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if last != s.Last || gone != s.Lost {
		return fmt.Errorf("restore: the restored log ends at record %d and lacks %d, the backup at %d and lacks %d", last, gone, s.Last, s.Lost)
	}
	return nil
}
