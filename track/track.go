// Package track reads and writes recorded tracks: the pings of riders in files, as
// NDJSON and CSV with the fields of POST /v1/pings, and as GPX. It reads tables as
// other loggers write them and JSON as POST /v1/pings takes it, too, and writes
// GeoJSON. It also has
// the reader's side of what is kept of them: how far off a ping is from the line
// between the stored ones, and a picture of that.
//
// The package promises that a ping read is as valid as one that was posted, of
// any age; that what it refuses is named by file, line and field, and does not
// stop it from reading on; and that no file, however long or broken, makes it
// use more than a few MiB.
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
)

// Reader reads the pings of one file in its order. It is not safe for
// concurrent use.
type Reader struct {
	format format
	form   Form
	file   string
	closer func() error
	failed error // what ended the reader, or io.EOF
}

// format reads pings in one form. It returns the line that the ping starts in,
// from 1, and an error wrapping pingline.ErrInvalid for one that is refused.
type format interface {
	next(p *pingline.Ping) (raw []byte, line int, err error)
	header() []byte
}

// FileError is what is wrong with a line of a file.
type FileError struct {
	File string
	Line int   // from 1
	Err  error // a *pingline.FieldError if it is about one field
}

func (e *FileError) Error() string { return fmt.Sprintf("%s line %d: %v", e.File, e.Line, e.Err) }

func (e *FileError) Unwrap() error { return e.Err }

// Open opens a file of recorded pings, compressed by gzip or not. The name's
// end tells the form (.ndjson, .jsonl, .json; .csv; .gpx; each also with .gz),
// and if it does not, the first character does. JSON may be a ping a line, or
// arrays and objects over any number of lines.
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

// NewReader returns a reader of what r has, as Open does for a file of the
// name file. Closing it does not close r.
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
			return nil, &FileError{file, csv.line, err}
		}
		t.format = csv
	case GeoJSON:
		return nil, fmt.Errorf("%s is GeoJSON, which is written and not read: give NDJSON, CSV or GPX", file)
	case Document:
		t.format = newDocument(in)
	default:
		t.format = &ndjson{lines: lines{in: in}}
	}
	return t, nil
}

const bufferSize = 64 << 10

// formOf returns the form of a file, by the end of its name or else by how it begins.
func formOf(file string, in *bufio.Reader) Form {
	switch ext := extension(file); ext {
	case ".gpx", ".csv", ".geojson":
		return Form(ext[1:])
	case ".ndjson", ".jsonl", ".json":
		return formOfJSON(in)
	}
	start, _ := in.Peek(512) // an error is met again when it is read
	switch start = bytes.TrimLeft(start, " \t\r\n"); {
	case len(start) == 0 || start[0] == '{' || start[0] == '[':
		return formOfJSON(in)
	case start[0] == '<':
		return GPX
	}
	return CSV
}

// Next returns the next ping and, of NDJSON and CSV, its line as it is in the
// file, without its end; the line is good until the next call. The error is an
// *Error wrapping pingline.ErrInvalid if this ping is refused: the line is
// returned with it and Next goes on behind it. After any other error, io.EOF at
// the end of the file, it returns the same again.
func (r *Reader) Next() (p pingline.Ping, raw []byte, err error) {
	if r.failed != nil {
		return pingline.Ping{}, nil, r.failed
	}
	raw, line, err := r.format.next(&p)
	switch {
	case err == nil:
		return p, raw, nil
	case err == io.EOF:
		r.failed = io.EOF
		return pingline.Ping{}, nil, io.EOF
	}
	err = &FileError{r.file, line, err}
	if !errors.Is(err, pingline.ErrInvalid) {
		r.failed, raw = err, nil
	}
	return pingline.Ping{}, raw, err
}

// Form returns the form of the file.
func (r *Reader) Form() Form { return r.form }

// Header returns the line of a CSV file that names its fields, nil of others.
func (r *Reader) Header() []byte { return r.format.header() }

// Close closes the file.
func (r *Reader) Close() error { return r.closer() }

// lineError is an error about a whole line.
type lineError string

func (e lineError) Error() string { return string(e) }

func (e lineError) Unwrap() error { return pingline.ErrInvalid }
