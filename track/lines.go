package track

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
)

// maxLine is the longest line that is read, in bytes.
const maxLine = 1 << 20

const errTooLong = lineError("line of more than 1 MiB")

// lines reads lines of bounded length.
type lines struct {
	in   *bufio.Reader
	line int    // the line read last, from 1
	long []byte // a line that did not fit in's buffer
}

// next returns the next line without its end, valid until the next call. It skips a
// line that is too long and returns errTooLong, and io.EOF behind the last line.
func (l *lines) next() ([]byte, error) {
	l.line++
	l.long = l.long[:0]
	for tooLong := false; ; {
		part, err := l.in.ReadSlice('\n')
		if err == bufio.ErrBufferFull {
			if tooLong = tooLong || len(l.long)+len(part) > maxLine; !tooLong {
				l.long = append(l.long, part...)
			}
			continue
		}
		switch {
		case err == io.EOF && len(part)+len(l.long) == 0 && !tooLong:
			return nil, io.EOF
		case err != nil && err != io.EOF:
			return nil, fmt.Errorf("read: %w", err)
		case tooLong || len(l.long)+len(part) > maxLine:
			return nil, errTooLong
		case len(l.long) > 0:
			l.long = append(l.long, part...)
			part = l.long
		}
		return trimEnd(part), nil
	}
}

// filled returns the next line that is not blank.
func (l *lines) filled() (line []byte, err error) {
	for err == nil && len(bytes.TrimSpace(line)) == 0 {
		line, err = l.next()
	}
	return line, err
}

func trimEnd(line []byte) []byte {
	if n := len(line); n > 0 && line[n-1] == '\n' {
		line = line[:n-1]
	}
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	return line
}
