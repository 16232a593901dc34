// Package deadletter keeps rows that a store refuses for their content on disk, in
// a form that belongs to no store: a ping or a point, and the store's reason.
// Letters can be put back into the log, for the same store or for another.
//
// A letter counts once it is synced, and is not lost afterwards, whatever moment
// the process dies at; a crash can leave a letter twice. The package does not
// bound how long letters are kept.
package deadletter

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"pingline/internal/pause"
)

// Dir is a directory of letters:
//
//	deadletter-000001.jsonl …        the oldest first; only the last file grows
//	replay/deadletter-000001.jsonl … letters on their way back into the log
//	accept/shard-NAME                how many more rows of a shard may become dead letters
//	lock                             held while any of these files is changed
//
// Several processes, and several Dirs, may use a directory at once. Files may
// be copied or moved away by hand at any time.
type Dir struct {
	dir     string
	most    int64 // bytes of all files; 0 means no limit
	perFile int64 // bytes after which a new file is begun

	step func() // called between the steps of a change, for tests that break it off
}

// FileBytes is how large a file of dead letters gets.
const FileBytes = 64 << 20

// ErrFull says that the dead letters have reached their limit.
var ErrFull = errors.New("dead letters are full")

// Make returns the letters in dir, which it makes if it is missing. All files
// together take at most most bytes; 0 means no limit.
func Make(dir string, most int64) (*Dir, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("dead letters: %w", err)
	}
	return &Dir{dir: dir, most: most, perFile: FileBytes}, nil
}

// Open returns the dead letters in dir, which Make has made.
func Open(dir string) (*Dir, error) {
	if _, err := os.ReadDir(dir); err != nil {
		return nil, fmt.Errorf("dead letters: %w", err)
	}
	return &Dir{dir: dir, perFile: FileBytes}, nil
}

// Bytes returns the size of all dead letters, also of letters on their way
// back.
func (d *Dir) Bytes() (int64, error) {
	var sum int64
	for _, dir := range []string{d.dir, d.replayDir()} {
		names, err := filesIn(dir, "")
		if err != nil {
			return 0, fmt.Errorf("dead letters: %w", err)
		}
		for _, name := range names {
			info, err := os.Stat(filepath.Join(dir, name))
			if errors.Is(err, os.ErrNotExist) {
				continue
			}
			if err != nil {
				return 0, fmt.Errorf("dead letters: %w", err)
			}
			sum += info.Size()
		}
	}
	return sum, nil
}

// All returns the dead letters, oldest first. For a line or a file that cannot
// be read it returns an error that names it and the cause. The last line of a
// file may have been torn by a crash before it counted, and is then left out.
func (d *Dir) All() iter.Seq2[*Letter, error] {
	return func(yield func(*Letter, error) bool) {
		names, err := filesIn(d.dir, letterExt)
		if err != nil {
			yield(nil, fmt.Errorf("dead letters: %w", err))
			return
		}
		for _, name := range names {
			for l, err := range lettersIn(filepath.Join(d.dir, name)) {
				if errors.Is(err, os.ErrNotExist) {
					break // moved away meanwhile
				}
				if !yield(l.Letter, err) {
					return
				}
			}
		}
	}
}

// Append makes the first n of count letters durable: all, or as many as there is
// room for, with an error wrapping ErrFull. After any other error none of the
// count letters is there, and all earlier letters are.
func (d *Dir) Append(ctx context.Context, count int, letter func(i int) Letter) (n int, err error) {
	return d.appendUpTo(ctx, d.most, count, letter)
}

// AppendHalf is Append within half of the room.
func (d *Dir) AppendHalf(ctx context.Context, count int, letter func(i int) Letter) (n int, err error) {
	return d.appendUpTo(ctx, d.most/2, count, letter)
}

func (d *Dir) appendUpTo(ctx context.Context, most int64, count int, letter func(i int) Letter) (n int, err error) {
	if count == 0 {
		return 0, nil
	}
	unlock, err := d.lock(ctx)
	if err != nil {
		return 0, err
	}
	defer unlock()
	used, err := d.Bytes()
	if err != nil {
		return 0, err
	}
	var b []byte
	for ; n < count; n++ {
		l := letter(n)
		j, err := l.MarshalJSON()
		if err != nil {
			return 0, fmt.Errorf("dead letter of %q: %w", l.Entry.Rider, err)
		}
		if most > 0 && used+int64(len(b)+len(j)+1) > most {
			break
		}
		b = append(append(b, j...), '\n')
	}
	if len(b) > 0 {
		if err := d.write(b); err != nil {
			return 0, fmt.Errorf("dead letters: %w", err)
		}
	}
	if n < count {
		return n, fmt.Errorf("%w: %d of at most %d bytes in %s", ErrFull, used+int64(len(b)), most, d.dir)
	}
	return n, nil
}

