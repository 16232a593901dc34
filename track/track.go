// Package track reads and writes recorded tracks: the pings of riders in files, as
// NDJSON and CSV with the fields of POST /v1/pings, as GPX and as GeoJSON. It also reads
// the tables of other loggers, JSON as POST /v1/pings takes it, a Google Timeline, and
// the FIT files of sports watches. A Path is a track as a reader of the stored pings
// draws it, and measures how far a ping is off.
//
// The package promises that a ping read is as valid as a posted ping, but of any age;
// that a refusal names file, line and field, and does not stop it from reading on; and
// that no file, however long or broken, makes it use more than a few MiB, or several
// times 16 MiB for a line of GeoJSON that long.
package track

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"

	"pingline"
	"pingline/track/fit"
)

// Reader reads the pings of a file in order. It is not safe for concurrent use.
type Reader struct {
	format format
	form   Form
	file   string
	closer func() error
	line   int   // in which the last ping started
	failed error // the error that ended the reader, or io.EOF
}

// format reads pings in a form. Next returns the line in which the ping starts, from
// 1, and an error wrapping pingline.ErrInvalid for a ping that is refused.
type format interface {
	next(p *pingline.Ping) (raw []byte, line int, err error)
	header() []byte
}

// FileError is an error in a line of a file, or in a record of a FIT file, which has no
// lines.
type FileError struct {
	File string
	Line int   // from 1
	Err  error // a *pingline.FieldError if it is about a field

	record bool // Line counts records
}

func (e *FileError) Error() string {
	if e.record {
		return fmt.Sprintf("%s record %d: %v", e.File, e.Line, e.Err)
	}
	return fmt.Sprintf("%s line %d: %v", e.File, e.Line, e.Err)
}

func (e *FileError) Unwrap() error { return e.Err }

// Open opens a file of recorded pings, compressed by gzip or not. The form is told by
// the end of the name (.ndjson, .jsonl, .json; .csv; .gpx; .geojson; .fit; each also
// with .gz), or else by the first bytes. JSON may be a ping a line, or arrays and objects
// over any number of lines, or GeoJSON or a Google Timeline by its keys.
func Open(path string) (*Reader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	r, err := NewReader(f, path)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	r.closer = f.Close
	return r, nil
}

// NewReader returns a Reader of r, as Open does for a file of the name file. Closing
// it does not close r.
func NewReader(r io.Reader, file string) (*Reader, error) {
	in := bufio.NewReaderSize(r, bufferSize)
	if magic, _ := in.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		zip, err := gzip.NewReader(in)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		in = bufio.NewReaderSize(zip, bufferSize)
	}
	if mark, _ := in.Peek(3); string(mark) == "\ufeff" {
		if _, err := in.Discard(3); err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
	}
	t := &Reader{form: formOf(file, in), file: file, closer: func() error { return nil }}
	switch t.form {
	case GPX:
		t.format = newGPX(in, file)
	case CSV:
		csv, err := newCSV(in, file)
		if err != nil {
			return nil, &FileError{File: file, Line: csv.line, Err: err}
		}
		t.format = csv
	case GeoJSON:
		t.format = newGeoJSON(in, file)
	case Timeline:
		t.format = newTimeline(in, file)
	case FIT:
		t.format = newFIT(in, file)
	case Document:
		t.format = newDocument(in)
	default:
		t.format = &ndjson{lines: lines{in: in}}
	}
	return t, nil
}

const bufferSize = 64 << 10

// formOf returns the form of a file, by the end of its name or else by its first bytes.
func formOf(file string, in *bufio.Reader) Form {
	switch ext := extension(file); ext {
	case ".gpx", ".csv", ".geojson", ".fit":
		return Form(ext[1:])
	case ".ndjson", ".jsonl", ".json":
		return formOfJSON(in)
	}
	start, _ := in.Peek(512) // the next read returns the error again
	if len(start) >= 12 && string(start[8:12]) == fit.Magic {
		return FIT
	}
	switch start = bytes.TrimLeft(start, " \t\r\n"); {
	case len(start) == 0 || start[0] == '{' || start[0] == '[':
		return formOfJSON(in)
	case start[0] == '<':
		return GPX
	}
	return CSV
}

// Next returns the next ping and, of NDJSON and CSV, its line as it is in the file,
// without the newline; the line is valid until the next call. If the ping is refused,
// Next returns the line and a *FileError wrapping pingline.ErrInvalid, and the next
// call goes on behind the line. Any other error, or io.EOF at the end of the file, is
// returned by all later calls.
func (r *Reader) Next() (p pingline.Ping, raw []byte, err error) {
	if r.failed != nil {
		return pingline.Ping{}, nil, r.failed
	}
	raw, line, err := r.format.next(&p)
	r.line = line
	switch {
	case err == nil:
		return p, raw, nil
	case err == io.EOF:
		r.failed = io.EOF
		return pingline.Ping{}, nil, io.EOF
	}
	err = &FileError{r.file, line, err, r.form == FIT}
	if !errors.Is(err, pingline.ErrInvalid) {
		r.failed, raw = err, nil
	}
	return pingline.Ping{}, raw, err
}

// Line returns the line of the file, from 1, that the ping of the last Next starts in.
func (r *Reader) Line() int { return r.line }

// Form returns the form of the file.
func (r *Reader) Form() Form { return r.form }

// Header returns the line of a CSV file that names its fields, and nil for other forms.
func (r *Reader) Header() []byte { return r.format.header() }

// Close closes the file.
func (r *Reader) Close() error {
	if c, ok := r.format.(io.Closer); ok {
		return errors.Join(c.Close(), r.closer())
	}
	return r.closer()
}

// lineError is an error about a whole line.
type lineError string

func (e lineError) Error() string { return string(e) }

func (e lineError) Unwrap() error { return pingline.ErrInvalid }
