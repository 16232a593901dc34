package sink

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"pingline"
	"pingline/sink/store"
)

// DeadLetter is one row that a store refuses for its content, one line of
// JSON. A row can be there twice, if the process died before the log knew that
// it had been put aside.
type DeadLetter struct {
	At        time.Time `json:"at"`                  // when it was refused
	Shard     string    `json:"shard"`               // by whom
	Why       string    `json:"cause,omitempty"`     // the reason in few words, one of store.Reasons; "" in letters of before
	Reason    string    `json:"reason"`              // in the store's words
	Status    int       `json:"status,omitempty"`    // HTTP status, in letters of before
	Precision string    `json:"precision,omitempty"` // of Line's timestamp: "ns", or "ms" or "" in letters of before
	Line      string    `json:"line"`                // line protocol, no newline
}

// Cause is the reason in few words, of which there are few.
func (l *DeadLetter) Cause() string {
	if l.Why != "" {
		return l.Why
	}
	said, _, _ := strings.Cut(strings.ReplaceAll(l.Reason, "'", `"`), `"`) // what it quotes decides nothing
	switch {
	case l.Status == http.StatusRequestEntityTooLarge:
		return store.TooLarge
	case strings.Contains(said, "unable to parse"):
		return store.Unparsable
	case strings.Contains(said, "field type conflict"):
		return store.TypeConflict
	case strings.Contains(said, "beyond retention policy"), strings.Contains(said, "outside retention policy"):
		return store.Expired
	}
	return store.Other
}

// The precisions of a letter's timestamp.
const (
	precisionNano  = "ns"
	precisionMilli = "ms"
)

// Entry returns the letter as what puts it back into the log. A timestamp that
// InfluxDB could not know in ms, the year 2262 or later, is in ns even where the
// letter does not say so.
func (l *DeadLetter) Entry() pingline.Entry {
	e := pingline.Entry{Kind: pingline.Replayed, To: l.Shard, Line: l.Line}
	at, _ := e.LineTime()
	const most = math.MaxInt64 / pingline.NanosPerMilli
	if l.Precision == precisionNano || l.Precision == "" && (at < -most || at > most) {
		e.Kind = pingline.ReplayedNano
	}
	return e
}

// DeadLetters is a directory of them:
//
//	deadletter-000001.jsonl …        the oldest first; only the last file grows
//	replay/deadletter-000001.jsonl … those on their way back into the log
//	accept/shard-NAME                how many more rows of a shard may become dead letters
//	lock                             held by whoever changes any of this
//
// Several processes, and several of these values, may use a directory at once.
// Files may be copied or moved away by hand at any time.
type DeadLetters struct {
	dir     string
	most    int64 // bytes of all files; 0 means no limit
	perFile int64 // bytes after which another file is begun

	step func() // called between the steps of a change, by tests that break it off
}

// DeadLetterFileBytes is how large a file of dead letters gets.
const DeadLetterFileBytes = 64 << 20

// errDeadLettersFull says that the dead letters have reached their limit.
var errDeadLettersFull = errors.New("dead letters are full")

// OpenDeadLetters returns the dead letters in dir, which a Sink has made.
func OpenDeadLetters(dir string) (*DeadLetters, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("dead letters: %w", err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("dead letters: %s is not a directory", dir)
	}
	return &DeadLetters{dir: dir, perFile: DeadLetterFileBytes}, nil
}

// Bytes returns the size of all dead letters, those on their way back included.
func (d *DeadLetters) Bytes() (int64, error) {
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

// All returns the dead letters, oldest first; for a line that cannot be read, or
// a file, the error that says which and why. The last line of a file may have
// been torn by a crash before it counted, and is then left out.
func (d *DeadLetters) All() iter.Seq2[*DeadLetter, error] {
	return func(yield func(*DeadLetter, error) bool) {
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
				if !yield(l.DeadLetter, err) {
					return
				}
			}
		}
	}
}

// append makes the first n of count rows durable: all, or as many as there is
// room for, with an error wrapping errDeadLettersFull. After any other error none
// of them is there, and none that was is gone.
func (d *DeadLetters) append(ctx context.Context, shard string, count int, row func(i int) (line []byte, why *refusal)) (n int, err error) {
	return d.appendUpTo(ctx, d.most, shard, count, row)
}

// appendUpTo is append with another limit of bytes of all files, 0 for none.
func (d *DeadLetters) appendUpTo(ctx context.Context, most int64, shard string, count int, row func(i int) (line []byte, why *refusal)) (n int, err error) {
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
	at := time.Now().UTC().Truncate(time.Millisecond)
	for ; n < count; n++ {
		line, why := row(n)
		j, err := json.Marshal(DeadLetter{at, shard, why.Reason, why.Refusal.Error(), 0, precisionNano, string(bytes.TrimSuffix(line, []byte("\n")))})
		if err != nil {
			return 0, fmt.Errorf("dead letter %q: %w", line, err)
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
		return n, fmt.Errorf("%w: %d of at most %d bytes in %s", errDeadLettersFull, used+int64(len(b)), most, d.dir)
	}
	return n, nil
}

// write makes b, whole lines, durable at the end of the last file or as a new
// one. The caller holds the lock.
func (d *DeadLetters) write(b []byte) (err error) {
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
func (d *DeadLetters) lock(ctx context.Context) (unlock func(), err error) {
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
			err = sleep(ctx, 10*time.Millisecond)
		}
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
	}
}

// Names of files of dead letters. What is not one yet ends in another way.
const (
	letterPrefix = "deadletter-"
	letterExt    = ".jsonl"
)

// nextName returns the name of the file behind those of names.
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
// there is no such directory.
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
	slices.SortFunc(names, func(a, b string) int { // also if numbers outgrow their digits
		if len(a) != len(b) {
			return len(a) - len(b)
		}
		return strings.Compare(a, b)
	})
	return names, nil
}

// letter is a dead letter and the line of the file it stands in, newline
// included. A line that cannot be read has no DeadLetter.
type letter struct {
	*DeadLetter
	raw []byte
}

// parseLetter reads a line of a file, newline included.
func parseLetter(raw []byte) (letter, error) {
	l := letter{new(DeadLetter), raw}
	err := json.Unmarshal(raw, l.DeadLetter)
	switch {
	case err != nil:
	case l.Line == "":
		err = errors.New("it has no line protocol")
	case l.Precision != "" && l.Precision != precisionMilli && l.Precision != precisionNano:
		err = fmt.Errorf("precision %q of its timestamp is not one of ns, ms", store.Clip(l.Precision))
	case strings.ContainsRune(l.Line, '\n') || len(l.Line) > pingline.MaxReadyLine:
		err = fmt.Errorf("its line protocol is not one line of at most %d bytes", pingline.MaxReadyLine)
	}
	if err != nil {
		return letter{nil, raw}, err
	}
	return l, nil
}

// lettersIn reads the dead letters in the file at path. With the error that a
// line cannot be read comes the line; any other is the last.
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

// wholeLines returns the size of f up to the end of its last whole line. What
// lies behind was torn by a crash before it counted.
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
