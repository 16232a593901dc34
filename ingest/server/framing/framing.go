// Package framing follows where requests begin and end in the bytes of a connection,
// and refuses HTTP/1 that two readers could understand in different ways.
//
// A proxy and the server behind it must see the same requests. Otherwise bytes that the
// proxy takes for a body may be a request to the server. A Guard follows RFC 9112. It
// sees every byte before fasthttp does, which is lenient. It keeps no more of a request
// than the line in which a read ended, and allocates nothing for lines that come whole.
//
// It does not judge whether a request makes sense, and it does not bound how long a
// body is or how slowly it comes.
package framing

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// Guard checks the bytes of a connection, in order. The zero value is ready for the
// first byte. It is for a single goroutine. A Guard refuses:
//
//   - a line that ends in anything but CR LF, or has a control character in it
//   - a request line that is not a method we know, a target and HTTP/1.0 or
//     HTTP/1.1, with a space between each
//   - a header line that is folded, or whose name is no token
//   - more than MaxFields header lines, or MaxFields parameters of a target:
//     fasthttp keeps the memory for them as long as the connection is open
//   - two lines of Host, of Content-Length or of Transfer-Encoding, Content-Length
//     together with Transfer-Encoding, or no Host in HTTP/1.1
//   - a Content-Length of anything but digits
//   - a Transfer-Encoding of anything but chunked, or in HTTP/1.0
//   - a body of GET or HEAD, which fasthttp takes for the next request
//   - a chunk size of anything but hex digits, a chunk that does not end with its
//     line, and fields behind the last chunk
type Guard struct {
	state frameState
	left  int64  // bytes of the body or chunk still to come
	line  []byte // the beginning of a line, when a read ended in it
	begun bool   // a byte of the head has been passed on

	// Of the head so far.
	http10        bool
	fields, hosts int
	length        int64 // Content-Length; -1: none
	chunked, body bool
}

type frameState uint8

const (
	atRequest   frameState = iota // before a request line
	inHead                        // before a header line or the end of the head
	inBody                        // in a body of known length
	atChunk                       // before the line with the size of a chunk
	inChunk                       // in the bytes of a chunk
	behindChunk                   // before the end of line behind a chunk
	atEnd                         // behind the last chunk
)

// behind is the state behind the last byte of a body or of a chunk.
var behind = [...]frameState{inBody: atRequest, inChunk: behindChunk}

// Limits of a head.
const (
	HeadBytes = 16 << 10 // bytes of a head, and of each line of it: fasthttp needs it in a single buffer
	MaxFields = 100      // header lines of a request, and parameters of its target

	maxChunkLine = 256 // bytes of a line about a chunk
)

// ErrMalformed is wrapped by every error of Check.
var ErrMalformed = errors.New("malformed request")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

// Within reports whether a request has begun and not ended.
func (g *Guard) Within() bool { return g.state != atRequest || g.begun }

// Check returns the number of bytes of p that may be passed on, and an error wrapping
// ErrMalformed if the bytes behind them are refused. After an error the Guard must not
// be used again.
func (g *Guard) Check(p []byte) (pass int, err error) {
	for pass < len(p) {
		if g.state == inBody || g.state == inChunk {
			n := min(g.left, int64(len(p)-pass))
			pass += int(n)
			if g.left -= n; g.left == 0 {
				g.state = behind[g.state]
			}
			continue
		}
		end := bytes.IndexByte(p[pass:], '\n')
		if end < 0 {
			return g.keep(p, pass)
		}
		line := p[pass : pass+end]
		if len(g.line) > 0 {
			g.line = append(g.line, line...)
			line = g.line
		}
		if err := g.take(line); err != nil {
			return pass, err
		}
		g.line = g.line[:0]
		pass += end + 1
	}
	return pass, nil
}

// keep keeps the beginning of a line, and passes it on.
func (g *Guard) keep(p []byte, at int) (pass int, err error) {
	most := HeadBytes
	if g.state > inHead {
		most = maxChunkLine
	}
	if len(g.line)+len(p)-at > most {
		return at, malformed("a line of more than %d bytes", most)
	}
	g.line = append(g.line, p[at:]...)
	g.begun = g.begun || g.state <= inHead
	return len(p), nil
}

