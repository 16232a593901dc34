package track

import (
	"bufio"
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"pingline"
)

// gpx reads the track points of a GPX file, 1.0 or 1.1. The rider is the name of the
// track, reduced to the characters of a rider id, or else the name of the file.
// Elevation is read, and so are speed (m/s), course and accuracy, from the extensions
// of many makes of receivers. Routes and waypoints are not read.
type gpx struct {
	in     *tokenReader
	xml    *xml.Decoder
	file   string // rider of a track without a name
	rider  string
	device string   // device of the track
	path   []string // local names of the open elements
	point  rowText  // values of the open track point
	line   int      // line where point starts
	text   []byte   // text of the innermost element
	names  names
}

const (
	maxDepth = 100
	maxText  = 256 // bytes of the text of an element; more is cut
)

func newGPX(in *bufio.Reader, file string) *gpx {
	r := &gpx{in: &tokenReader{in: in}}
	r.xml = xml.NewDecoder(r.in)
	// Common character sets extend ASCII, and nothing beyond ASCII is needed here.
	r.xml.CharsetReader = func(_ string, in io.Reader) (io.Reader, error) { return asciiReader{in}, nil }
	r.file = nameOfFile(file)
	return r
}

func (r *gpx) header() []byte { return nil }

func (r *gpx) next(p *pingline.Ping) ([]byte, int, error) {
	for {
		r.in.left = maxLine
		token, err := r.xml.Token()
		if err == io.EOF {
			return nil, r.line, io.EOF
		}
		if err != nil {
			line, _ := r.xml.InputPos()
			return nil, line, fmt.Errorf("read GPX: %w", err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			if err := r.open(token); err != nil {
				line, _ := r.xml.InputPos()
				return nil, line, err
			}
		case xml.CharData:
			r.text = append(r.text, token[:min(len(token), maxText-len(r.text))]...)
		case xml.EndElement:
			if !r.end(token.Name) {
				continue
			}
			if r.point[ts] == nil {
				return nil, r.line, &pingline.FieldError{Field: "time", Reason: "missing"}
			}
			return nil, r.line, r.point.ping(p, &r.names)
		}
	}
}

func (r *gpx) open(e xml.StartElement) error {
	if len(r.path) == maxDepth {
		return fmt.Errorf("read GPX: more than %d elements within each other", maxDepth)
	}
	name := e.Name.Local
	r.path = append(r.path, name)
	r.text = r.text[:0]
	switch name {
	case "trk":
		r.rider, r.device = r.file, ""
	case "trkpt":
		r.line, _ = r.xml.InputPos()
		r.point = rowText{rider: []byte(r.rider)}
		if r.device != "" {
			r.point[device] = []byte(r.device)
		}
		for _, a := range e.Attr {
			if f := fieldOf([]byte(a.Name.Local)); f == lat || f == lon {
				r.point[f] = []byte(strings.TrimSpace(a.Value))
			}
		}
	}
	return nil
}

// end closes an element and reports whether a track point is complete.
func (r *gpx) end(tag xml.Name) bool {
	name := tag.Local
	r.path = r.path[:len(r.path)-1]
	text := strings.TrimSpace(string(r.text))
	r.text = r.text[:0]
	parent := ""
	if len(r.path) > 0 {
		parent = r.path[len(r.path)-1]
	}
	if name == "trkpt" {
		return true
	}
	if name == "name" && parent == "trk" {
		if s := nameOf(text); s != "" {
			r.rider = s
		}
		return false
	}
	if tag.Space == gpxSpace {
		r.endOfOurs(name, text)
		return false
	}
	f := gpxField(name)
	if f == ts && zoneless(text) {
		text += "Z"
	}
	if f != unknown && text != "" {
		r.point[f] = []byte(text)
	}
	return false
}

// gpxSpace is the namespace for values that GPX itself has no element for. Its elements
// are named as the keys of POST /v1/pings: rider_id and device_id in a track, the keys
// of a ping in a point.
const gpxSpace = "https://pingline.invalid/gpx/1"

// endOfOurs stores the text of an element of gpxSpace.
func (r *gpx) endOfOurs(name, text string) {
	inPoint := slices.Contains(r.path, "trkpt")
	switch f := fieldOf([]byte(name)); {
	case f == unknown || text == "":
	case inPoint && f >= number && f != device:
		r.point[f] = []byte(text)
	case !inPoint && f == rider:
		r.rider = text
	case !inPoint && f == device:
		r.device = text
	}
}

// zoneless reports whether a time lacks a zone. Then it is UTC, like all times of GPX.
func zoneless(s string) bool {
	_, clock, ok := strings.Cut(s, "T")
	return ok && !strings.ContainsAny(clock, "Zz+-")
}

// gpxField returns the field of an element within a track point.
func gpxField(name string) field {
	switch name {
	case "time":
		return ts
	case "ele":
		return numberOf(pingline.HasAltitude)
	case "speed":
		return numberOf(pingline.HasSpeed)
	case "course", "bearing", "heading":
		return numberOf(pingline.HasHeading)
	case "accuracy":
		return numberOf(pingline.HasAccuracy)
	}
	return unknown
}

// nameOf returns s as an id that is easy to type: each run of characters other than
// letters, digits and ._:@- becomes a hyphen. It is empty if nothing is left.
func nameOf(s string) string {
	var b []byte
	for _, r := range s {
		if r == utf8.RuneError || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) && !strings.ContainsRune("._:@-", r) {
			r = '-'
		}
		if r == '-' && (len(b) == 0 || b[len(b)-1] == '-') {
			continue
		}
		if len(b)+utf8.RuneLen(r) > pingline.MaxID {
			break
		}
		b = utf8.AppendRune(b, r)
	}
	name := strings.TrimRight(string(b), "-")
	if pingline.CheckID("", name) != nil {
		return ""
	}
	return name
}

// tokenReader fails in an XML token of more than maxLine bytes, so that no file can
// use much memory.
type tokenReader struct {
	in   *bufio.Reader
	left int // bytes that the token may still have
}

func (r *tokenReader) ReadByte() (byte, error) {
	if r.left--; r.left < 0 {
		return 0, fmt.Errorf("a tag or text of more than %d bytes", maxLine)
	}
	return r.in.ReadByte()
}

func (r *tokenReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	c, err := r.ReadByte()
	if err != nil {
		return 0, err
	}
	p[0] = c
	return 1, nil
}

// asciiReader replaces each byte that is not ASCII.
type asciiReader struct{ in io.Reader }

func (r asciiReader) Read(p []byte) (int, error) {
	n, err := r.in.Read(p)
	for i, c := range p[:n] {
		if c >= 0x80 {
			p[i] = '-'
		}
	}
	return n, err
}
