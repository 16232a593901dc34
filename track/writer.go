package track

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"pingline"
	"pingline/track/output"
)

// Writer writes kept pings to a file. A Reader returns the same pings: of NDJSON and
// CSV in the order in which they were written, of GPX track by track. GPX and GeoJSON
// have a line for each track, so the pings stay in memory until Close. A Writer is not
// safe for concurrent use.
type Writer struct {
	file *output.File
	zip  *gzip.Writer // nil if the file is not compressed
	w    *bufio.Writer
	form Form
	enc  encoder
	line []byte
	n    int // pings
}

// encoder writes pings in a form. The bufio.Writer that it writes to remembers errors.
type encoder interface {
	begin(w *bufio.Writer)
	ping(w *bufio.Writer, p *pingline.Ping, late bool)
	end(w *bufio.Writer)
}

// Create returns a Writer of the file path, compressed if the name ends in ".gz". Close
// creates or replaces the file; until then an old file stays, see output.File. Create
// returns an error if pings are not written in that form.
func Create(path string, form Form) (*Writer, error) {
	w := &Writer{form: form}
	switch form {
	case NDJSON:
		w.enc = &ndjsonEncoder{}
	case CSV:
		w.enc = &csvEncoder{}
	case GPX:
		w.enc = &gpxEncoder{}
	case GeoJSON:
		w.enc = &geoEncoder{}
	default:
		return nil, fmt.Errorf("pings are not written as %q", form)
	}
	var err error
	if w.file, err = output.Create(path); err != nil {
		return nil, err
	}
	var out io.Writer = w.file
	if strings.HasSuffix(path, ".gz") {
		w.zip = gzip.NewWriter(w.file)
		out = w.zip
	}
	w.w = bufio.NewWriterSize(out, 64<<10)
	w.enc.begin(w.w)
	return w, nil
}

// Form returns the form of the file.
func (w *Writer) Form() Form { return w.form }

// Pings returns how many pings have been written.
func (w *Writer) Pings() int { return w.n }

// Write writes p, whose names must be valid. A late ping is not on the line of its
// track.
func (w *Writer) Write(p *pingline.Ping, late bool) error {
	w.n++
	w.enc.ping(w.w, p, late)
	return w.failed()
}

// WriteLine writes a line that was read from a file of this form, NDJSON, as it is.
func (w *Writer) WriteLine(line []byte) error {
	w.n++
	w.line = append(append(w.line[:0], line...), '\n')
	_, _ = w.w.Write(w.line)
	return w.failed()
}

// failed returns the error that w has met so far.
func (w *Writer) failed() error {
	if _, err := w.w.Write(nil); err != nil {
		return fmt.Errorf("write track: %w", err)
	}
	return nil
}

// Close writes the rest and puts the file in its place. After an error an old file is
// still there.
func (w *Writer) Close() error {
	w.enc.end(w.w)
	err := w.w.Flush()
	if err == nil && w.zip != nil {
		err = w.zip.Close()
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write track: %w", err), w.file.Discard())
	}
	return w.file.Commit()
}

// Discard removes the new file and keeps the old one. Call it instead of Close.
func (w *Writer) Discard() error { return w.file.Discard() }

type ndjsonEncoder struct{ line []byte }

func (e *ndjsonEncoder) begin(*bufio.Writer) {}

func (e *ndjsonEncoder) ping(w *bufio.Writer, p *pingline.Ping, late bool) {
	e.line = AppendPing(e.line[:0], p)
	if late {
		e.line = append(e.line[:len(e.line)-1], `,"late":true}`...)
	}
	_, _ = w.Write(append(e.line, '\n'))
}

func (e *ndjsonEncoder) end(*bufio.Writer) {}

// keptTracks holds kept pings by track, in the order in which the tracks began.
type keptTracks struct {
	list    []*keptTrack
	numbers map[[2]string]int // by rider and device
}

// keptTrack holds the pings on the line of a track, and its late pings.
type keptTrack struct {
	rider, device string
	line, late    []pingline.Ping
}

func (t *keptTracks) add(p *pingline.Ping, late bool) {
	name := [2]string{p.Rider, p.Device}
	n, ok := t.numbers[name]
	if !ok {
		if t.numbers == nil {
			t.numbers = make(map[[2]string]int)
		}
		n = len(t.list)
		t.numbers[name] = n
		t.list = append(t.list, &keptTrack{rider: p.Rider, device: p.Device})
	}
	to := &t.list[n].line
	if late {
		to = &t.list[n].late
	}
	*to = append(*to, *p)
}

// all returns the tracks, each in order of time.
func (t *keptTracks) all() []*keptTrack {
	for _, k := range t.list {
		for _, pings := range [...][]pingline.Ping{k.line, k.late} {
			slices.SortStableFunc(pings, func(a, b pingline.Ping) int { return cmp.Compare(a.At, b.At) })
		}
	}
	return t.list
}
