// Package disk gives a log four properties of a directory on a disk: only one
// process uses it, a crash leaves a small file old or new and never half
// written, there is room, and the files are still there.
//
// It syncs what it writes, and the entries of the directories it changes. It does
// not know the contents of the files.
package disk

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// The files that this package keeps in a directory.
const (
	LockFile  = "lock"
	probeFile = "probe"
	spareFile = "spare"
)

// MakeDir creates dir if it is missing, and the directories above it, so that a
// power cut does not take them back.
func MakeDir(dir string) error {
	parent := filepath.Dir(dir)
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrNotExist) && parent != dir {
		if err := MakeDir(parent); err != nil {
			return err
		}
		err = os.Mkdir(dir, 0o700)
	}
	if info, serr := os.Stat(dir); err != nil && serr == nil && info.IsDir() {
		return nil
	}
	return errors.Join(err, SyncDir(parent))
}

// WriteAside replaces the file at path by b so that a crash leaves either the
// old content or the new, and returns when the new content is on disk.
func WriteAside(path string, b []byte) error {
	aside := path + ".new"
	if err := writeSynced(aside, b); err != nil {
		return errors.Join(err, removeFile(aside)) // on a full disk, half a file would take up room
	}
	if err := os.Rename(aside, path); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

func writeSynced(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// SyncDir makes the entries of a directory durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Probe returns nil if the disk under dir takes n more bytes: it writes them, syncs
// them and removes them.
func Probe(dir string, n int) error {
	path := filepath.Join(dir, probeFile)
	err := errors.Join(writeSynced(path, incompressible(n)), removeFile(path))
	if err != nil {
		return fmt.Errorf("try the disk with %d bytes: %w", n, err)
	}
	return nil
}

// SpareBytes is the size of the spare file: room that is held back, so that on a
// full disk a log can still write down that it is about to drop records.
const SpareBytes = 1 << 20

// KeepSpare makes the spare file in dir, if it is not there.
func KeepSpare(dir string) error {
	path := filepath.Join(dir, spareFile)
	if info, err := os.Stat(path); err == nil && info.Size() == SpareBytes {
		return nil
	}
	if err := WriteAside(path, incompressible(SpareBytes)); err != nil {
		return fmt.Errorf("hold %d bytes back: %w", SpareBytes, err)
	}
	return nil
}

// incompressible returns n random bytes, which take up room on every disk,
// even if it compresses.
func incompressible(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

// DropSpare removes the spare file in dir, if there is one.
func DropSpare(dir string) error { return removeFile(filepath.Join(dir, spareFile)) }

// removeFile removes the file at path, if there is one.
func removeFile(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Used returns how many bytes the files under dir hold.
func Used(dir string) (n int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			n += info.Size()
		}
		return err
	})
	return n, err
}

// Half returns half of the bytes that files of used bytes and the free disk under
// dir have together.
func Half(dir string, used int64) (int64, error) {
	free, err := Free(dir)
	return (free + used) / 2, err
}
