package backup

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"strings"

	"pingline/queue"
	"pingline/queue/embedded"
	"pingline/queue/record"
)

// taker takes the parts of a backup in order. What it is given is valid during the call.
type taker interface {
	file(name string, r io.Reader) error
	begin(c *contents) error
	record(rec *record.Record) error
	lost(run *lostRun) error
}

// nobody takes a backup that is only verified.
type nobody struct{}

func (nobody) file(_ string, r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	return err
}
func (nobody) begin(*contents) error       { return nil }
func (nobody) record(*record.Record) error { return nil }
func (nobody) lost(*lostRun) error         { return nil }

// Verify reads a backup to its end and describes it. An error wraps ErrIncomplete or
// ErrDamaged if the stream is not what Write has written.
func Verify(r io.Reader) (Manifest, error) { return read(r, nobody{}) }

// Bounds of the parts of a stream, bytes.
const (
	maxText   = 64 << 20 // of JSON
	maxRecord = embedded.MaxPayload
)

// unpacker reads a backup.
type unpacker struct {
	tar  *tar.Reader
	to   taker
	sum  Manifest
	log  *contents
	next uint64 // number of the next record
	sums map[string]string

	totals queue.Totals // before the next record
	texts  textSum
}

func read(r io.Reader, to taker) (s Manifest, err error) {
	u := &unpacker{tar: tar.NewReader(r), to: to, sums: make(map[string]string)}
	for first := true; ; first = false {
		h, err := u.tar.Next()
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return s, ErrIncomplete
		case err != nil && first:
			return s, fmt.Errorf("%w: %w", ErrDamaged, err)
		case err != nil:
			return s, fmt.Errorf("read backup: %w", err)
		case first != (h.Name == headName):
			return s, fmt.Errorf("%w: %s is not in its place", ErrDamaged, h.Name)
		}
		if h.Typeflag != tar.TypeReg || h.PAXRecords["GNU.sparse.map"] != "" || h.PAXRecords["GNU.sparse.major"] != "" {
			return s, fmt.Errorf("%w: %s is no plain file", ErrDamaged, h.Name) // holes have any length
		}
		if h.Name == endName {
			if err := u.finish(); err != nil {
				return s, err
			}
			return u.sum, nil
		}
		if err := u.entry(h.Name); err != nil {
			if errors.Is(err, io.ErrUnexpectedEOF) {
				err = ErrIncomplete
			}
			return s, err
		}
	}
}

func (u *unpacker) entry(name string) error {
	if of, ok := strings.CutPrefix(name, dataPrefix); ok {
		return u.file(of)
	}
	switch {
	case name == headName:
		if err := u.json(name, &u.sum.Origin); err != nil {
			return err
		}
		if u.sum.Form < 1 || u.sum.Form > Form {
			return fmt.Errorf("a backup of form %d, this program knows 1 to %d: use the version that made it, %s", u.sum.Form, Form, u.sum.Version)
		}
		return nil
	case name == logName && u.log == nil:
		u.log = new(contents)
		if err := u.json(name, u.log); err != nil {
			return err
		}
		if u.log.First == 0 || u.log.First > u.log.Last+1 {
			return fmt.Errorf("%w: records %d to %d", ErrDamaged, u.log.First, u.log.Last)
		}
		u.next, u.totals = u.log.First, u.log.Before
		u.sum.First, u.sum.Last = u.log.First, u.log.Last
		return u.to.begin(u.log)
	case u.log != nil && strings.HasPrefix(name, logPrefix) && strings.HasSuffix(name, records):
		return u.records(name)
	case u.log != nil && strings.HasPrefix(name, logPrefix) && strings.HasSuffix(name, lost):
		return u.lost(name)
	}
	return fmt.Errorf("%w: %s is not in its place", ErrDamaged, name)
}

func (u *unpacker) json(name string, v any) error {
	text, err := io.ReadAll(io.LimitReader(u.tar, maxText))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrDamaged, name, err)
	}
	if name != endName {
		u.texts.add(name, text)
	}
	return nil
}

func (u *unpacker) file(name string) error {
	top, _, _ := strings.Cut(name, "/")
	if _, twice := u.sums[name]; twice || !filepath.IsLocal(filepath.FromSlash(name)) || path.Clean(name) != name || name == "." || foreign(top) {
		return fmt.Errorf("%w: a file called %q", ErrDamaged, name)
	}
	sum, n := sha256.New(), new(byteCount)
	if err := u.to.file(name, io.TeeReader(u.tar, io.MultiWriter(sum, n))); err != nil {
		return err
	}
	u.sums[name] = hex.EncodeToString(sum.Sum(nil))
	u.sum.Files++
	u.sum.Bytes += int64(*n)
	return nil
}

// byteCount counts bytes.
type byteCount int64

func (n *byteCount) Write(p []byte) (int, error) {
	*n += byteCount(len(p))
	return len(p), nil
}

func (u *unpacker) records(name string) error {
	var head [4]byte
	var buf []byte
	for {
		switch _, err := io.ReadFull(u.tar, head[:]); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		n := binary.LittleEndian.Uint32(head[:])
		if n > maxRecord {
			return fmt.Errorf("%w: %s: a record of %d bytes, more than %d", ErrDamaged, name, n, maxRecord)
		}
		if int(n) > cap(buf) {
			buf = make([]byte, n)
		}
		if _, err := io.ReadFull(u.tar, buf[:n]); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		rec, err := record.Decode(buf[:n])
		if err != nil {
			return fmt.Errorf("%w: %s: %w", ErrDamaged, name, err)
		}
		if rec.Number != u.next || rec.Number > u.log.Last {
			return fmt.Errorf("%w: %s: record %d in place of %d", ErrDamaged, name, rec.Number, u.next)
		}
		if rec.Before != u.totals {
			return fmt.Errorf("%w: record %d begins at totals %v, behind %v", ErrDamaged, rec.Number, rec.Before, u.totals)
		}
		if err := u.to.record(&rec); err != nil {
			return err
		}
		u.next++
		u.totals = rec.Totals
		u.sum.Records++
		u.sum.Bytes += int64(n)
	}
}

func (u *unpacker) lost(name string) error {
	var run lostRun
	if err := u.json(name, &run); err != nil {
		return err
	}
	if run.From != u.next || run.To < run.From || run.To > u.log.Last {
		return fmt.Errorf("%w: %s: records %d to %d in place of %d", ErrDamaged, name, run.From, run.To, u.next)
	}
	if err := u.to.lost(&run); err != nil {
		return err
	}
	u.sum.Lost += run.To + 1 - run.From
	u.next, u.totals = run.To+1, run.After
	return nil
}

// finish compares what was read with the end of the stream.
func (u *unpacker) finish() error {
	var end closing
	if err := u.json(endName, &end); err != nil {
		return err
	}
	switch {
	case u.log == nil || u.next != u.log.Last+1:
		return fmt.Errorf("%w: it ends before record %d", ErrDamaged, u.next)
	case end.Records != u.sum.Records || end.Lost != u.sum.Lost || len(end.Sums) != len(u.sums):
		return fmt.Errorf("%w: %d records and %d files, it says %d and %d", ErrDamaged, u.sum.Records, len(u.sums), end.Records, len(end.Sums))
	}
	if end.Texts != "" && end.Texts != u.texts.String() {
		return fmt.Errorf("%w: its JSON was changed", ErrDamaged)
	}
	for name, sum := range u.sums {
		if end.Sums[name] != sum {
			return fmt.Errorf("%w: %s was changed", ErrDamaged, name)
		}
	}
	return nil
}
