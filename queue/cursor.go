package queue

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"os"
	"sync"
	"time"
)

// Cursor is a position in the log: the number of the record to read next, and
// the totals before it.
type Cursor struct {
	Next   uint64 `json:"next"`
	Totals Totals `json:"totals"`
}

// cursors are named positions, kept in a small file that is written anew at most
// about once a second: a line with the checksum of what follows, then JSON.
type cursors struct {
	path string

	keeping sync.Mutex // held while the file is written
	closed  bool       // it is not ours any more; guarded by keeping

	mu    sync.Mutex
	now   cursorList // in memory
	kept  cursorList // on disk
	dirty bool       // they differ
}

type cursorList struct {
	// Trimmed is how far the log was trimmed: records before it are gone on
	// purpose. Next is 0 if that is not known.
	Trimmed Cursor            `json:"trimmed"`
	Named   map[string]Cursor `json:"cursors"`
}

func (c cursorList) clone() cursorList {
	c.Named = maps.Clone(c.Named)
	return c
}

const cursorsHead = "pingline cursors 1 crc32c %08x\n"

// load reads the file at path. Without one, nothing was ever trimmed if the log
// is ours alone; with one that is damaged, nobody knows.
func (c *cursors) load(path string, alone bool) error {
	c.path = path
	c.now = cursorList{Named: map[string]Cursor{}}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if alone {
			c.now.Trimmed.Next = 1
		}
		err = nil
	} else if err == nil {
		err = c.now.decode(b)
	}
	c.kept = c.now.clone()
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}

func (c *cursorList) decode(b []byte) error {
	head, body, _ := bytes.Cut(b, []byte("\n"))
	if string(head)+"\n" != fmt.Sprintf(cursorsHead, crc32.Checksum(body, castagnoli)) {
		return errors.New("checksum does not match")
	}
	var list cursorList
	if err := json.Unmarshal(body, &list); err != nil {
		return err
	}
	*c = list
	if c.Named == nil {
		c.Named = map[string]Cursor{}
	}
	return nil
}

func (c *cursorList) encode() ([]byte, error) {
	body, err := json.MarshalIndent(c, "", "\t")
	if err != nil {
		return nil, err
	}
	return append(fmt.Appendf(nil, cursorsHead, crc32.Checksum(body, castagnoli)), body...), nil
}

// close writes the file for the last time.
func (c *cursors) close() error {
	err := c.keep()
	c.keeping.Lock()
	defer c.keeping.Unlock()
	c.closed = true
	return err
}

// keep writes the file if anything has changed.
func (c *cursors) keep() error {
	c.keeping.Lock()
	defer c.keeping.Unlock()
	if c.closed {
		return ErrClosed
	}
	c.mu.Lock()
	list, dirty := c.now.clone(), c.dirty
	c.dirty = false
	c.mu.Unlock()
	if !dirty {
		return nil
	}
	b, err := list.encode()
	if err == nil {
		err = writeAside(c.path, b)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.dirty = true
		return fmt.Errorf("keep cursors in %s: %w", c.path, err)
	}
	c.kept = list
	return nil
}

func (c *cursors) set(name string, to Cursor) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if was, ok := c.now.Named[name]; !ok || was != to {
		c.now.Named[name], c.dirty = to, true
	}
}

func (c *cursors) setTrimmed(to Cursor) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now.Trimmed, c.dirty = to, true
}

func (c *cursors) trimmed() Cursor {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now.Trimmed
}

// furthest returns the cursor that is furthest on.
func (c *cursors) furthest() Cursor {
	c.mu.Lock()
	defer c.mu.Unlock()
	far := c.now.Trimmed
	for _, at := range c.now.Named {
		if at.Next > far.Next {
			far = at
		}
	}
	return far
}

// nearest returns the lowest position of any cursor, in memory or kept, and
// whether there is one.
func (c *cursors) nearest() (next uint64, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, list := range [...]map[string]Cursor{c.now.Named, c.kept.Named} {
		for _, at := range list {
			if !ok || at.Next < next {
				next, ok = at.Next, true
			}
		}
	}
	return next, ok
}

// at returns a cursor that stands at number.
func (c *cursors) at(number uint64) (Cursor, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now.Trimmed.Next == number {
		return c.now.Trimmed, true
	}
	for _, list := range [...]map[string]Cursor{c.now.Named, c.kept.Named} {
		for _, at := range list {
			if at.Next == number {
				return at, true
			}
		}
	}
	return Cursor{}, false
}

