// Package batch cuts the log into batches for stores.
//
// A Batcher reads commits in order, takes the entries of a lane, and encodes each
// once, as its store wants it; beside a row it keeps the entry's bytes in the log. A
// batch ends when it is full or when its first commit has waited long enough, also
// inside a commit, and has the cursor from which to read on once all of its rows are
// delivered. It counts the entries that the log has lost.
//
// It writes nothing to a store and moves no cursor, and it does not bound how many
// batches there are. Batchers and batches are not safe for concurrent use; the cache of
// routes that Batchers share is.
package batch

import (
	"reflect"
	"time"

	"pingline"
	"pingline/partition"
	"pingline/queue"
	"pingline/sink/store"
)

// Encoded is rows on their way to a shard, and the cursor behind them.
type Encoded struct {
	Rows    []byte          // as the store of its shard encodes them, in sequence
	ends    []int           // where in Rows each row ends
	At      []int64         // ts of each row, ms
	entries entries         // of the rows, in the form of the log
	Keys    []partition.Key // key by which each row is spread; empty if no other shard can stand in
	Fixed   []bool          // whether no other shard can stand in for a row; as many as Keys
	Taken   []bool          // whether another shard has taken a row; empty if none has

	From    uint64       // number of the first commit that is held until all rows are delivered
	Cursor  queue.Cursor // to be saved once all rows are delivered
	Since   time.Time    // when its oldest commit was written; zero if it passes nothing
	Damaged uint64       // lost entries that the batch passes, if its lane counts them
	Erased  uint64       // entries that the batch passes, and that are not to be written any more

	GivenUp uint64 // rows that will not be written
	Dressed int    // rows of pings with attributes

	numbers []int  // row numbers, from 0; at least as many as rows
	picked  []byte // the last result of pick, if it had to copy

	Counted int // bytes of the batch in the account of its lane's shard
}

const (
	// CopiesWritten is how many copies of its rows a write makes: for the client library, and
	// compressed.
	CopiesWritten = 2

	// MostTimes is how many times the bytes of its rows a full batch takes while it is
	// written: the rows, their entries in the log's form, the numbers of each row, and the
	// copies.
	MostTimes = 4
)

// Size returns how many bytes b takes.
func (b *Encoded) Size() int {
	const word = 8
	return cap(b.Rows) + cap(b.picked) + cap(b.Fixed) + cap(b.Taken) + word*(cap(b.ends)+cap(b.At)+cap(b.Keys)+cap(b.numbers)) + b.entries.size()
}

// Reset empties b, and keeps its memory.
func (b *Encoded) Reset() {
	*b = Encoded{
		Rows: b.Rows[:0], ends: b.ends[:0], At: b.At[:0], Keys: b.Keys[:0], Fixed: b.Fixed[:0], Taken: b.Taken[:0],
		entries: entries{bytes: b.entries.bytes[:0], ends: b.entries.ends[:0], written: b.entries.written[:0]},
		numbers: b.numbers, picked: b.picked, Counted: b.Counted,
	}
}

// Len returns how many rows b has.
func (b *Encoded) Len() int { return len(b.ends) }

// All returns the numbers of all rows. It is valid until the next reset.
func (b *Encoded) All() []int {
	for i := len(b.numbers); i < b.Len(); i++ {
		b.numbers = append(b.numbers, i)
	}
	return b.numbers[:b.Len()]
}

// Pick returns the bytes of rows, which are in order, as numbers. It is valid
// until the next call.
func (b *Encoded) Pick(rows []int) []byte {
	if len(rows) == 0 {
		return nil
	}
	first, last := rows[0], rows[len(rows)-1]
	if last-first == len(rows)-1 {
		return b.Rows[b.start(first):b.ends[last]]
	}
	b.picked = b.picked[:0]
	for _, i := range rows {
		b.picked = append(b.picked, b.Rows[b.start(i):b.ends[i]]...)
	}
	return b.picked
}

// PickFor is Pick for a store of a kind that may differ from that for which rows are encoded.
func (b *Encoded) PickFor(to, encoded store.Store, rows []int) []byte {
	if reflect.TypeOf(to) == reflect.TypeOf(encoded) {
		return b.Pick(rows)
	}
	b.picked = b.picked[:0]
	for _, i := range rows {
		e := b.Entry(i)
		b.picked = to.AppendRow(b.picked, &e)
	}
	return b.picked
}

// start returns where in Rows row i begins.
func (b *Encoded) start(i int) int {
	if i == 0 {
		return 0
	}
	return b.ends[i-1]
}

// Entry returns the entry of row i, which shares the memory of b.
func (b *Encoded) Entry(i int) pingline.Entry { return b.entries.at(i) }

// DressedOf returns how many of rows are pings with attributes.
func (b *Encoded) DressedOf(rows []int) (n uint64) {
	if b.Dressed == 0 {
		return 0
	}
	for _, i := range rows {
		if e := b.Entry(i); e.Attrs != "" {
			n++
		}
	}
	return n
}

// Take records that a shard has taken rows of a batch that several shards
// write.
func (b *Encoded) Take(rows []int) {
	if len(b.Taken) == 0 {
		b.Taken = append(b.Taken, make([]bool, b.Len())...)
	}
	for _, i := range rows {
		b.Taken[i] = true
	}
}

// Untaken returns the numbers in rows of rows that no shard has taken yet.
func (b *Encoded) Untaken(rows []int) (rest []int) {
	if len(b.Taken) == 0 {
		return rows
	}
	for _, i := range rows {
		if !b.Taken[i] {
			rest = append(rest, i)
		}
	}
	return rest
}

// entries are rows in the form of the log: a row that a store refuses is kept in
// this form, which belongs to no store.
type entries struct {
	bytes   []byte
	ends    []int32 // where in bytes each entry ends
	written []int64 // time of the commit of each entry, ms
}

func (s *entries) size() int { return cap(s.bytes) + 4*cap(s.ends) + 8*cap(s.written) }

// add takes an entry as it stands in a commit written at.
func (s *entries) add(raw []byte, at int64) {
	s.bytes = append(s.bytes, raw...)
	s.ends = append(s.ends, int32(len(s.bytes)))
	s.written = append(s.written, at)
}

// at returns entry i, which shares the memory of s.
func (s *entries) at(i int) (e pingline.Entry) {
	start := int32(0)
	if i > 0 {
		start = s.ends[i-1]
	}
	_, _ = pingline.DecodeEntry(&e, s.bytes[start:s.ends[i]], s.written[i]) // it was decoded before without an error
	return e
}

// add appends an entry, whose bytes are raw, of a commit written at written,
// ms.
func (b *Encoded) add(e *pingline.Entry, to store.Store, raw []byte, written int64) {
	b.entries.add(raw, written)
	at := e.At
	switch {
	case e.IsLine():
		var ok bool
		if at, ok = e.LineTime(); !ok {
			at = time.Now().UnixMilli()
		}
	case e.Point != nil:
		at = e.Point.At
	}
	b.Rows = to.AppendRow(b.Rows, e)
	if e.Attrs != "" {
		b.Dressed++
	}
	b.ends = append(b.ends, len(b.Rows))
	b.At = append(b.At, at)
}
