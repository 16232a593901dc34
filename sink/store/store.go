// Package store is the contract between the sink and a place that keeps pings.
//
// To add a store: a folder beside influx that implements [Store], and [Reader]
// if it can be queried; a test there that calls storetest.Run against a real
// server; a line in the table of stores; a page in docs. The sink gives it
// lanes, batches, retries, a circuit breaker, hand-over and dead letters, and
// needs nothing else from it.
//
// The contract does not ask a store for order or for transactions, nor for a delete: see
// [Eraser]. It asks that a row written twice is one row. Two pings are the same row if cell, device, late,
// corrected, rider, ts and [pingline.Entry.Nano] are the same; two points if name, tags
// and At are. If the same row is written with other content, the last write stays.
//
// A log of an earlier version can hold a ready line: an entry with Line and
// without a ping or a point. A store that does not speak InfluxDB's line
// protocol keeps its text, or refuses it as a bad row; it must not panic.
package store

import (
	"context"
	"time"

	"pingline"
)

// Store encodes rows and writes batches of them. It is safe for concurrent use,
// also beside other Stores of the same place: several shards or routes may name
// a place.
type Store interface {
	// AppendRow appends e, a ping or a point, as a row. It depends on e alone,
	// does not keep it, and never fails: a row that the store would not take is
	// refused by Write. A row shows where it ends, since Write gets many rows
	// in a sequence. It takes at most MaxRow bytes.
	AppendRow(dst []byte, e *pingline.Entry) []byte

	// Write makes an attempt to make rows durable and returns nil if all of them are.
	// Any other error wraps a *Refusal, or ctx's error if ctx ended, before or during
	// the write; some rows may be stored then. Write neither keeps nor changes rows.
	// Without any rows it finds out whether a write would be taken.
	Write(ctx context.Context, rows Rows) error

	// Close lets go of connections, once nothing is being written or read.
	Close() error
}

// AttrsDropper is implemented by stores that may keep a ping without its attributes. Those
// pings are counted, and an operator is told.
type AttrsDropper interface {
	// DropsAttrs returns why rows are written without attributes, and which statement would
	// change that, for an operator; "" if they are written with them. It is asked behind a
	// write that succeeded.
	DropsAttrs() string
}

// AttrsLoser is implemented by stores that leave out an attribute for which they would have to
// refuse the whole ping. Those pings are counted, and an operator is told.
type AttrsLoser interface {
	// AttrsLost returns how many pings were written without some of their attributes, and why
	// the last was, with advice.
	AttrsLost() (pings uint64, why string)
}

// MaxRow bounds a row, in bytes.
const MaxRow = pingline.MaxReadyLine + 64

// Rows are rows as AppendRow made them, each directly behind the last.
type Rows struct {
	Bytes []byte // valid during the call only
	N     int    // number of rows
}

// Reader is implemented by stores that can be queried. A log or a queue cannot.
type Reader interface {
	// Points calls each for every stored ping that q selects, until each returns an error,
	// which it passes on. The entry has all that the store keeps of it: the ping, its cell,
	// Skipped, Late, Corrected and Apart, with Verdict Accepted; it is valid only during the
	// call. nano is the ns of its ms at which a point that is Apart is stored, [0, 999999].
	// Rows of one series (cell, device, late, corrected, rider) come in order of time, or in
	// the opposite order if q.Newest. Rows of other writers that have no position are left
	// out. Memory does not grow with the number of points. A place that is empty has none,
	// and that is no error; any other error says why the store cannot be read, or is ctx's.
	Points(ctx context.Context, q Query, each func(e *pingline.Entry, nano int64) error) error
}

// PointReader is implemented by stores that can be asked for points that are no pings.
type PointReader interface {
	// PointsNamed calls each for every stored point of a name with from <= At < to, ms
	// since 1970, that has all of tags, in any order and until each returns an error, which it passes on. The
	// point is as it was written, with its fields in order of key; it is valid only
	// during the call. A name of which there is nothing has no points, and that is no
	// error. Memory does not grow with the number of points.
	PointsNamed(ctx context.Context, name string, from, to int64, each func(p *pingline.Point) error, tags ...pingline.Tag) error
}

// Query selects stored pings with From <= ts < To.
type Query struct {
	From, To int64  // ms since 1970
	FromNano int64  // within From's ms, the first ns whose points are selected, [0, 999999]
	Rider    string // "" means every rider
	Device   string // "" means every device, and pings without a device

	Limit  int  // most points of a series; 0 means all
	Newest bool // the newest points of each series, newest first, instead of the oldest
}

// All returns the query for every ping.
func All() Query { return Query{From: minMilli, To: maxMilli} }

// The instants that a 64-bit number of ns can express, ms.
const (
	maxMilli = (1<<63 - 1) / pingline.NanosPerMilli
	minMilli = -maxMilli
)

// Eraser is implemented by stores from which a rider can be removed.
type Eraser interface {
	// Erase deletes all pings of a rider, at any time and of any writer, and returns nil
	// once no answer shows one. It may be called again.
	Erase(ctx context.Context, rider string) error
}

// Noter is implemented by stores that can tell an operator of something that does
// not keep writes from being made.
type Noter interface {
	// Notes returns a sentence for each thing to tell. It does not block.
	Notes() []string
}

// Lone is implemented by stores over which pings cannot be spread together with more stores.
type Lone interface {
	// Lone returns why, a clause.
	Lone() string
}

// Sequencer is implemented by stores that keep the order in which rows come.
type Sequencer interface {
	// Sequential reports whether a batch of a lane is to be written only once the batch
	// before it is.
	Sequential() bool
}

// Retainer is implemented by stores that delete rows by their age.
type Retainer interface {
	// Retention returns how long rows are kept, 0 for ever, and false if the store
	// does not say. It may answer from a cache of a minute.
	Retention(ctx context.Context) (keep time.Duration, told bool)
}
