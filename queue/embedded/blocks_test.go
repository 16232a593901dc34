package embedded

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"pingline/queue/disk"
)

// newBlocks returns a BlockDir of its own with blocks of these names.
func newBlocks(t *testing.T, names ...string) *BlockDir {
	t.Helper()
	top := t.TempDir()
	path := filepath.Join(top, "msgs")
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(path, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d, err := OpenBlockDir(path, top)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Sync sees the blocks that have come since.
func TestSyncOfANewBlock(t *testing.T) {
	d := newBlocks(t)
	d.next = 0
	if err := os.Mkdir(filepath.Join(d.Path(), "0.blk"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := d.Sync(); err != nil || d.next != 1 {
		t.Errorf("sync of a new block: next is %d, %v", d.next, err)
	}
	for _, name := range []string{"1.blk", "2.blk", "4.blk"} {
		if err := os.WriteFile(filepath.Join(d.Path(), name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Sync(); err != nil || d.Newest() != 2 {
		t.Errorf("the newest of blocks 0, 1, 2 and 4 in one row is %d, %v, want 2", d.Newest(), err)
	}
}

// Blocks are numbered from the highest that is there on, whatever else is.
func TestOpenBlockDir(t *testing.T) {
	if got := newBlocks(t, "3.blk", "12.blk", "index.db", "x.blk").Newest(); got != 12 {
		t.Errorf("Newest = %d, want 12", got)
	}
	if got := newBlocks(t).Newest(); got != 0 {
		t.Errorf("Newest of none = %d, want 0", got)
	}
	if d, err := OpenBlockDir(filepath.Join(t.TempDir(), "none"), "/"); err == nil {
		t.Errorf("OpenBlockDir of nothing = %v", d)
	}
}

// The newest block must be there, in the directory that was opened.
func TestBlocksGone(t *testing.T) {
	for name, harm := range map[string]func(path string) error{
		"the newest block": func(path string) error { return os.Remove(filepath.Join(path, "2.blk")) },
		"the directory":    os.RemoveAll,
		"it is another": func(path string) error {
			return errors.Join(os.Rename(path, path+".old"), os.CopyFS(path, os.DirFS(path+".old")))
		},
	} {
		d := newBlocks(t, "1.blk", "2.blk")
		if err := errors.Join(d.Sync(), d.There()); err != nil {
			t.Fatal(err)
		}
		if err := harm(d.Path()); err != nil {
			t.Fatal(err)
		}
		if err := d.There(); !errors.Is(err, disk.ErrGone) {
			t.Errorf("%s: There = %v, want ErrGone", name, err)
		}
	}
}
