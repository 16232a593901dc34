// Package driver is the contract between the log and the place that keeps its records: a
// stream of messages, beside it a value that is replaced by compare-and-set, and files. It
// knows bytes and sequences, and not the meaning of the bytes.
//
// Packages jetstream and kafka are such places, and queuetest is the suite that all of them
// pass. To add a place, write a Stream for it, and name it in queue's drivers.go.
package driver

import (
	"context"
	"errors"
	"io"
	"time"
)

// Errors that the log tells apart.
var (
	// ErrGoneOn is wrapped by Put when the stream has gone on behind the sequence that the
	// message was to follow: it is not stored there, and will not be.
	ErrGoneOn = errors.New("the stream has gone on")
	// ErrWriteFailed is wrapped by Put when a server in this process could not write: it
	// never writes again, and the stream has to be opened anew.
	ErrWriteFailed = errors.New("the embedded log could not write")
	// ErrChanged is wrapped by Save when the value to be replaced has changed, or the
	// servers are not sure.
	ErrChanged = errors.New("the record has changed meanwhile")
	// ErrBroken is wrapped by Get for a file of which the servers have not all, or other bytes.
	ErrBroken = errors.New("is not as it was written")
)

// Limits of a request other than Put.
const (
	RequestTimeout = 10 * time.Second // after which it fails
	AskAgain       = 2 * time.Second  // after which it is sent again
)

// Stream is a session with a stream of messages, each at a sequence: 1, or any number from which
// a stream begins, and rising by 1 in the order of the messages. Sequences are those of a session: only the
// number in a record is for good. When a session fails for good it is closed and a new session
// opened. All methods are safe for concurrent use.
//
// A message for which Put returned nil is durable, right behind the sequence it was to
// follow. A read may be incomplete: servers that lag behind, or have just found damage,
// leave messages out.
type Stream interface {
	// Ready creates or adopts the stream. Before it only Register may be used.
	Ready(ctx context.Context) error
	// Register returns the value beside the stream.
	Register(ctx context.Context) (Register, error)
	// Files returns the files beside the stream.
	Files(ctx context.Context) (FileStore, error)

	// MaxData returns how many bytes a message may hold.
	MaxData() int
	// Size returns how many bytes the stream grows by a message of n bytes that must
	// follow sequence after.
	Size(n int, after uint64) int64
	// MaxPad returns how many bytes of padding a message of n bytes takes at most: 0 if
	// padding is of no use there.
	MaxPad(n int) int
	// PadSize returns how many bytes the stream grows by the padding of a message.
	PadSize(pad int) int64

	// Put appends b, with pad bytes of padding, behind sequence after, within limit. When
	// it returns nil, b is durable at after+1. Any error but ErrGoneOn leaves open whether
	// b is durable, or will be, until a later Put has succeeded.
	Put(ctx context.Context, limit time.Duration, b []byte, pad int, after uint64) error

	// Next returns the first message at or behind sequence from that can be read, or
	// sequence 0 if it is told that there is none.
	Next(ctx context.Context, from uint64) (seq uint64, data []byte, err error)
	// Last returns the last message, as Next does.
	Last(ctx context.Context) (seq uint64, data []byte, err error)
	// Fetch returns the messages from seq on in order, about limit bytes of them, leaving
	// out the missing and the damaged. It may return none though there are some.
	Fetch(ctx context.Context, seq uint64, limit int) ([][]byte, error)
	// Bounds returns how far the stream reaches.
	Bounds(ctx context.Context) (*Bounds, error)
	// Purge deletes the messages before seq.
	Purge(ctx context.Context, seq uint64) error

	// Warning returns which risk the settings of the servers take, "" if none is known.
	Warning() string
	// Directory returns the directory of the messages in a server of this process, else "".
	Directory() string
	// Close ends the session: requests fail from then on, and messages still in flight to
	// a server of this process never land.
	Close()
	// Closed reports whether Close was called.
	Closed() bool
}

// Bounds are the first and the last sequence of a stream.
type Bounds struct {
	FirstSeq uint64
	LastSeq  uint64 // the next message must follow it
	Bytes    int64
	Missing  []uint64 // sequences between them, in order
	Epoch    uint64   // of an owner: the stream takes no records of lower epochs; 0 if it looks at none
}

// Register holds a value that is replaced by compare-and-set. It is safe for concurrent use.
type Register interface {
	// Load returns the value and its revision: revision 0 if it was never saved, no bytes
	// if it was deleted by hand. It may be out of date: only Save is certain.
	Load(ctx context.Context) (value []byte, rev uint64, err error)
	// Save replaces the value of revision rev, 0 if there is none, and returns the new
	// revision, which is higher. Any error but ErrChanged leaves open whether it is
	// replaced, or will be.
	Save(ctx context.Context, value []byte, rev uint64) (uint64, error)
}

// Teller is a Register that tells of changes at once.
type Teller interface {
	// Tell calls told with each value that somebody sends, before it is certain that it will be the
	// value, until stop is called. Some may be missed: Load is called from time to time all the same.
	Tell(told func(value []byte)) (stop func(), err error)
}

// FileStore has files by name. What is read is what was written, by its SHA-256. It is safe
// for concurrent use.
type FileStore interface {
	// Names returns whether there is a file of a name, for all of them.
	Names(ctx context.Context) (map[string]bool, error)
	// Put writes the file at path as name, in place of a file of that name. After an error
	// there may be a file that is broken.
	Put(ctx context.Context, name, path string) error
	// Get copies the file called name to w. The error of w is returned as it is.
	Get(ctx context.Context, name string, w io.Writer) error
	// Remove removes the file called name, if it is there.
	Remove(ctx context.Context, name string) error
	// Clean removes parts that belong to no file, which somebody has not written to the
	// end. Proof returns nil if nobody else may be writing, or began to since Clean was
	// called.
	Clean(ctx context.Context, proof func() error) error
}
