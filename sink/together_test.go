package sink

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pingline"
	"pingline/sink/store"
)

// plainShelf is a store in memory, with a form of rows of its own.
type plainShelf struct {
	form string

	mu    sync.Mutex
	dead  bool
	rows  map[string]bool // without their form
	other int             // rows of another form
}

func (s *plainShelf) AppendRow(dst []byte, e *pingline.Entry) []byte {
	return fmt.Appendf(dst, "%s %s %d %v\n", s.form, e.Rider, e.At, e.Late)
}

func (s *plainShelf) Write(_ context.Context, rows store.Rows) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead {
		return &store.Refusal{Kind: store.Retry, Err: errors.New("no answer")}
	}
	for row := range strings.Lines(string(rows.Bytes)) {
		plain, mine := strings.CutPrefix(strings.TrimSpace(row), s.form+" ")
		if !mine {
			s.other++
		}
		s.rows[plain] = true
	}
	return nil
}

func (s *plainShelf) Close() error { return nil }

func (s *plainShelf) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dead = true
}

// holds returns how many rows the store has, how many are of a different form, and whether a row is there.
func (s *plainShelf) holds(row string) (n, other int, there bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.rows), s.other, s.rows[row]
}

func (s *plainShelf) Points(context.Context, store.Query, func(*pingline.Entry, int64) error) error {
	return nil
}

// anotherShelf is of another kind.
type anotherShelf struct{ *plainShelf }

// A shard of another kind stands in for a shard that is down: rows are then in the form of the
// store that writes them.
func TestHandOverToAnotherKind(t *testing.T) {
	one, other := &plainShelf{form: "one", rows: make(map[string]bool)}, anotherShelf{&plainShelf{form: "other", rows: make(map[string]bool)}}
	w := testLog(t)
	s := testSink(t, w, nil, handing(t, ShardStore{"a", one}, ShardStore{"b", other}))
	start(t, s)
	before, during := mixed(1, 1000), mixed(2, 1000)
	w.commit(before...)
	drained(t, s)
	for _, shelf := range []*plainShelf{one, other.plainShelf} {
		if n, _, _ := shelf.holds(""); n == 0 {
			t.Fatalf("%s has no rows", shelf.form)
		}
	}
	one.kill()
	w.commit(during...)
	drained(t, s)
	balanced(t, s, w)
	for _, e := range homeOf(s, during, 0) {
		if row := fmt.Sprintf("%s %d %v", e.Rider, e.At, e.Late); e.Stored() {
			if _, _, there := other.holds(row); !there {
				t.Fatalf("%s is not in the shard that stands in", row)
			}
		}
	}
	for _, shelf := range []*plainShelf{one, other.plainShelf} {
		if _, n, _ := shelf.holds(""); n > 0 {
			t.Errorf("%s has %d rows in the form of another store", shelf.form, n)
		}
	}
}

// unreadableShelf cannot be read.
type unreadableShelf struct{ store.Store }

// lonelyShelf is alone in its set.
type lonelyShelf struct{ store.Store }

func (lonelyShelf) Lone() string { return "it is shy" }

func TestStoresThatGoTogether(t *testing.T) {
	one, other := ShardStore{"one", &plainShelf{}}, ShardStore{"other", anotherShelf{}}
	deaf, lone := ShardStore{"deaf", unreadableShelf{}}, ShardStore{"lone", lonelyShelf{}}
	for _, tt := range []struct {
		shards, beside []ShardStore
		says           string
	}{
		{shards: []ShardStore{one, other}},
		{shards: []ShardStore{other}, beside: []ShardStore{one}},
		{shards: []ShardStore{deaf, deaf}},
		{shards: []ShardStore{lone}, beside: []ShardStore{lone}},
		{[]ShardStore{one, deaf}, nil, "shard deaf: tracks cannot be read"},
		{[]ShardStore{one}, []ShardStore{deaf}, "shard deaf: tracks cannot be read"},
		{[]ShardStore{deaf}, []ShardStore{one}, "shard deaf: tracks cannot be read"},
		{[]ShardStore{lone, lone}, nil, "shard lone: it is shy"},
	} {
		err := Together(tt.shards, tt.beside...)
		if (err == nil) != (tt.says == "") || err != nil && !strings.HasPrefix(err.Error(), tt.says) {
			t.Errorf("%v beside %v: %v, want %q", tt.shards, tt.beside, err, tt.says)
		}
	}
	w := testLog(t)
	cfg := Config{Log: w.log, DeadLetterDir: filepath.Join(t.TempDir(), "deadletter"), BatchWait: time.Second, Logger: quiet}
	handing(t, one, deaf)(&cfg)
	if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), "shard deaf") {
		t.Errorf("a sink of both: %v", err)
	}
}
