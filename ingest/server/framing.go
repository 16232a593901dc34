package server

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// framing follows where requests begin and end in what a connection brings, as
// RFC 9112 has it, and refuses what a proxy before us could understand in another
// way: then what one of us takes for a body is a request to the other. Fasthttp is
// lenient in this, so it is looked at before fasthttp sees it. What is refused:
//
//   - a line that ends in anything but CR LF, or has a control character in it
//   - a request line that is not a method we know, a target and HTTP/1.0 or
//     HTTP/1.1, with a space between each
//   - a header line that is folded, or whose name is no token
//   - more than maxFields header lines, or maxFields parameters of a target:
//     fasthttp keeps the memory for them as long as the connection is open
//   - two lines of Host, of Content-Length or of Transfer-Encoding, both of the last
//     two, or none of Host in HTTP/1.1
//   - a Content-Length of anything but digits
//   - a Transfer-Encoding of anything but chunked, or in HTTP/1.0
//   - a body of GET or HEAD, which fasthttp takes for the next request
//   - a chunk size of anything but hex digits, a chunk that does not end with its
//     line, and fields behind the last chunk
type framing struct {
	state frameState
	left  int64  // bytes of the body or chunk that are yet to come
	line  []byte // the beginning of a line, when a read ended in it
	begun bool   // a byte of the head has been passed on

	// Of the head so far.
	http10        bool
	fields, hosts int
	length        int64 // -1: not said
	chunked, body bool
}

type frameState uint8

const (
	atRequest   frameState = iota // before a request line
	inHead                        // before a header line or the end of the head
	inBody                        // of known length
	atChunk                       // before the line with the size of a chunk
	inChunk                       // in its bytes
	behindChunk                   // before the end of their line
	atEnd                         // behind the last chunk
)

// behind is the state behind the last byte.
var behind = [...]frameState{inBody: atRequest, inChunk: behindChunk}

// headBytes bounds a head, as fasthttp has it in one buffer, and maxLine a line of
// it; a line about a chunk has no more than maxChunkLine.
const (
	headBytes    = 8 << 10
	maxLine      = headBytes
	maxChunkLine = 256
	maxFields    = 100
)

var errFraming = errors.New("malformed request")

func framingError(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errFraming, fmt.Sprintf(format, args...))
}

// within reports whether a request has begun and not ended.
func (f *framing) within() bool { return f.state != atRequest || f.begun }

// check returns how many bytes of p may be passed on, and an error for what
// follows them.
func (f *framing) check(p []byte) (pass int, err error) {
	for pass < len(p) {
		if f.state == inBody || f.state == inChunk {
			n := min(f.left, int64(len(p)-pass))
			pass += int(n)
			if f.left -= n; f.left == 0 {
				f.state = behind[f.state]
			}
			continue
		}
		end := bytes.IndexByte(p[pass:], '\n')
		if end < 0 {
			return f.keep(p, pass)
		}
		line := p[pass : pass+end]
		if len(f.line) > 0 {
			f.line = append(f.line, line...)
			line = f.line
		}
		if err := f.take(line); err != nil {
			return pass, err
		}
		f.line = f.line[:0]
		pass += end + 1
	}
	return pass, nil
}

// keep takes the beginning of a line, which is passed on.
func (f *framing) keep(p []byte, at int) (pass int, err error) {
	most := maxLine
	if f.state > inHead {
		most = maxChunkLine
	}
	if len(f.line)+len(p)-at > most {
		return at, framingError("a line of more than %d bytes", most)
	}
	f.line = append(f.line, p[at:]...)
	f.begun = f.begun || f.state <= inHead
	return len(p), nil
}

// take takes a line without its LF.
func (f *framing) take(line []byte) error {
	n := len(line) - 1
	if n < 0 || line[n] != '\r' {
		return framingError("a line that does not end in CR LF")
	}
	line = line[:n]
	if c, ok := control(line); ok {
		return framingError("control character %#02x in a line", c)
	}
	switch f.state {
	case atRequest:
		if len(line) == 0 {
			f.begun = false
			return nil // left behind by a client before
		}
		return f.request(line)
	case inHead:
		if len(line) == 0 {
			return f.endHead()
		}
		return f.field(line)
	case atChunk:
		return f.chunk(line)
	case behindChunk:
		f.state = atChunk
	case atEnd:
		f.state = atRequest
	}
	if len(line) > 0 {
		return framingError("%.20q behind a chunk", line)
	}
	return nil
}

func (f *framing) request(line []byte) error {
	method, rest, _ := bytes.Cut(line, []byte(" "))
	target, version, _ := bytes.Cut(rest, []byte(" "))
	if !known(method) || len(target) == 0 || bytes.IndexByte(target, '\t') >= 0 || string(version) != "HTTP/1.1" && string(version) != "HTTP/1.0" {
		return framingError("request line %.60q", line)
	}
	if bytes.Count(target, []byte("&")) >= maxFields {
		return framingError("more than %d parameters", maxFields)
	}
	f.state, f.begun, f.http10 = inHead, true, version[7] == '0'
	f.fields, f.hosts, f.length, f.chunked = 0, 0, -1, false
	f.body = string(method) != "GET" && string(method) != "HEAD"
	return nil
}

