package queue

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// What lies in Config.Dir, beside the folder "jetstream" of the embedded store.
const (
	lockFile    = "lock"
	cursorsFile = "cursors"
	markFile    = "high-water"
	probeFile   = "probe"
	spareFile   = "spare"
)

// makeDir creates dir if it is missing, and what it lies in, so that a power cut
// does not take it back.
func makeDir(dir string) error {
	parent := filepath.Dir(dir)
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrNotExist) && parent != dir {
		if err := makeDir(parent); err != nil {
			return err
		}
		err = os.Mkdir(dir, 0o700)
	}
	if info, serr := os.Stat(dir); err != nil && serr == nil && info.IsDir() {
		return nil
	}
	return errors.Join(err, syncDir(parent))
}

// blockDir makes the entries of the block files in a directory durable: JetStream
// syncs what it writes into a new block, but not that the block is there, which
// is not the same on every file system. Blocks are called 1.blk, 2.blk, …
type blockDir struct {
	path string
	info fs.FileInfo // when it was opened

	mu   sync.Mutex // guards next; nothing else is locked under it
	next uint64     // the number of the block that comes next
}

// openBlockDir syncs path, and all from there up to top.
func openBlockDir(path, top string) (*blockDir, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	d := &blockDir{path: path, info: info, next: 1}
	files, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		number, _ := strings.CutSuffix(f.Name(), ".blk")
		if n, err := strconv.ParseUint(number, 10, 64); err == nil {
			d.next = max(d.next, n+1)
		}
	}
	for dir := path; ; dir = filepath.Dir(dir) {
		if err := syncDir(dir); err != nil || dir == top || dir == filepath.Dir(dir) {
			return d, err
		}
	}
}

// sync returns when the entries of all blocks are on disk. It costs next to
// nothing while there is no new one.
func (d *blockDir) sync() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	next := d.next
	for {
		_, err := os.Lstat(filepath.Join(d.path, strconv.FormatUint(next, 10)+".blk"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err != nil {
			break
		}
		next++
	}
	if next == d.next {
		return nil
	}
	if err := syncDir(d.path); err != nil {
		return err
	}
	d.next = next
	return nil
}

// there fails if the directory is not the one that was opened, or has not the
// newest block, which the server has just written to: one that was deleted takes
// writes and syncs as before, and all of it is lost. It costs two calls of stat.
func (d *blockDir) there() error {
	d.mu.Lock()
	block := d.next - 1
	d.mu.Unlock()
	info, err := os.Stat(d.path)
	if err == nil && !os.SameFile(d.info, info) {
		return fmt.Errorf("%s %w", d.path, errGone)
	}
	path := filepath.Join(d.path, strconv.FormatUint(block, 10)+".blk")
	if err == nil && block > 0 {
		_, err = os.Lstat(path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s %w", path, errGone)
	}
	return err
}

// writeAside replaces the file at path by b so that a crash leaves either the
// old content or the new, and returns when the new one is on disk.
func writeAside(path string, b []byte) error {
	aside := path + ".new"
	if err := writeSynced(aside, b); err != nil {
		return errors.Join(err, removeFile(aside)) // on a full disk, half of it is in the way
	}
	if err := os.Rename(aside, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
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

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// probeDisk tells whether the disk under dir takes n more bytes.
func probeDisk(dir string, n int) error {
	path := filepath.Join(dir, probeFile)
	err := errors.Join(writeSynced(path, incompressible(n)), removeFile(path))
	if err != nil {
		return fmt.Errorf("try the disk with %d bytes: %w", n, err)
	}
	return nil
}

// spareBytes are held back in a file, so that a log that is to be emptied can
// note so on a disk that is full.
const spareBytes = 1 << 20

// keepSpare makes the spare file, if it is not there.
func keepSpare(dir string) error {
	path := filepath.Join(dir, spareFile)
	if info, err := os.Stat(path); err == nil && info.Size() == spareBytes {
		return nil
	}
	if err := writeAside(path, incompressible(spareBytes)); err != nil {
		return fmt.Errorf("hold %d bytes back: %w", spareBytes, err)
	}
	return nil
}

// incompressible returns n bytes that take up room on every disk.
func incompressible(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

func dropSpare(dir string) error { return removeFile(filepath.Join(dir, spareFile)) }

// removeFile removes the file at path, if there is one.
func removeFile(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// usedBytes is how much the files under dir hold.
func usedBytes(dir string) (n int64, err error) {
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

// halfOfDisk is half of what files of used bytes and the free disk under dir
// have together.
func halfOfDisk(dir string, used int64) (int64, error) {
	free, err := freeBytes(dir)
	return (free + used) / 2, err
}
