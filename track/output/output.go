// Package output writes files that take the place of old ones only when they are
// whole. It promises that whoever breaks off, or finds the disk full, leaves the file
// that was there; a device or a FIFO is written as it is.
package output

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
)

// File is a file that is written beside the one it is for and takes its place
// when it is whole: who breaks off, or finds the disk full, leaves the old one. A
// device or a FIFO is written as it is.
type File struct {
	*os.File
	to  string      // "" if the file is written in its place
	had fs.FileInfo // of the file that is replaced; nil if there is none
}

// Create creates what shall become the file path. A symbolic link stays, and
// what it points to is replaced. Either Commit or Discard must follow.
func Create(path string) (*File, error) {
	to, err := resolve(path)
	if err != nil {
		return nil, err
	}
	o := &File{to: to}
	switch o.had, err = os.Stat(to); {
	case errors.Is(err, fs.ErrNotExist):
		err = nil
	case err == nil && (isOpenFile(to) || !o.had.Mode().IsRegular()):
		o.to = ""
		if o.File, err = os.Create(path); err != nil {
			return nil, err
		}
		return o, nil
	case err == nil:
		err = checkWritable(to)
	}
	if err == nil {
		err = o.createAside()
	}
	if err != nil {
		return nil, err
	}
	return o, nil
}

// resolve follows the symbolic links of a path, the last of which may point to
// nothing yet.
func resolve(path string) (string, error) {
	const most = 40 // links: Linux follows no more
	for range most {
		if isOpenFile(path) {
			return path, nil
		}
		link, err := os.Readlink(path)
		if err != nil {
			return path, nil //nolint:nilerr // it is no link; whether it can be written is found out soon
		}
		if !filepath.IsAbs(link) {
			link = filepath.Join(filepath.Dir(path), link)
		}
		path = link
	}
	return "", fmt.Errorf("%s: too many symbolic links", path)
}

// isOpenFile reports whether a path names a file that this process has open: it is
// to be written to, and not replaced, even if it is an ordinary one.
func isOpenFile(path string) bool {
	return strings.HasPrefix(path, "/proc/") || strings.HasPrefix(path, "/dev/fd/")
}

func checkWritable(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

// createAside creates the file to write, where a rename can move it from; in the
// directory of temporary files if it cannot be created there.
func (o *File) createAside() (err error) {
	mode := fs.FileMode(0o666) // but for what umask takes away
	if o.had != nil {
		mode = o.had.Mode().Perm()
	}
	name := fmt.Sprintf(".pingline-%x.new", rand.Uint64()) // short: the name it is for may be the longest there can be
	create := func(dir string) {
		o.File, err = os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	}
	create(filepath.Dir(o.to))
	if errors.Is(err, fs.ErrPermission) && o.had != nil {
		create(os.TempDir())
	}
	return err
}

// Commit closes the file and lets it take the place of the old one.
func (o *File) Commit() error {
	if o.to == "" {
		return o.Close()
	}
	// Without Sync a crash soon after could leave an empty file and no old one.
	if err := o.Sync(); err != nil {
		return errors.Join(err, o.Discard())
	}
	if err := o.Close(); err != nil {
		return errors.Join(err, os.Remove(o.Name()))
	}
	if o.had != nil {
		keepOwner(o.Name(), o.had)
	}
	if os.Rename(o.Name(), o.to) == nil {
		return nil
	}
	// The file is on another disk, or a mount of its own, as Docker makes of one.
	if err := copyOver(o.Name(), o.to); err != nil {
		return fmt.Errorf("%w; all of it is in %s", err, o.Name())
	}
	return os.Remove(o.Name())
}

// Discard removes what was written; of a device or a FIFO that has passed on.
func (o *File) Discard() error {
	if o.to == "" {
		return o.Close()
	}
	return errors.Join(o.Close(), os.Remove(o.Name()))
}

func copyOver(from, to string) (err error) {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	dst, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, src)
	return errors.Join(err, dst.Close())
}
