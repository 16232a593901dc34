// Package output replaces files only by complete ones. It promises that a write that is
// broken off, or finds the disk full, leaves the old file; it writes to a device or a
// FIFO directly.
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

// File is written under a temporary name and takes the place of the old file when it is
// complete. A device or a FIFO is written directly.
type File struct {
	*os.File
	asked string      // path as it was given, for errors
	to    string      // path of the file to replace; "" if it is written directly
	had   fs.FileInfo // of the file to replace; nil if there is none

	private bool
}

const privateMode = 0o600

// Private makes the file its owner's alone, whatever the mode of the old file is; it is called
// before the first write. A device or a FIFO keeps its mode.
func (o *File) Private() error {
	info, err := o.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return o.named(err)
	}
	o.private = true
	return o.named(o.Chmod(privateMode))
}

// Create begins a new file for path. A symbolic link stays, and its target is replaced.
// Either Commit or Discard must follow.
func Create(path string) (*File, error) {
	to, err := resolve(path)
	if err != nil {
		return nil, err
	}
	o := &File{asked: path, to: to}
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
		return nil, o.named(err)
	}
	return o, nil
}

// named returns err with the path that was asked for in place of the file's own.
func (o *File) named(err error) error {
	if at := new(fs.PathError); errors.As(err, &at) {
		return &fs.PathError{Op: at.Op, Path: o.asked, Err: at.Err}
	}
	return err
}

// Write writes to the file, whose error names the path that was asked for.
func (o *File) Write(p []byte) (int, error) {
	n, err := o.File.Write(p)
	return n, o.named(err)
}

// WriteString is Write of a string.
func (o *File) WriteString(s string) (int, error) { return o.Write([]byte(s)) }

// resolve follows the symbolic links of a path; the target of the last need not exist.
func resolve(path string) (string, error) {
	const most = 40 // links: Linux follows no more
	for range most {
		if isOpenFile(path) {
			return path, nil
		}
		link, err := os.Readlink(path)
		if err != nil {
			return path, nil //nolint:nilerr // not a link; opening it will show whether it can be written
		}
		if !filepath.IsAbs(link) {
			link = filepath.Join(filepath.Dir(path), link)
		}
		path = link
	}
	return "", fmt.Errorf("%s: too many symbolic links", path)
}

// isOpenFile reports whether a path names a file that this process has open. Such a file
// is written directly, even if it is an ordinary file.
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

// createAside creates the file in the directory of the old file, so that a rename can
// replace it, or else in the directory of temporary files.
func (o *File) createAside() (err error) {
	mode := fs.FileMode(0o666) // minus the umask
	if o.had != nil {
		mode = o.had.Mode().Perm()
	}
	name := fmt.Sprintf(".pingline-%x.new", rand.Uint64()) // short: the name of the old file may have the greatest length, and this name must fit, too
	create := func(dir string) {
		o.File, err = os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	}
	create(filepath.Dir(o.to))
	if errors.Is(err, fs.ErrPermission) && o.had != nil {
		create(os.TempDir())
	}
	return err
}

// Commit closes the file and puts it in the place of the old file.
func (o *File) Commit() error {
	if o.to == "" {
		return o.Close()
	}
	// Without Sync a crash soon after could leave an empty file instead of the old file.
	if err := o.Sync(); err != nil {
		return errors.Join(o.named(err), o.Discard())
	}
	if err := o.Close(); err != nil {
		return errors.Join(o.named(err), os.Remove(o.Name()))
	}
	if o.had != nil {
		mode := o.had.Mode().Perm()
		if o.private {
			mode = privateMode
		}
		keepOwner(o.Name(), o.had, mode)
	}
	if os.Rename(o.Name(), o.to) == nil {
		return nil
	}
	// The file is on another disk, or the old file is a mount of its own, as in Docker.
	var err error
	if o.private {
		err = os.Chmod(o.to, privateMode)
	}
	if err == nil {
		err = copyOver(o.Name(), o.to)
	}
	if err != nil {
		return fmt.Errorf("%w; the complete file is %s", err, o.Name())
	}
	return os.Remove(o.Name())
}

// Discard removes the new file; bytes written to a device or a FIFO are gone already.
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
