package track

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"

	"pingline"
)

// table reads CSV: a header with columns named as the fields of POST /v1/pings, or as
// other loggers name them, and any further columns; then a ping a line. An empty value
// is unknown. Values may be quoted, but do not go over lines. The separator is a comma
// or, if the header has none, a semicolon or a tab. If the header has no rider, the
// rider is the name of the file.
type table struct {
	lines
	file    string // rider, if the table has no such column
	comma   byte
	head    []byte
	columns []column
	day     []byte // date of the line, if date and time are in separate columns
	values  [][]byte
	names   names
}

// newCSV reads the header. An empty file has no pings. An error is about the last line
// read.
func newCSV(in *bufio.Reader, file string) (*table, error) {
	t := &table{lines: lines{in: in}, file: nameOfFile(file), comma: ','}
	line, err := t.filled()
	if err == io.EOF {
		return t, nil
	}
	if err != nil {
		return t, err
	}
	t.head = bytes.Clone(line)
	if i := bytes.IndexAny(line, ",;\t"); i >= 0 && bytes.IndexByte(line, ',') < 0 {
		t.comma = line[i]
	}
	if t.values, err = t.split(nil, t.head); err != nil {
		return t, err
	}
	t.columns, err = columnsOf(t.values)
	if err == nil && !t.has(rider) && !t.has(lat) && !t.has(lon) {
		err = &pingline.FieldError{Field: rider.String(), Reason: "not in the header: a table begins with the names of its columns, such as rider_id,ts,lat,lon"}
	}
	for f := ts; f <= lon && err == nil; f++ {
		if !t.has(f) {
			err = &pingline.FieldError{Field: f.String(), Reason: "not in the header"}
		}
	}
	return t, err
}

func (t *table) has(f field) bool {
	return slices.ContainsFunc(t.columns, func(c column) bool { return c.field == f && !c.day })
}

func (t *table) header() []byte { return t.head }

func (t *table) next(p *pingline.Ping) (raw []byte, line int, err error) {
	if raw, err = t.filled(); err != nil {
		return nil, t.line, err
	}
	if t.values, err = t.split(t.values[:0], raw); err != nil {
		return raw, t.line, err
	}
	if len(t.values) != len(t.columns) {
		return raw, t.line, lineError(fmt.Sprintf("%d values, the header has %d", len(t.values), len(t.columns)))
	}
	r := rowText{rider: []byte(t.file)}
	if t.has(rider) {
		r[rider] = nil
	}
	t.day = nil
	for i := range t.columns {
		if c := &t.columns[i]; c.day {
			t.day = t.values[i]
		}
	}
	for i := range t.columns {
		c, v := &t.columns[i], t.values[i]
		if c.field != unknown && !c.day && len(v) > 0 {
			r[c.field] = c.read(v, t.day)
		}
	}
	return raw, t.line, r.ping(p, &t.names)
}

// split appends the values of a line, without white space around them, to dst.
func (t *table) split(dst [][]byte, line []byte) ([][]byte, error) {
	if bytes.IndexByte(line, '"') < 0 {
		for more := true; more; {
			var v []byte
			v, line, more = bytes.Cut(line, []byte{t.comma})
			dst = append(dst, bytes.TrimSpace(v))
		}
		return dst, nil
	}
	r := csv.NewReader(bytes.NewReader(line))
	r.Comma = rune(t.comma)
	r.TrimLeadingSpace = t.comma != '\t'
	values, err := r.Read()
	if e, ok := errors.AsType[*csv.ParseError](err); ok {
		return dst, lineError(fmt.Sprintf("not CSV: character %d: %v", e.Column, e.Err))
	}
	if err != nil {
		return dst, lineError("not CSV: " + err.Error())
	}
	for _, v := range values {
		dst = append(dst, bytes.TrimSpace([]byte(v)))
	}
	return dst, nil
}
