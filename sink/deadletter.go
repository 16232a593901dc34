package sink

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// DeadLetterFile is the name of the file in Config.DeadLetterDir.
const DeadLetterFile = "deadletter.jsonl"

// DeadLetter is one row that InfluxDB refuses for what it says, one line of
// JSON in the file. A row can be there twice, if the process died before the
// log knew that it had been put aside.
type DeadLetter struct {
	At     time.Time `json:"at"`     // when it was refused
	Shard  string    `json:"shard"`  // by whom
	Reason string    `json:"reason"` // in InfluxDB's words
	Status int       `json:"status"` // HTTP status
	Line   string    `json:"line"`   // line protocol, timestamp in ms, no newline
}

// errDeadLettersFull says that the file has reached its limit.
var errDeadLettersFull = errors.New("dead letters are full")

// deadLetters is the file of them, shared by all lanes. It is opened for each
// append, which is rare, so that it may be moved away at any time.
type deadLetters struct {
	dir string
	max int64 // bytes

	mu sync.Mutex
}

// append makes rows, lines with their newlines, durable. It returns an error
// wrapping errDeadLettersFull if that would exceed the limit; on any error none
// of them is in the file.
func (d *deadLetters) append(shard string, e *WriteError, rows []byte) (err error) {
	b, err := encodeDeadLetters(shard, e, rows)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return fmt.Errorf("dead letters: %w", err)
	}
	path := filepath.Join(d.dir, DeadLetterFile)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("dead letters: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := wholeLines(f)
	if err != nil {
		return fmt.Errorf("dead letters: %w", err)
	}
	if size+int64(len(b)) > d.max {
		return fmt.Errorf("%w: %s has %d of at most %d bytes", errDeadLettersFull, path, size, d.max)
	}
	if err := writeSynced(f, b, size); err != nil {
		return fmt.Errorf("append to %s: %w", path, errors.Join(err, f.Truncate(size)))
	}
	if size > 0 {
		return nil
	}
	return syncDir(d.dir) // the file may be new
}

func encodeDeadLetters(shard string, e *WriteError, rows []byte) ([]byte, error) {
	var b []byte
	at := time.Now().UTC().Truncate(time.Millisecond)
	for line := range strings.Lines(string(rows)) {
		j, err := json.Marshal(DeadLetter{at, shard, e.Message, e.Status, strings.TrimSuffix(line, "\n")})
		if err != nil {
			return nil, fmt.Errorf("dead letter %q: %w", line, err)
		}
		b = append(append(b, j...), '\n')
	}
	return b, nil
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
