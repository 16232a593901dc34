package queue

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"math"
	"os"
	"sync"

	"pingline/queue/disk"
)

// Cursor is a position in the log: the number of the record to read next, and
// the totals before it.
type Cursor struct {
	Next   uint64 `json:"next"`
	Totals Totals `json:"totals"`
	Passed uint64 `json:"passed,omitempty"` // a count of its owner up to here; the log does not look at it
}

// Change is a set of changes to the cursors and notes of the log. They are kept
// together or not at all.
type Change struct {
	Set   map[string]Cursor // cursors to set, by name
	Drop  []string          // cursors to forget
	Notes map[string]string // notes to set, by name; "" forgets
}

// cursors are named positions, kept in a small file that is written anew at most
// about once a second: a line with the checksum of all behind it, then JSON.
type cursors struct {
	path string

	keeping sync.Mutex // held while the file is written; taken before mu
	closed  bool       // the file belongs to another process by now; guarded by keeping

	mu    sync.Mutex // guards the fields below; nothing else is locked under it
	now   cursorList // in memory
	kept  cursorList // on disk
	dirty bool       // now and kept differ

	pins    map[uint64]uint64 // by Pin, the number from which on records stay
	lastPin uint64
}

type cursorList struct {
	// Trimmed is how far the log was trimmed: records before it are gone on
	// purpose. Next is 0 if that is not known.
	Trimmed Cursor            `json:"trimmed"`
	Named   map[string]Cursor `json:"cursors"`
	Notes   map[string]string `json:"notes,omitempty"`
}

func (c cursorList) clone() cursorList {
	c.Named, c.Notes = maps.Clone(c.Named), maps.Clone(c.Notes)
	return c
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const (
	cursorsForm = 1
	cursorsHead = "pingline cursors %d crc32c %08x\n"
)

// load reads the file at path. If there is none and no other node has had the log,
// nothing was ever trimmed; if it is damaged, the extent of trimming is not known.
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
	var form int
	var sum uint32
	if _, err := fmt.Sscanf(string(head)+"\n", cursorsHead, &form, &sum); err != nil || sum != crc32.Checksum(body, castagnoli) {
		return errors.New("checksum does not match")
	}
	if form > cursorsForm {
		return fmt.Errorf("cursors of form %d, this program knows %d: %w", form, cursorsForm, ErrNewer)
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
	return append(fmt.Appendf(nil, cursorsHead, cursorsForm, crc32.Checksum(body, castagnoli)), body...), nil
}

// touch writes the file if there is none.
func (c *cursors) touch() error {
	if _, err := os.Stat(c.path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	c.mu.Lock()
	c.dirty = true
	c.mu.Unlock()
	return c.keep()
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
		err = disk.WriteAside(c.path, b)
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

func (c *cursors) change(ch Change) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dirty = true
	for _, name := range ch.Drop {
		delete(c.now.Named, name)
	}
	maps.Copy(c.now.Named, ch.Set)
	for name, text := range ch.Notes {
		if c.now.Notes == nil {
			c.now.Notes = make(map[string]string)
		}
		c.now.Notes[name] = text
		if text == "" {
			delete(c.now.Notes, name)
		}
	}
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

// forget drops all cursors. The notes stay, since they do not depend on positions.
func (c *cursors) forget(trimmed Cursor) {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.now.Named)
	if trimmed.Next > c.now.Trimmed.Next {
		c.now.Trimmed = trimmed
	}
	c.dirty = true
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

// nearest returns the lowest position of any cursor, in memory or kept, or of a pin, and
// false if there is no cursor.
func (c *cursors) nearest() (next uint64, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	next, ok = c.lowest()
	if ok {
		for _, pinned := range c.pins {
			next = min(next, pinned)
		}
	}
	return next, ok
}

// held is nearest without some cursors, and the largest number if nothing holds the log.
func (c *cursors) held(but func(cursor string) bool) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := uint64(math.MaxUint64)
	for _, list := range [...]map[string]Cursor{c.now.Named, c.kept.Named} {
		for name, at := range list {
			if at.Next < next && !but(name) {
				next = at.Next
			}
		}
	}
	for _, pinned := range c.pins {
		next = min(next, pinned)
	}
	return next
}

// lowest is nearest without pins. The caller holds mu.
func (c *cursors) lowest() (next uint64, ok bool) {
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
