package conns

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"pingline/ingest/server/framing"
	"pingline/ingest/server/framing/framingtest"
)

// recording is a connection that brings what was said before, in reads of a few
// bytes, and ends.
type recording struct {
	said io.Reader
	most int // bytes of a read
	net.Conn
}

func (r *recording) Read(p []byte) (int, error)       { return r.said.Read(p[:min(len(p), r.most)]) }
func (r *recording) Write(p []byte) (int, error)      { return len(p), nil }
func (r *recording) Close() error                     { return nil }
func (r *recording) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (r *recording) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (r *recording) SetDeadline(time.Time) error      { return nil }
func (r *recording) SetReadDeadline(time.Time) error  { return nil }
func (r *recording) SetWriteDeadline(time.Time) error { return nil }

// fiberSees returns the requests that Fiber takes from what is said, each as method,
// target and body.
func fiberSees(said string, most int) (seen []string) {
	app := fiber.New(fiber.Config{DisableStartupMessage: true, StreamRequestBody: true, DisablePreParseMultipartForm: true})
	app.Use(func(c *fiber.Ctx) error {
		var body []byte
		if stream := c.Context().RequestBodyStream(); stream != nil {
			var err error
			if body, err = io.ReadAll(stream); err != nil {
				c.Context().SetConnectionClose()
				return err // it has no end
			}
		}
		seen = append(seen, fmt.Sprintf("%s %s %q", c.Method(), c.Request().Header.RequestURI(), body))
		return nil
	})
	all := connections{most: 1, ours: func(netip.Addr) bool { return false }, peers: map[peerKey]*peer{}}
	_ = app.Server().ServeConn(all.add(&recording{said: strings.NewReader(said), most: most}))
	return seen
}

// othersSee returns the requests that net/http takes from what is said, and false
// if it does not take all.
func othersSee(said string) (seen []string, all bool) {
	r := bufio.NewReader(strings.NewReader(said))
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return seen, errors.Is(err, io.EOF)
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return seen, false
		}
		seen = append(seen, fmt.Sprintf("%s %s %q", req.Method, req.RequestURI, body))
	}
}

// FuzzOthersSeeTheSame has what passes taken by Fiber and by net/http: they see
// the same requests.
func FuzzOthersSeeTheSame(f *testing.F) {
	for _, said := range framingtest.Honest {
		f.Add(said.Said, 7)
	}
	for _, tt := range framingtest.Ambiguous {
		f.Add(framingtest.Healthy+tt.Said+framingtest.Healthy, 1)
	}
	f.Fuzz(func(t *testing.T, said string, most int) {
		var guard framing.Guard
		if pass, err := guard.Check([]byte(said)); err != nil || guard.Within() || pass != len(said) {
			return
		}
		seen, all := othersSee(said)
		ours := fiberSees(said, max(1, most))
		for i := range min(len(ours), len(seen)) {
			if ours[i] != seen[i] {
				t.Errorf("%q: Fiber sees %s, net/http %s", said, ours[i], seen[i])
			}
		}
		if all && len(ours) > len(seen) {
			t.Errorf("%q: Fiber sees %s, net/http %s", said, ours, seen)
		}
	})
}
