package kafka

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"

	"pingline/queue/driver"
)

// files are files in two partitions: pieces, and a catalog, whose last message about a name counts.
// Each piece has as its key the file's id and the piece's place in it.
type files struct {
	pieces, catalog *partition

	mu   sync.Mutex // guards the fields below and is held while the catalog is read; taken before partition.mu
	next int64      // offset of the first message of the catalog that is not read
	all  map[string]*listed
}

// listed is a message of the catalog.
type listed struct {
	Name    string `json:"name"`
	ID      []byte `json:"id"`
	First   int64  `json:"first"` // offset of the first piece
	End     int64  `json:"end"`   // offset behind the last
	Pieces  uint32 `json:"pieces"`
	Bytes   int64  `json:"bytes"`
	Sum     []byte `json:"sha256"`
	Removed bool   `json:"removed,omitempty"`

	at int64 // offset in the catalog
}

const pieceBytes = 900 << 10

// list reads the catalog. The caller may keep the map and not change it.
func (f *files) list(ctx context.Context) (map[string]*listed, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.next == 0 {
		start, err := f.catalog.find(ctx, atStart)
		if err != nil {
			return nil, err
		}
		f.next, f.all = start, make(map[string]*listed)
	}
	for {
		got, err := f.catalog.fetch(ctx, f.next, fetchBytes)
		if errors.Is(err, errOutside) {
			f.next = 0
		}
		if err != nil {
			return nil, err
		}
		for _, m := range got.list {
			f.take(m)
		}
		f.next = got.next
		if f.next >= got.end {
			there := make(map[string]*listed, len(f.all))
			for name, l := range f.all {
				there[name] = l
			}
			return there, nil
		}
	}
}

func (f *files) take(m *kgo.Record) {
	l := &listed{at: m.Offset}
	switch err := json.Unmarshal(m.Value, l); {
	case err != nil: // nobody's
	case l.Removed:
		delete(f.all, l.Name)
	default:
		f.all[l.Name] = l
	}
}

// Names implements driver.FileStore.
func (f *files) Names(ctx context.Context) (map[string]bool, error) {
	all, err := f.list(ctx)
	names := make(map[string]bool, len(all))
	for name := range all {
		names[name] = true
	}
	return names, err
}

// Put implements driver.FileStore.
func (f *files) Put(ctx context.Context, name, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	ctx, cancel := driver.FileTime(ctx, info.Size())
	defer cancel()
	l := &listed{Name: name, ID: make([]byte, idBytes), First: -1}
	_, _ = rand.Read(l.ID) // never fails
	sum, from, b := sha256.New(), driver.Paced(ctx, file), make([]byte, pieceBytes)
	for {
		n, err := io.ReadFull(from, b)
		if n > 0 {
			_, _ = sum.Write(b[:n])
			at, err := f.pieces.produce(ctx, driver.RequestTimeout, l.key(), b[:n])
			if err != nil {
				return err
			}
			if l.First < 0 {
				l.First = at
			}
			l.End, l.Pieces, l.Bytes = at+1, l.Pieces+1, l.Bytes+int64(n)
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	l.Sum = sum.Sum(nil)
	return f.tell(ctx, l)
}

// key is the key of the file's next piece.
func (l *listed) key() []byte { return binary.BigEndian.AppendUint32(bytes.Clone(l.ID), l.Pieces) }

func (f *files) tell(ctx context.Context, l *listed) error {
	b, err := json.Marshal(l)
	if err == nil {
		_, err = f.catalog.produce(ctx, driver.RequestTimeout, []byte(l.Name), b)
	}
	return err
}

// Get implements driver.FileStore.
func (f *files) Get(ctx context.Context, name string, w io.Writer) error {
	all, err := f.list(ctx)
	if err != nil {
		return err
	}
	l := all[name]
	if l == nil {
		return fmt.Errorf("%w: it is gone", driver.ErrBroken)
	}
	ctx, cancel := driver.FileTime(ctx, l.Bytes)
	defer cancel()
	got, sum := &listed{ID: l.ID}, sha256.New()
	for at := l.First; at < l.End && got.Pieces < l.Pieces; {
		list, err := f.pieces.fetch(ctx, at, fetchBytes)
		if errors.Is(err, errOutside) {
			break
		}
		if err != nil {
			return err
		}
		for _, m := range list.list {
			if !bytes.Equal(m.Key, got.key()) || got.Pieces == l.Pieces { // another's, or a copy
				continue
			}
			_, _ = sum.Write(m.Value)
			if _, err := w.Write(m.Value); err != nil {
				return err
			}
			got.Pieces, got.Bytes = got.Pieces+1, got.Bytes+int64(len(m.Value))
		}
		if list.next <= at {
			break
		}
		at = list.next
	}
	if got.Bytes != l.Bytes || !bytes.Equal(sum.Sum(nil), l.Sum) {
		return fmt.Errorf("%w: %d bytes came of %d", driver.ErrBroken, got.Bytes, l.Bytes)
	}
	return nil
}

// Remove implements driver.FileStore. The pieces go at the next Clean: without a proof, this could be
// an owner that was deposed, and delete those that the next owner is writing.
func (f *files) Remove(ctx context.Context, name string) error {
	all, err := f.list(ctx)
	if err != nil || all[name] == nil {
		return err
	}
	return f.tell(ctx, &listed{Name: name, Removed: true})
}

// Clean implements driver.FileStore: it deletes the pieces before the oldest file there is.
func (f *files) Clean(ctx context.Context, proof func() error) error {
	start, err := f.pieces.find(ctx, atStart)
	if err != nil {
		return err
	}
	before, err := f.pieces.find(ctx, atEnd)
	if err != nil {
		return err
	}
	all, err := f.list(ctx) // after the pieces: a file is described behind its pieces
	if err != nil {
		return err
	}
	var told int64
	for _, l := range all {
		if l.First >= 0 {
			before = min(before, l.First)
		}
		if told == 0 || l.at < told {
			told = l.at
		}
	}
	if before <= start {
		return nil
	}
	if err := proof(); err != nil {
		return err
	}
	if err := f.pieces.trim(ctx, before); err != nil || told == 0 {
		return err
	}
	return f.catalog.trim(ctx, told)
}
