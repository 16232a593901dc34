package prepared

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strconv"
)

// answers reads answers of HTTP/1.1: with a Content-Length, or without a body.
type answers struct {
	r       *bufio.Reader
	closing bool // the server closes the connection after the answer that was read last
}

func newAnswers(r io.Reader) answers { return answers{r: bufio.NewReaderSize(r, 16<<10)} }

// read reads an answer and returns its status.
func (a *answers) read() (status int, err error) {
	line, err := a.r.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if len(line) < len("HTTP/1.1 200") || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return 0, fmt.Errorf("answer %q", line)
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, fmt.Errorf("answer %q", line)
	}
	length := 0
	for {
		if line, err = a.r.ReadSlice('\n'); err != nil {
			return 0, err
		}
		if len(line) <= 2 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil || length < 0 {
				return 0, fmt.Errorf("answer with %q", line)
			}
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			return 0, fmt.Errorf("answer with %q", line)
		case bytes.EqualFold(name, []byte("Connection")) && bytes.EqualFold(bytes.TrimSpace(value), []byte("close")):
			a.closing = true
		}
	}
	if _, err = a.r.Discard(length); err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return status, err
}
