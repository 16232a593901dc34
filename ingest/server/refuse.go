package server

import (
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/gofiber/fiber/v2"

	"pingline/ingest"
	"pingline/ingest/server/conns"
)

// errLater is the refusal of pings that can wait until there is room for them.
var errLater = fmt.Errorf("overloaded, pings of the past have to wait: %w", ingest.ErrUnavailable)

// reasonError is an error of a kind that says why in its own words.
type reasonError struct {
	kind error
	text string
}

func (e *reasonError) Error() string { return e.text }

func (e *reasonError) Unwrap() error { return e.kind }

// rateError is the refusal of a request because of who sends it.
type rateError struct {
	text string
	wait time.Duration // until there is a chance
}

func (e *rateError) Error() string { return e.text }

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

// retryAfter spreads those who come back over seconds 5 to 15, so that a crowd
// refused in one second does not return in one.
func retryAfter() string { return strconv.Itoa(5 + rand.IntN(11)) }

// retryLater is retryAfter for what can wait.
func retryLater() string { return strconv.Itoa(30 + rand.IntN(31)) }

// retryAfterRate is retryAfter for one who may send again after wait, at most
// ten minutes: later, somebody may have changed the rate.
func retryAfterRate(wait time.Duration) string {
	s := int(math.Ceil(min(wait, 10*time.Minute).Seconds()))
	return strconv.Itoa(s + rand.IntN(2+s/4))
}

// observe is what every request passes first and its answer last.
func (s *Server) observe(c *fiber.Ctx) error {
	began := time.Now()
	err := c.Next()
	if err != nil { // answered here, so that the status is known
		err = s.refuse(c, err)
	}
	s.finish(c)
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
