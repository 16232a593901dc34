package top

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"pingline/internal/command"
	"pingline/internal/dial"
	"pingline/query/status"
)

const (
	askTimeout = 5 * time.Second // of a request
	mostBytes  = 1 << 20         // of an answer

	// Beyond these an answer is not one of Pingline, whatever its version.
	longestStep  = 3600 // seconds of a step
	highestLevel = 99
)

// source is the ingester that is asked.
type source struct {
	url    *url.URL
	name   string // of the URL, for people, without a password
	header http.Header
	client *http.Client
}

// look is an answer of the ingester.
type look struct {
	status.Answer
	text []byte // as it came, on a line
}

// lookError says why there is no status to show.
type lookError struct {
	name   string // of the server
	reason string
	unfit  bool // there is no use in asking again
}

func (e *lookError) Error() string {
	if e.unfit {
		return "--target: " + e.name + " " + e.reason
	}
	return "--target: " + e.name + " does not answer: " + e.reason
}

func newSource(target string, headers []command.RequestHeader, by *dial.Flags) (*source, error) {
	u, err := url.Parse(target)
	if err != nil {
		return nil, fmt.Errorf("--target: %w", err)
	}
	transport, err := by.Transport()
	if err != nil {
		return nil, err
	}
	u.RawQuery, u.Fragment = "", ""
	s := &source{url: u, name: u.Redacted(), header: http.Header{"Accept": {"application/json"}}, client: &http.Client{Transport: transport}}
	for _, h := range headers {
		s.header.Add(h.Name, h.Value)
	}
	return s, nil
}

// ask returns the status, or a *lookError.
func (s *source) ask(ctx context.Context) (*look, error) {
	code, text, err := s.fetch(ctx, "v1", "status")
	if err != nil {
		return nil, &lookError{s.name, reasonOf(err).Error(), false}
	}
	said := fmt.Sprintf("GET /v1/status is answered %d %s", code, http.StatusText(code))
	switch {
	case code == http.StatusOK:
		if l := readLook(text); l != nil {
			return l, nil
		}
		return nil, &lookError{s.name, "is not Pingline: GET /v1/status is answered with something else", true}
	case code == http.StatusNotFound:
		if version := s.isPingline(ctx); version != "" {
			return nil, &lookError{s.name, "is Pingline " + printable(version) + ", which has no GET /v1/status: it is older than this program", true}
		}
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return nil, &lookError{s.name, "lets nobody in: " + said + "; --header says who asks", true}
	case code == http.StatusTooManyRequests:
		return nil, &lookError{s.name, said + ": a longer --every asks less often", false}
	case code >= 500:
		return nil, &lookError{s.name, said, false}
	}
	return nil, &lookError{s.name, "is not Pingline: " + said, true}
}

// readLook reads an answer, and returns nil if it is not one of Pingline.
func readLook(text []byte) *look {
	l, line := new(look), new(bytes.Buffer)
	if json.Compact(line, text) != nil || json.Unmarshal(text, &l.Answer) != nil || l.At <= 0 || l.StepS <= 0 || l.StepS > longestStep || l.Level < 0 || l.Level > highestLevel {
		return nil
	}
	l.text = line.Bytes()
	return l
}

// isPingline returns the version of the server if it says that it is Pingline, or "".
func (s *source) isPingline(ctx context.Context) string {
	code, text, err := s.fetch(ctx, "/")
	var said struct{ Name, Version string }
	if err != nil || code != http.StatusOK || json.Unmarshal(text, &said) != nil || said.Name != "pingline" {
		return ""
	}
	return said.Version
}

// fetch returns the answer to GET of a path.
func (s *source) fetch(ctx context.Context, path ...string) (code int, text []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url.JoinPath(path...).String(), nil)
	if err != nil {
		return 0, nil, err
	}
	req.Header = s.header.Clone()
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err = io.ReadAll(io.LimitReader(resp.Body, mostBytes))
	return resp.StatusCode, text, err
}

// reasonOf returns an error without the request that it is about, whose URL may have a
// password.
func reasonOf(err error) error {
	if request := new(url.Error); errors.As(err, &request) {
		err = request.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("no answer within %v", askTimeout)
	}
	if op := new(net.OpError); errors.As(err, &op) {
		return op.Err // the address is that of --target
	}
	return err
}

// printable returns text from a server without what a terminal would obey.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return -1
		}
		return r
	}, text)
}
