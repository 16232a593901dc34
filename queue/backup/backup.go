// Package backup copies a log that is in use, with the files beside it, to a stream, and
// makes a directory from such a stream.
//
// A backup has a number: that of its last record. It holds the cursors and notes of a
// moment, all records that these cursors need, up to the number, and the files of the
// directory as they were between that moment and the number. So whatever the files rest on is
// in the records, and whatever a cursor has passed is not needed. Records that the log had
// lost are lost in the copy, too, with the same numbers and totals.
//
// A stream that was cut off or changed is refused: records carry checksums, files and JSON are
// summed up at the end. Nothing is promised for a directory while two processes start on
// copies of it.
//
// The stream is a tar archive, in this order:
//
//	backup.json           form, node, version, time
//	data/…                the files
//	log.json              first and last number, cursors, notes
//	log/NUMBER.records    records from that number on: u32 length, record; …, little endian
//	log/NUMBER.lost       records that are lost, from that number on: JSON
//	end.json              counts, SHA-256 of each file, and of the JSON
package backup

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"time"

	"pingline/queue"
)

// Form is the form of the streams that Write makes.
const Form = 1

// LogDir is the directory of the log in a data directory. Its files are not copied one by one.
const LogDir = "log"

// recovered is the directory that file systems keep where they are mounted.
const recovered = "lost+found"

// foreign reports whether the files of a directory are not copied one by one.
func foreign(dir string) bool { return dir == LogDir || dir == aside || dir == recovered }

// Names of the entries of the archive.
const (
	headName   = "backup.json"
	dataPrefix = "data/"
	logName    = "log.json"
	logPrefix  = "log/"
	records    = ".records"
	lost       = ".lost"
	endName    = "end.json"
)

// Origin says where a backup comes from.
type Origin struct {
	Form    int       `json:"form"`
	Node    string    `json:"node"`
	Version string    `json:"version"`
	Made    time.Time `json:"made"`
}

// contents are the log's part of a backup.
type contents struct {
	First   uint64                  `json:"first"` // number of the first record, Last+1 if there is none
	Last    uint64                  `json:"last"`
	Before  queue.Totals            `json:"before"` // totals before the first
	Cursors map[string]queue.Cursor `json:"cursors"`
	Notes   map[string]string       `json:"notes,omitempty"`
}

// lostRun is a run of records that the log had lost.
type lostRun struct {
	From  uint64       `json:"from"`
	To    uint64       `json:"to"`
	After queue.Totals `json:"after"` // totals behind them
}

// closing ends a backup.
type closing struct {
	Records uint64            `json:"records"`
	Lost    uint64            `json:"lost"`
	Sums    map[string]string `json:"sha256"`                // of the files, by name
	Texts   string            `json:"json_sha256,omitempty"` // textSum of all JSON before; early backups have none
}

// textSum is a checksum of entries with JSON, in order.
type textSum [sha256.Size]byte

func (t *textSum) add(name string, text []byte) {
	of := sha256.Sum256(text)
	*t = sha256.Sum256(append(append(t[:], of[:]...), name...))
}

func (t *textSum) String() string { return hex.EncodeToString(t[:]) }

// Manifest describes a backup.
type Manifest struct {
	Origin
	First   uint64 `json:"first"` // number of the first record
	Last    uint64 `json:"last"`  // number of the backup
	Records uint64 `json:"records"`
	Lost    uint64 `json:"lost"` // records among them that the log had lost
	Files   int    `json:"files"`
	Bytes   int64  `json:"bytes"` // of records and files
}

var (
	// ErrIncomplete is wrapped where a stream ends too early.
	ErrIncomplete = errors.New("the backup is cut off: make it again")
	// ErrDamaged is wrapped where a stream was changed, or is none of ours.
	ErrDamaged = errors.New("not a whole backup")
)
