package server

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"pingline/ingest"
	"pingline/ingest/auth"
	"pingline/ingest/server/conns"
	"pingline/ingest/server/framing"
	"pingline/ingest/server/guard"
	"pingline/ingest/server/param"
	"pingline/ingest/server/refusal"
)

// unreadable answers a request that cannot be read, and so reaches no route.
func (s *Server) unreadable(c *fiber.Ctx, err error) error {
	s.dates.set(c, time.Now())
	if errors.Is(err, fiber.ErrRequestHeaderFieldsTooLarge) {
		conns.LeaveUnread(c.Context().Conn())
		err = fiber.NewError(fiber.StatusRequestHeaderFieldsTooLarge, fmt.Sprintf("the head of the request is larger than %d bytes: its Cookie, Authorization or target is too long", framing.HeadBytes))
	}
	if bad := new(fiber.Error); errors.As(err, &bad) {
		// Behind this fasthttp quotes the request, which may have a key in it.
		text, _, _ := strings.Cut(bad.Message, `"`)
		text, _, _ = strings.Cut(text, ". Buffer size")
		err = fiber.NewError(bad.Code, strings.TrimSpace(text))
	}
	return s.refuse(c, err)
}

// refuse turns an error into its status and a body with the reason.
func (s *Server) refuse(c *fiber.Ctx, err error) error {
	status := fiber.StatusInternalServerError
	var httpErr *fiber.Error
	var rateErr *refusal.OverRate
	var denied *auth.Denied
	switch {
	case errors.As(err, &denied):
		status = guard.Status(c, denied)
	case errors.As(err, &rateErr):
		status = cmp.Or(rateErr.Status, fiber.StatusTooManyRequests)
		c.Set(fiber.HeaderRetryAfter, retryAfterRate(rateErr.Wait))
	case errors.Is(err, errLater):
		status = fiber.StatusServiceUnavailable
		c.Set(fiber.HeaderRetryAfter, retryLater())
	case errors.Is(err, ingest.ErrUnavailable):
		status = fiber.StatusServiceUnavailable
		c.Set(fiber.HeaderRetryAfter, retryAfter())
	case errors.Is(err, param.ErrBad):
		status = fiber.StatusBadRequest
	case errors.As(err, &httpErr):
		status = httpErr.Code
	}
	return c.Status(status).JSON(fiber.Map{"error": err.Error()})
}

// observe is the outermost handler: it counts the request and finishes the answer.
func (s *Server) observe(c *fiber.Ctx) error {
	began := time.Now()
	err := c.Next()
	if err != nil { // answered here, so that the status is known below
		err = s.refuse(c, err)
	}
	if body := expecting(c); body != nil && *body {
		return nil // the answer comes with the body
	}
	s.finish(c)
	s.dates.set(c, time.Now())
	if s.cfg.ObserveRequest != nil {
		s.cfg.ObserveRequest(c.Route().Path, c.Response().StatusCode(), time.Since(began))
	}
	return err
}

const (
	drainBytes = 256 << 10
	drainTime  = 50 * time.Millisecond
)

// finish handles the unread rest of a body, which Fiber would take for the next request.
// A small rest that comes within drainTime is read, so that the connection is kept;
// otherwise the connection ends after the answer.
func (s *Server) finish(c *fiber.Ctx) {
	req := c.Request()
	if !req.IsBodyStream() {
		return
	}
	size := req.Header.ContentLength()
	if size >= 0 && size <= prefetched {
		_ = req.CloseBodyStream() // Fiber has read all of it
		return
	}
	conn := c.Context().Conn()
	if size <= drainBytes && size > 0 {
		_ = conn.SetReadDeadline(time.Now().Add(drainTime))
		if _, err := io.Copy(io.Discard, c.Context().RequestBodyStream()); err == nil {
			_ = req.CloseBodyStream()
			return
		}
	}
	conns.LeaveUnread(conn)
	c.Context().SetConnectionClose()
}
