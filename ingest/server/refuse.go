package server

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/gofiber/fiber/v2"

	"pingline/ingest"
	"pingline/ingest/server/conns"
	"pingline/ingest/server/framing"
)

// unreadable answers a request that does not come as far as a route.
func (s *Server) unreadable(c *fiber.Ctx, err error) error {
	s.dates.set(c, time.Now())
	if errors.Is(err, fiber.ErrRequestHeaderFieldsTooLarge) {
		if own, ok := c.Context().Conn().(*conns.Conn); ok {
			own.LeaveUnread()
		}
		err = fiber.NewError(fiber.StatusRequestHeaderFieldsTooLarge, fmt.Sprintf("the head of the request is larger than %d bytes: its Cookie, Authorization or target is too long", framing.HeadBytes))
	}
	return s.refuse(c, err)
}

// refuse turns an error into its status and a body that says why.
func (s *Server) refuse(c *fiber.Ctx, err error) error {
	status := fiber.StatusInternalServerError
	var httpErr *fiber.Error
	var rateErr *rateError
	switch {
	case errors.As(err, &rateErr):
		status = fiber.StatusTooManyRequests
		c.Set(fiber.HeaderRetryAfter, retryAfterRate(rateErr.wait))
	case errors.Is(err, errLater):
		status = fiber.StatusServiceUnavailable
		c.Set(fiber.HeaderRetryAfter, retryLater())
	case errors.Is(err, ingest.ErrUnavailable):
		status = fiber.StatusServiceUnavailable
		c.Set(fiber.HeaderRetryAfter, retryAfter())
	case errors.Is(err, errBadQuery):
		status = fiber.StatusBadRequest
	case errors.As(err, &httpErr):
		status = httpErr.Code
	}
	return c.Status(status).JSON(fiber.Map{"error": err.Error()})
}

// observe is what every request passes first and its answer last.
func (s *Server) observe(c *fiber.Ctx) error {
	began := time.Now()
	err := c.Next()
	if err != nil { // answered here, so that the status is known
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

// finish sees to what of the body nobody has read: Fiber would take it for the
// next request. A little that is already there is read, so that the connection
// can go on; otherwise it ends after the answer.
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
	if own, ok := conn.(*conns.Conn); ok {
		own.LeaveUnread()
	}
	c.Context().SetConnectionClose()
}
