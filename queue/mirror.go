package queue

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"pingline/queue/disk"
	"pingline/queue/driver"
)

// Mirror makes copies of the files at paths lie beside a log on servers, under the names the
// files have, for the next owner to Fetch: in place of all copies but those whose names come
// after the first of them in order. An earlier owner that does not know yet that the log is ours
// so removes none of our files, whose names come later. The file of paths[0] is new; another that
// is not there is left out. For an embedded log it does nothing.
func (l *Log) Mirror(ctx context.Context, paths []string) error {
	if l.owner == nil {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(l.life, cancel)()
	err := l.objects.Clean(ctx, func() error { return l.holdLog(ctx, true) })
	var there map[string]bool
	if err == nil {
		there, err = l.objects.Names(ctx)
	}
	first := filepath.Base(paths[0])
	for i, path := range paths {
		name := filepath.Base(path)
		first = min(first, name)
		if err != nil || i > 0 && there[name] {
			continue
		}
		if err = l.objects.Put(ctx, name, path); i > 0 && errors.Is(err, os.ErrNotExist) {
			err = nil
		}
	}
	for name := range there {
		if err == nil && name < first {
			err = l.objects.Remove(ctx, name)
		}
	}
	if err != nil {
		return fmt.Errorf("copy to the servers of the log: %w", err)
	}
	return nil
}

// Unmirror removes the copy of the file at path, if Mirror has made one.
func (l *Log) Unmirror(ctx context.Context, path string) error {
	if l.owner == nil {
		return nil
	}
	return l.objects.Remove(ctx, filepath.Base(path))
}

// Fetch copies to dir, which is there, the files that Mirror has laid beside the log and that are
// not in dir. Files that are broken are left out, with a warning. For an embedded log it does nothing.
func (l *Log) Fetch(ctx context.Context, dir string) error {
	if l.owner == nil {
		return nil
	}
	for try := 1; ; try++ {
		broken, err := l.fetchAll(ctx, dir)
		switch {
		case err != nil && (!l.cfg.Standby || try == standbyFetches):
			return fmt.Errorf("fetch from the servers of the log: %w", err)
		case err == nil && broken == nil:
			return nil
		case err == nil && try >= fetches:
			l.cfg.Logger.Warn("a file on the servers of the log cannot be used", "error", broken)
			return nil
		}
		if err := driver.Pause(ctx, fetchAgain); err != nil {
			return err
		}
	}
}

// A file is tried a few times: a server may lag behind, and an earlier owner that does not know yet
// that the log is ours may have put a newer file in its place. On standby an election is waited for.
const (
	fetches, standbyFetches = 3, 60

	fetchAgain = time.Second
)

// fetchAll fetches once, and returns why files were left out.
func (l *Log) fetchAll(ctx context.Context, dir string) (broken, err error) {
	there, err := l.objects.Names(ctx)
	if err != nil {
		return nil, err
	}
	for name := range there {
		path := filepath.Join(dir, filepath.Base(name))
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			continue
		}
		switch err := fetch(ctx, l.objects, name, path); {
		case errors.Is(err, driver.ErrBroken):
			broken = errors.Join(broken, fmt.Errorf("%s: %w", name, err))
		case err != nil:
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return broken, nil
}

func fetch(ctx context.Context, from driver.FileStore, name, path string) error {
	file, err := os.CreateTemp(filepath.Dir(path), "*.tmp")
	if err != nil {
		return err
	}
	err = errors.Join(from.Get(ctx, name, file), file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return disk.SyncDir(filepath.Dir(path))
}
