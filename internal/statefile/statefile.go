// Package statefile keeps a filter's state in a file.
//
//	magic
//	u32 length, piece; …
//	u32 0
//
// A file is written under a temporary name, synced and renamed. Each piece has a checksum. Its name is
// the number of the first commit that is not in all of its pieces.
package statefile

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"pingline"
	"pingline/dedupe"
	"pingline/queue/disk"
)

const (
	// Magic is how a file begins.
	Magic = "pingline filter 1\n"
	// Suffix is that of the name of a file.
	Suffix = ".checkpoint"
	// Stranded is that of the name of a file that was of a log which is gone. It is kept until the log
	// has a file of its own: it shows that the filter has forgotten pings.
	Stranded = Suffix + ".stranded"

	magicForm = "pingline filter %d\n"
	maxPiece  = 64 << 20 // bytes; a longer length is damage
)

// Path is the file in dir of a state behind which the log is read from number next on.
func Path(dir string, next uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%020d%s", next, Suffix))
}

// ErrAbandoned is returned by Save after a piece without bytes.
var ErrAbandoned = errors.New("abandoned")

// Save writes pieces to path until the channel is closed, and gives their
// memory back. It receives all pieces even after an error, so that the sender never
// waits for a disk that fails.
func Save(path string, pieces <-chan []byte, written chan<- []byte) (err error) {
	defer func() {
		for range pieces { // drained even after an error
		}
	}()
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	file, err := os.CreateTemp(dir, "*.tmp")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	if err := errors.Join(writePieces(file, pieces, written), file.Close()); err != nil {
		return err
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return err
	}
	return disk.SyncDir(dir)
}

func writePieces(file *os.File, pieces <-chan []byte, written chan<- []byte) error {
	w := bufio.NewWriterSize(file, 1<<20)
	if _, err := w.WriteString(Magic); err != nil {
		return err
	}
	var length [4]byte
	for piece := range pieces {
		if len(piece) == 0 {
			return ErrAbandoned
		}
		binary.LittleEndian.PutUint32(length[:], uint32(len(piece)))
		if _, err := w.Write(length[:]); err != nil {
			return err
		}
		if _, err := w.Write(piece); err != nil {
			return err
		}
		select {
		case written <- piece[:0]:
		default:
		}
	}
	if _, err := w.Write(make([]byte, 4)); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return file.Sync()
}

// List lists the complete checkpoints in dir, newest first.
func List(dir string) ([]string, error) {
	list, err := filepath.Glob(filepath.Join(dir, "*"+Suffix))
	slices.Sort(list)
	slices.Reverse(list)
	return list, err
}

// RemoveOld removes all checkpoints not in keep: older, damaged and unfinished
// checkpoints, and checkpoints of a log that is gone.
func RemoveOld(dir string, keep []string) error {
	for _, name := range [...]string{"*" + Suffix, "*.tmp", "*" + Stranded} {
		found, err := filepath.Glob(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		for _, path := range found {
			if slices.Contains(keep, path) {
				continue
			}
			if err := os.Remove(path); err != nil {
				return err
			}
		}
	}
	return nil
}

// RemoveUnfinished removes unfinished checkpoints that crashes have left. Otherwise only
// saving a checkpoint does, and there may be no room to save one.
func RemoveUnfinished(dir string) error {
	if dir == "" {
		return nil
	}
	found, err := filepath.Glob(filepath.Join(dir, "*.tmp"))
	for _, path := range found {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

// Load reads path into a filter and returns the number of the first
// commit that is not in all of its pieces.
func Load(path string, f *dedupe.Filter) (next uint64, err error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer func() { _ = file.Close() }()
	r := bufio.NewReaderSize(file, 1<<20)
	magic := make([]byte, len(Magic))
	if _, err := io.ReadFull(r, magic); err != nil || string(magic) != Magic {
		return 0, notCheckpoint(path, magic)
	}
	if _, err := fmt.Sscanf(strings.TrimSuffix(filepath.Base(path), Suffix), "%d", &next); err != nil {
		return 0, fmt.Errorf("name of %s: %w", path, err)
	}
	for {
		piece, err := readPiece(r)
		if err != nil {
			return 0, fmt.Errorf("read %s: %w", path, err)
		}
		if piece == nil {
			return next, nil
		}
		if err := f.Load(piece); err != nil {
			return 0, fmt.Errorf("read %s: %w", path, err)
		}
	}
}

// notCheckpoint returns the error for the file at path, which begins with magic and is
// no checkpoint of this form.
func notCheckpoint(path string, magic []byte) error {
	var form int
	if _, err := fmt.Sscanf(string(magic), magicForm, &form); err == nil && form > 1 {
		return fmt.Errorf("checkpoint %s is of form %d, this program knows 1: %w", path, form, pingline.ErrNewer)
	}
	return fmt.Errorf("%s is no checkpoint: %w", path, pingline.ErrCorrupt)
}

// readPiece returns the next piece, or nil behind the last.
func readPiece(r io.Reader) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, fmt.Errorf("%w: %w", err, pingline.ErrCorrupt)
	}
	n := binary.LittleEndian.Uint32(length[:])
	if n == 0 {
		return nil, nil
	}
	if n > maxPiece {
		return nil, fmt.Errorf("a piece of %d bytes, more than %d: %w", n, maxPiece, pingline.ErrCorrupt)
	}
	piece := make([]byte, n)
	if _, err := io.ReadFull(r, piece); err != nil {
		return nil, fmt.Errorf("%w: %w", err, pingline.ErrCorrupt)
	}
	return piece, nil
}
