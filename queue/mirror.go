package queue

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"pingline/queue/disk"
	"pingline/queue/jetstream"
)

// Mirror makes copies of the files at paths lie beside a log on servers, under the names the
// files have, for the next owner to Fetch: in place of all copies but those whose names come
// after the first of them in order. An earlier owner that does not know yet that the log is ours
// so removes none of our files, whose names come later. A file that is not there is left out. For an
// embedded log it does nothing.
func (l *Log) Mirror(paths []string) error {
	if l.owner == nil {
		return nil
	}
	there, err := l.objects.Sizes(l.life)
	first := filepath.Base(paths[0])
	for _, path := range paths {
		first = min(first, filepath.Base(path))
		if err == nil {
			err = l.putFile(path, there)
		}
	}
	for name := range there {
		if err == nil && name < first {
			err = l.objects.Remove(l.life, name)
		}
	}
	if err != nil {
		return fmt.Errorf("copy to the servers of the log: %w", err)
	}
	return nil
}

// putFile copies a file to the servers, unless a file of that name and size is there.
func (l *Log) putFile(path string, there map[string]int64) error {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	name := filepath.Base(path)
	if size, ok := there[name]; err != nil || ok && size == info.Size() {
		return err
	}
	return l.objects.Put(l.life, name, path)
}

// Fetch copies to dir, which is there, the files that Mirror has laid beside the log and that are
// not in dir. A file that cannot be read is left out, with a warning. For an embedded log it does
// nothing.
func (l *Log) Fetch(ctx context.Context, dir string) error {
	if l.owner == nil {
		return nil
	}
	for try := 1; ; try++ {
		there, err := l.objects.Sizes(ctx)
		if err != nil {
			return fmt.Errorf("list the files on the servers of the log: %w", err)
		}
		var failed error
		for name := range there {
			path := filepath.Join(dir, filepath.Base(name))
			if _, there := os.Stat(path); !errors.Is(there, os.ErrNotExist) {
				continue
			}
			if err := fetch(ctx, l.objects, name, path); err != nil {
				failed = errors.Join(failed, fmt.Errorf("%s: %w", name, err))
			}
		}
		switch {
		case failed == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case try == fetches:
			l.cfg.Logger.Warn("a file on the servers of the log cannot be read", "error", failed)
			return nil
		}
	}
}

// fetches is how often a file is tried: an earlier owner that does not know yet that the log is
// ours may have put another in its place.
const fetches = 3

func fetch(ctx context.Context, from *jetstream.Objects, name, path string) error {
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
