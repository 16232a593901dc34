package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"pingline/queue/disk"
)

// BlockDir makes the entries of the block files in a directory durable: JetStream
// syncs the messages in a new block, but not the directory's entry of the block,
// which some file systems need. Blocks are called 1.blk, 2.blk, … It is safe for
// concurrent use.
type BlockDir struct {
	path string
	info fs.FileInfo // of the directory when it was opened

	mu   sync.Mutex // guards next; nothing else is locked under it
	next uint64     // the number of the block that comes next
}

// OpenBlockDir syncs path, and all directories from there up to top.
func OpenBlockDir(path, top string) (*BlockDir, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	d := &BlockDir{path: path, info: info, next: 1}
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
		if err := disk.SyncDir(dir); err != nil || dir == top || dir == filepath.Dir(dir) {
			return d, err
		}
	}
}

// Path is where the blocks lie.
func (d *BlockDir) Path() string { return d.path }

// Newest returns the number of the newest block whose entry is known to be on disk,
// 0 if there is none.
func (d *BlockDir) Newest() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.next - 1
}

// Sync returns when the entries of all blocks are on disk. It costs next to
// nothing while there is no new block.
func (d *BlockDir) Sync() error {
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
	if err := disk.SyncDir(d.path); err != nil {
		return err
	}
	d.next = next
	return nil
}

// There fails if the directory was replaced since it was opened, or lacks the
// newest block, which the server has just written to: a deleted block takes writes
// and syncs as before, and all of them are lost. It costs two calls of stat.
func (d *BlockDir) There() error {
	block := d.Newest()
	info, err := os.Stat(d.path)
	if err == nil && !os.SameFile(d.info, info) {
		return fmt.Errorf("%s %w", d.path, disk.ErrGone)
	}
	path := filepath.Join(d.path, strconv.FormatUint(block, 10)+".blk")
	if err == nil && block > 0 {
		_, err = os.Lstat(path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s %w", path, disk.ErrGone)
	}
	return err
}