// take takes a line without its LF.
func (g *Guard) take(line []byte) error {
	n := len(line) - 1
	if n < 0 || line[n] != '\r' {
		return malformed("a line that does not end in CR LF")
	}
	line = line[:n]
	if c, ok := control(line); ok {
		return malformed("control character %#02x in a line", c)
	}
	switch g.state {
	case atRequest:
		if len(line) == 0 {
			g.begun = false
			return nil // an empty line, left behind the request before
		}
		return g.request(line)
	case inHead:
		if len(line) == 0 {
			return g.endHead()
		}
		return g.field(line)
	case atChunk:
		return g.chunk(line)
	case behindChunk:
		g.state = atChunk
	case atEnd:
		g.state = atRequest
	}
	if len(line) > 0 {
		return malformed("%.20q behind a chunk", line)
	}
	return nil
}

func (g *Guard) request(line []byte) error {
	method, rest, _ := bytes.Cut(line, []byte(" "))
	target, version, _ := bytes.Cut(rest, []byte(" "))
	if !known(method) || len(target) == 0 || bytes.IndexByte(target, '\t') >= 0 || string(version) != "HTTP/1.1" && string(version) != "HTTP/1.0" {
		return malformed("request line %.60q", line)
	}
	if bytes.Count(target, []byte("&")) >= MaxFields {
		return malformed("more than %d parameters", MaxFields)
	}
	g.state, g.begun, g.http10 = inHead, true, version[7] == '0'
	g.fields, g.hosts, g.length, g.chunked = 0, 0, -1, false
	g.body = string(method) != "GET" && string(method) != "HEAD"
	return nil
}

// known reports whether Fiber has a method. Fiber would leave the body of any other
// method unread.
func known(method []byte) bool {
	switch string(method) {
	case "POST", "GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE":
		return true
	}
	return false
}

// field takes a header line.
func (g *Guard) field(line []byte) error {
	name, value, ok := bytes.Cut(line, []byte(":"))
	if !ok || !isToken(name) {
		return malformed("header line %.60q", line)
	}
	if g.fields++; g.fields > MaxFields {
		return malformed("more than %d header lines", MaxFields)
	}
	switch {
	case named(name, "Host"):
		if g.hosts++; g.hosts > 1 {
			return malformed("more than one Host")
		}
	case named(name, "Content-Length"):
		return g.contentLength(trim(value))
	case named(name, "Transfer-Encoding"):
		if g.chunked || !bytes.EqualFold(trim(value), []byte("chunked")) {
			return malformed("Transfer-Encoding %.60q is not chunked, once", value)
		}
		g.chunked = true
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

func (g *Guard) contentLength(digits []byte) error {
	if g.length >= 0 {
		return malformed("more than one Content-Length")
	}
	if len(digits) == 0 || len(digits) > 18 {
		return malformed("Content-Length %.60q", digits)
	}
	g.length = 0
	for _, c := range digits {
		if c < '0' || c > '9' {
			return malformed("Content-Length %.60q", digits)
		}
		g.length = 10*g.length + int64(c-'0')
	}
	return nil
}

// endHead begins the body, or the next request if there is none.
func (g *Guard) endHead() error {
	switch {
	case g.hosts == 0 && !g.http10:
		return malformed("no Host")
	case g.chunked && g.length >= 0:
		return malformed("Content-Length beside Transfer-Encoding")
	case g.chunked && g.http10:
		return malformed("Transfer-Encoding in HTTP/1.0")
	case !g.body && (g.chunked || g.length > 0):
		return malformed("a body of GET or HEAD")
	case g.chunked:
		g.state = atChunk
	case g.length > 0:
		g.state, g.left = inBody, g.length
	default:
		g.state = atRequest
	}
	g.begun = false
	return nil
}

// chunk takes the line with a chunk's size, in hex, and ignores extensions.
func (g *Guard) chunk(line []byte) error {
	digits, _, _ := bytes.Cut(line, []byte(";"))
	if len(digits) == 0 || len(digits) > 8 || len(line) > maxChunkLine {
		return malformed("chunk size %.20q", digits)
	}
	g.left = 0
	for _, c := range digits {
		d := hexDigit(c)
		if d < 0 {
			return malformed("chunk size %.20q", digits)
		}
		g.left = g.left<<4 | d
	}
	if g.state = inChunk; g.left == 0 {
		g.state = atEnd
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

// control returns a control character of line other than the tab, if there is any. It
// tests eight bytes at once for a byte below a space, or DEL, and looks at each byte only
// if the test may have found a control character.
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