// write makes b, whole lines, durable at the end of the last file or as a new
// file. The caller holds the lock.
func (d *Dir) write(b []byte) (err error) {
	names, err := filesIn(d.dir, letterExt)
	if err != nil {
		return err
	}
	name := nextName(nil)
	if len(names) > 0 {
		name = names[len(names)-1]
		info, err := os.Stat(filepath.Join(d.dir, name))
		if err == nil && info.Size() > 0 && info.Size()+int64(len(b)) > d.perFile {
			name = nextName(names)
		}
	}
	f, err := os.OpenFile(filepath.Join(d.dir, name), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := wholeLines(f)
	if err != nil {
		return err
	}
	if err := writeSynced(f, b, size); err != nil {
		return errors.Join(err, f.Truncate(size))
	}
	if size > 0 {
		return nil
	}
	return syncDir(d.dir) // the file may be new
}

// lock waits until no other process or value changes the directory.
func (d *Dir) lock(ctx context.Context) (unlock func(), err error) {
	path := filepath.Join(d.dir, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("dead letters: %w", err)
	}
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if errors.Is(err, syscall.EWOULDBLOCK) || errors.Is(err, syscall.EINTR) {
			err = pause.For(ctx, 10*time.Millisecond)
		}
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
	}
}

// Names of files of dead letters. A file that is not complete yet has another
// ending.
const (
	letterPrefix = "deadletter-"
	letterExt    = ".jsonl"
)

// nextName returns the name of the file that follows names.
func nextName(names []string) string {
	last := 0
	for _, name := range names {
		digits := strings.TrimPrefix(strings.TrimSuffix(name, letterExt), letterPrefix)
		if i, err := strconv.Atoi(digits); err == nil {
			last = max(last, i)
		}
	}
	return fmt.Sprintf("%s%06d%s", letterPrefix, last+1, letterExt)
}

// filesIn returns the names of files in dir that end in ext, in order; none if
// dir does not exist.
func filesIn(dir, ext string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if !e.IsDir() && strings.HasSuffix(e.Name(), ext) {
			names = append(names, e.Name())
		}
	}
	slices.SortFunc(names, func(a, b string) int { // numbers can have more than six digits
		if len(a) != len(b) {
			return len(a) - len(b)
		}
		return strings.Compare(a, b)
	})
	return names, nil
}

// letter is a dead letter and the line of the file it stands in, newline
// included. A line that cannot be read has no Letter.
type letter struct {
	*Letter
	raw []byte
}

// parseLetter reads a line of a file, newline included.
func parseLetter(raw []byte) (letter, error) {
	l := letter{new(Letter), raw}
	err := json.Unmarshal(raw, l.Letter)
	if err != nil {
		return letter{nil, raw}, err
	}
	return l, nil
}

// lettersIn reads the dead letters in the file at path. An error about a line
// that cannot be read comes with the line; any other error ends the sequence.
func lettersIn(path string) iter.Seq2[letter, error] {
	return func(yield func(letter, error) bool) {
		f, err := os.Open(path)
		if err != nil {
			yield(letter{}, fmt.Errorf("dead letters: %w", err))
			return
		}
		defer f.Close()
		r := bufio.NewReaderSize(f, 64<<10)
		for n := 1; err == nil; n++ {
			var raw []byte
			if raw, err = r.ReadBytes('\n'); err != nil && err != io.EOF {
				yield(letter{}, fmt.Errorf("dead letters: %w", err))
				return
			}
			if len(bytes.TrimSpace(raw)) == 0 {
				continue
			}
			l, bad := parseLetter(raw)
			if err == io.EOF {
				if bad != nil {
					return // torn
				}
				l.raw = append(raw, '\n')
			}
			if bad != nil {
				bad = fmt.Errorf("%s, line %d: %w", path, n, bad)
			}
			if !yield(l, bad) {
				return
			}
		}
	}
}

// wholeLines returns the size of f up to the end of its last whole line. A
// crash tore the rest before it counted.
func wholeLines(f *os.File) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	buf := make([]byte, 4096)
	for end := info.Size(); end > 0; {
		n := min(end, int64(len(buf)))
		if _, err := f.ReadAt(buf[:n], end-n); err != nil {
			return 0, err
		}
		if i := strings.LastIndexByte(string(buf[:n]), '\n'); i >= 0 {
			return end - n + int64(i) + 1, nil
		}
		end -= n
	}
	return 0, nil
}

// writeSynced writes b at off, where f then ends, and waits until it is on disk.
func writeSynced(f *os.File, b []byte, off int64) error {
	if err := f.Truncate(off); err != nil {
		return err
	}
	if _, err := f.WriteAt(b, off); err != nil {
		return err
	}
	return f.Sync()
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	return errors.Join(d.Sync(), d.Close())
}