// known reports whether a method is one that Fiber has. It leaves the body of any
// other where it is.
func known(method []byte) bool {
	switch string(method) {
	case "POST", "GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE":
		return true
	}
	return false
}

// field takes a header line.
func (f *framing) field(line []byte) error {
	name, value, ok := bytes.Cut(line, []byte(":"))
	if !ok || !isToken(name) {
		return framingError("header line %.60q", line)
	}
	if f.fields++; f.fields > maxFields {
		return framingError("more than %d header lines", maxFields)
	}
	switch {
	case named(name, "Host"):
		if f.hosts++; f.hosts > 1 {
			return framingError("more than one Host")
		}
	case named(name, "Content-Length"):
		return f.contentLength(trim(value))
	case named(name, "Transfer-Encoding"):
		if f.chunked || !bytes.EqualFold(trim(value), []byte("chunked")) {
			return framingError("Transfer-Encoding %.60q is not chunked, once", value)
		}
		f.chunked = true
	}
	return nil
}

// named reports whether a header's name is want in any case.
func named(name []byte, want string) bool {
	return len(name) == len(want) && (string(name) == want || bytes.EqualFold(name, []byte(want)))
}

// trim returns value without the spaces and tabs around it.
func trim(value []byte) []byte {
	for len(value) > 0 && (value[0] == ' ' || value[0] == '\t') {
		value = value[1:]
	}
	for n := len(value); n > 0 && (value[n-1] == ' ' || value[n-1] == '\t'); n-- {
		value = value[:n-1]
	}
	return value
}

func (f *framing) contentLength(digits []byte) error {
	if f.length >= 0 {
		return framingError("more than one Content-Length")
	}
	if len(digits) == 0 || len(digits) > 18 {
		return framingError("Content-Length %.60q", digits)
	}
	f.length = 0
	for _, c := range digits {
		if c < '0' || c > '9' {
			return framingError("Content-Length %.60q", digits)
		}
		f.length = 10*f.length + int64(c-'0')
	}
	return nil
}

// endHead begins the body, or the next request if there is none.
func (f *framing) endHead() error {
	switch {
	case f.hosts == 0 && !f.http10:
		return framingError("no Host")
	case f.chunked && f.length >= 0:
		return framingError("Content-Length beside Transfer-Encoding")
	case f.chunked && f.http10:
		return framingError("Transfer-Encoding in HTTP/1.0")
	case !f.body && (f.chunked || f.length > 0):
		return framingError("a body of GET or HEAD")
	case f.chunked:
		f.state = atChunk
	case f.length > 0:
		f.state, f.left = inBody, f.length
	default:
		f.state = atRequest
	}
	f.begun = false
	return nil
}

// chunk takes the line with a chunk's size, in hex, and extensions, which nobody
// has.
func (f *framing) chunk(line []byte) error {
	digits, _, _ := bytes.Cut(line, []byte(";"))
	if len(digits) == 0 || len(digits) > 8 || len(line) > maxChunkLine {
		return framingError("chunk size %.20q", digits)
	}
	f.left = 0
	for _, c := range digits {
		d := hexDigit(c)
		if d < 0 {
			return framingError("chunk size %.20q", digits)
		}
		f.left = f.left<<4 | d
	}
	if f.state = inChunk; f.left == 0 {
		f.state = atEnd
	}
	return nil
}

func hexDigit(c byte) int64 {
	switch {
	case c >= '0' && c <= '9':
		return int64(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return int64(c|0x20-'a') + 10
	}
	return -1
}

// control returns a control character of line, if there is one but the tab. It looks
// at eight bytes at once for one below a space, or DEL, and only where it may have
// found one at each.
func control(line []byte) (byte, bool) {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	for len(line) >= 8 {
		x := binary.LittleEndian.Uint64(line)
		del := x ^ ones*0x7f
		if ((x-ones*' ')&^x|(del-ones)&^del)&highs != 0 {
			if c, ok := controlOf(line[:8]); ok {
				return c, true
			}
		}
		line = line[8:]
	}
	return controlOf(line)
}

func controlOf(line []byte) (byte, bool) {
	for _, c := range line {
		if c < ' ' && c != '\t' || c == 0x7f {
			return c, true
		}
	}
	return 0, false
}

// isToken reports whether b is a token of RFC 9110.
func isToken(b []byte) bool {
	for _, c := range b {
		if !tokenByte[c] {
			return false
		}
	}
	return len(b) > 0
}

var tokenByte = func() (is [256]bool) {
	for c := range 128 {
		is[c] = c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' || bytes.IndexByte([]byte("!#$%&'*+-.^_`|~"), byte(c)) >= 0
	}
	return is
}()
