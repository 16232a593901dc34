package kafka

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"

	"pingline/queue/driver"
)

// register is a value that is replaced by compare-and-set, in a partition. The package doc says
// which of its messages are valid. A revision is the offset of a value, and 1.
type register struct {
	at   *partition
	tidy int // saves after which values that were replaced are deleted

	mu    sync.Mutex // guards the fields below and is held during requests; taken before partition.mu
	next  int64      // offset of the first message that is not read
	id    [idBytes]byte
	value []byte
	rev   uint64        // 0 if there is no value
	mine  [idBytes]byte // id of the value that is being saved
	won   uint64        // its revision, once it is known to be valid: the next may have replaced it by then
	saves int           // since older was set
	bytes int           // of them
	older uint64        // a revision of a while ago: values before it are deleted next, so that those who save now find theirs
	base  bool          // the next value is valid, as those before it are deleted
	begun int           // how often it was read anew
}

// A message has as its key the id of its value, and the id of the value that it replaces, zeros
// if there was none.
const (
	idBytes = 16

	tidySaves = 512     // saves after which values that were replaced are deleted
	tidyLeast = 32      // or after so many,
	tidyBytes = 4 << 20 // once they have so many bytes
)

// Load implements driver.Register.
func (r *register) Load(ctx context.Context) ([]byte, uint64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.read(ctx, 0); err != nil {
		return nil, 0, err
	}
	return r.value, r.rev, nil
}

// read reads all messages there are, and at least up to an offset. If messages that were not read
// are deleted by then, it begins again, with the value that is the first by now.
func (r *register) read(ctx context.Context, to int64) error {
	for {
		if r.next == 0 {
			start, err := r.at.find(ctx, atStart)
			if err != nil {
				return err
			}
			r.next, r.base = start, start > 0
		}
		got, err := r.at.fetch(ctx, r.next, fetchBytes)
		if errors.Is(err, errOutside) {
			r.next, r.id, r.value, r.rev, r.begun = 0, [idBytes]byte{}, nil, 0, r.begun+1
			if err := wait(ctx); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		for _, m := range got.list {
			r.take(m)
		}
		r.next = got.next
		if r.next >= max(to, got.end) {
			return nil
		}
		if err := wait(ctx); err != nil {
			return err
		}
	}
}

// take judges a message. The base is valid whatever it replaces.
func (r *register) take(m *kgo.Record) {
	if len(m.Key) != 2*idBytes {
		return
	}
	if r.base || [idBytes]byte(m.Key[idBytes:]) == r.id {
		r.base = false
		if [idBytes]byte(m.Key) == r.mine {
			r.won = uint64(m.Offset) + 1
		}
		r.id, r.value, r.rev = [idBytes]byte(m.Key), bytes.Clone(m.Value), uint64(m.Offset)+1 // m holds all that came with it
	}
}

// Save implements driver.Register.
func (r *register) Save(ctx context.Context, value []byte, rev uint64) (uint64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if rev != r.rev || r.next == 0 {
		if err := r.read(ctx, 0); err != nil {
			return 0, err
		}
	}
	if rev != r.rev {
		return 0, fmt.Errorf("%w: it has revision %d, not %d", driver.ErrChanged, r.rev, rev)
	}
	r.won = 0
	_, _ = rand.Read(r.mine[:]) // never fails
	at, err := r.at.produce(ctx, driver.RequestTimeout, slices.Concat(r.mine[:], r.id[:]), value)
	if err != nil {
		return 0, err
	}
	begun := r.begun
	if err := r.read(ctx, at+1); err != nil {
		return 0, err
	}
	switch {
	case r.won > 0:
	case r.begun != begun:
		return 0, fmt.Errorf("the value is replaced by another, of revision %d: it may have been valid before", r.rev)
	default:
		return 0, fmt.Errorf("%w: it has revision %d", driver.ErrChanged, r.rev)
	}
	r.saves, r.bytes = r.saves+1, r.bytes+len(value)
	if r.older == 0 || r.saves >= r.tidy || r.saves >= tidyLeast && r.bytes >= tidyBytes {
		if r.older > 0 {
			_ = r.at.trim(ctx, int64(r.older-1)) // the next will do it
		}
		r.older, r.saves, r.bytes = r.won, 0, 0
	}
	return r.won, nil
}
