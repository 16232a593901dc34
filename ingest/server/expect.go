package server

import (
	"bufio"
	"net"
	"time"
	"unsafe"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"pingline/ingest/server/conns"
	"pingline/ingest/server/inflate"
)

// A client may send a head with Expect: 100-continue and wait before it sends the body
// (RFC 9110, 10.1.1). A request that is refused whatever its body is gets that answer at
// once, and no 100 Continue.

// expects is the key of a value of a request whose client waits: a *bool that says
// whether the body may come.
type expects struct{}

// mayContinue lets the routes answer a request of which only the head is there. It
// reports whether the body may come; if not, the answer is sent and the connection
// ends, as the client may send the body all the same.
func (s *Server) mayContinue(head *fasthttp.RequestHeader) bool {
	ctx, body := contextOf(head), false
	ctx.SetUserValue(expects{}, &body)
	s.app.Server().Handler(ctx)
	ctx.RemoveUserValue(expects{})
	if body {
		return true
	}
	if own, ok := ctx.Conn().(*conns.Conn); ok {
		own.LeaveUnread()
	}
	// Left to itself, fasthttp makes every refusal a 417.
	status := ctx.Response.StatusCode()
	ctx.HijackSetNoResponse(true)
	ctx.Hijack(func(c net.Conn) {
		_ = c.SetWriteDeadline(time.Now().Add(s.cfg.WriteTimeout))
		ctx.SetStatusCode(status)
		ctx.SetConnectionClose()
		w := bufio.NewWriter(c)
		if ctx.Response.Write(w) == nil {
			_ = w.Flush()
		}
	})
	return false
}

// forgetExpect takes the expectation from a request of HTTP/1.0, which must be ignored:
// its client knows no 100 Continue and would take it for the answer.
func forgetExpect(head *fasthttp.RequestHeader) fasthttp.RequestConfig {
	if !head.IsHTTP11() {
		head.Del(fiber.HeaderExpect)
	}
	return fasthttp.RequestConfig{}
}

// contextOf returns the request that a head is of. fasthttp hands over the head alone,
// always that within a RequestCtx.
func contextOf(head *fasthttp.RequestHeader) *fasthttp.RequestCtx {
	var ctx fasthttp.RequestCtx
	const at = unsafe.Offsetof(ctx.Request) + unsafe.Offsetof(ctx.Request.Header)
	return (*fasthttp.RequestCtx)(unsafe.Add(unsafe.Pointer(head), -int(at)))
}

// expecting returns where to say that the body may come, or nil if the client does not
// wait for that.
func expecting(c *fiber.Ctx) *bool {
	body, _ := c.Context().UserValue(expects{}).(*bool)
	return body
}

// expect refuses a request of pings by its head alone. Nothing is charged. A request
// that says it is in need is believed until its body is there.
func (s *Server) expect(c *fiber.Ctx, x *request) error {
	if err := s.announced(c); err != nil {
		return err
	}
	if size := c.Request().Header.ContentLength(); c.Get(needHeader) == needValue && size >= 0 && size <= needMost {
		return nil
	}
	x.claim = s.budget.claim(x.client, x.ours)
	if err := s.ordinary(x, time.Now()); err != nil {
		return err
	}
	return s.charge(x, requestBytes+firstBytes)
}

// announced refuses a body that is too large, or in an encoding that nobody reads.
func (s *Server) announced(c *fiber.Ctx) error {
	head := &c.Request().Header
	if head.ContentLength() > s.cfg.MaxBody {
		return s.tooLarge()
	}
	return inflate.Check(string(head.ContentEncoding()))
}