// Cursor returns the cursor called name, if there is one.
func (l *Log) Cursor(name string) (Cursor, bool) {
	l.cursors.mu.Lock()
	defer l.cursors.mu.Unlock()
	at, ok := l.cursors.now.Named[name]
	return at, ok
}

// SetCursor sets the cursor called name, in memory; about a second later, or at
// the next KeepCursors, it is kept. Its totals are those before record to.Next.
func (l *Log) SetCursor(name string, to Cursor) { l.cursors.set(name, to) }

// DropCursor forgets the cursor called name.
func (l *Log) DropCursor(name string) {
	l.cursors.mu.Lock()
	defer l.cursors.mu.Unlock()
	if _, ok := l.cursors.now.Named[name]; ok {
		delete(l.cursors.now.Named, name)
		l.cursors.dirty = true
	}
}

// Kept returns the cursors as they are on disk: where the readers would go on
// after a crash.
func (l *Log) Kept() map[string]Cursor {
	l.cursors.mu.Lock()
	defer l.cursors.mu.Unlock()
	return maps.Clone(l.cursors.kept.Named)
}

// KeepCursors makes the cursors durable.
func (l *Log) KeepCursors() error { return l.cursors.keep() }

const keepEvery = time.Second

// keepCursors keeps the cursors until the log is closed. It complains once each
// time that begins to fail.
func (l *Log) keepCursors() {
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	for failing := false; ; {
		select {
		case <-l.life.Done():
			return
		case <-tick.C:
		}
		err := l.KeepCursors()
		if err != nil && !failing {
			l.cfg.Logger.Warn("the cursors of the log cannot be kept", "error", err)
		}
		failing = err != nil
	}
}

// TrimKept drops the records that every cursor has passed, kept or in memory.
// Without any cursor it drops nothing.
func (l *Log) TrimKept() error {
	next, ok := l.cursors.nearest()
	if !ok {
		return nil
	}
	return l.Trim(next)
}

// passed returns the number before which every cursor has passed, and whether
// there are records before it.
func (l *Log) passed() (before uint64, ok bool) {
	next, ok := l.cursors.nearest()
	l.mu.Lock()
	defer l.mu.Unlock()
	before = min(next, l.kept)
	return before, ok && before > l.first
}

// Trim drops records before number before, when they are worth it: to drop few
// costs as much as to drop many, so while the log is not half full it waits
// until they make up a hundredth of it. The last record always stays, as it
// carries the totals.
func (l *Log) Trim(before uint64) error {
	few := l.Bytes()-l.BytesSince(before) < l.limit/128
	if few && l.Bytes() <= l.limit/2 {
		return nil
	}
	return l.trimTo(l.life, before)
}

func (l *Log) trimTo(ctx context.Context, before uint64) error {
	l.trimming.Lock()
	defer l.trimming.Unlock()
	l.mu.Lock()
	st, numbers := l.store, l.numbering
	before = min(before, l.kept)
	none := l.closed || before <= l.first
	l.mu.Unlock()
	if none {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if err := l.trim(ctx, st, before, numbers.seq(before)); err != nil {
		return fmt.Errorf("trim the log before %d: %w", before, err)
	}
	return nil
}

// trim drops the records before number before, whose sequence is seq at least.
// That they are gone on purpose is on disk first.
func (l *Log) trim(ctx context.Context, st *store, before, seq uint64) error {
	r, err := st.record(ctx, seq)
	if err != nil {
		return err
	}
	if r == nil {
		return errors.New("the first record to stay cannot be read")
	}
	totals := r.Before
	if r.Number > before {
		if totals, err = l.totalsBefore(ctx, st, before, totals); err != nil {
			return err
		}
	}
	l.cursors.setTrimmed(Cursor{Next: before, Totals: totals})
	if err := l.cursors.keep(); err != nil {
		return err
	}
	if err := st.purge(ctx, r.seq); err != nil {
		return err
	}
	for {
		state, err := st.state(ctx)
		if err != nil {
			return err
		}
		if l.trimmed(st, r.Number, state.LastSeq, int64(state.Bytes)) {
			return nil
		}
	}
}

// trimmed takes note that the log begins at number first and takes bytes up to
// sequence seq. It reports false if an append has gone beyond that meanwhile.
func (l *Log) trimmed(st *store, first, seq uint64, bytes int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.store == st {
		if seq < l.counted {
			return false
		}
		l.first, l.bytes, l.counted = first, bytes, seq
	}
	return true
}
