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
// (RFC 9110, 10.1.1). If the head alone is reason to refuse the request, the refusal is
// the answer, and there is no 100 Continue.

// expects is the key of a value in a request whose client waits: a *bool that is set if
// the body may come.
type expects struct{}

// mayContinue lets the routes answer a request of which only the head has come. It
// reports whether the body may come. If not, the answer is sent and the connection
// ends, because the client may send the body all the same.
func (s *Server) mayContinue(head *fasthttp.RequestHeader) bool {
	ctx, body := contextOf(head), false
	ctx.SetUserValue(expects{}, &body)
	s.app.Server().Handler(ctx)
	ctx.RemoveUserValue(expects{})
	if body {
		return true
	}
	conns.LeaveUnread(ctx.Conn())
	// By default fasthttp answers every refusal with 417.
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

// forgetExpect removes the expectation from a request of HTTP/1.0. It must be ignored,
// because a client of HTTP/1.0 takes 100 Continue for the answer.
func forgetExpect(head *fasthttp.RequestHeader) fasthttp.RequestConfig {
	if !head.IsHTTP11() {
		head.Del(fiber.HeaderExpect)
	}
	return fasthttp.RequestConfig{}
}

// contextOf returns the request of a head. Fasthttp hands over the head alone, which is
// always a field within a RequestCtx.
func contextOf(head *fasthttp.RequestHeader) *fasthttp.RequestCtx {
	var ctx fasthttp.RequestCtx
	const at = unsafe.Offsetof(ctx.Request) + unsafe.Offsetof(ctx.Request.Header)
	return (*fasthttp.RequestCtx)(unsafe.Add(unsafe.Pointer(head), -int(at)))
}

// expecting returns the bool to set if the body may come, or nil if the client does not
// wait.
func expecting(c *fiber.Ctx) *bool {
	body, _ := c.Context().UserValue(expects{}).(*bool)
	return body
}

// expect refuses a request of pings by its head alone, and charges nothing. A request
// that says it is in need counts as in need until its body has come.
func (s *Server) expect(c *fiber.Ctx, x *request) error {
	if err := s.announced(c); err != nil {
		return err
	}
	if size := c.Request().Header.ContentLength(); c.Get(needHeader) == needValue && size >= 0 && size <= needMost {
		return nil
	}
	x.claim = s.budget.Claim(x.from.Key, x.from.Ours)
	if err := s.ordinary(x, time.Now()); err != nil {
		return err
	}
	return s.charge(x, requestBytes+firstBytes)
}

// announced refuses a body that is too large or in an unknown encoding, by the head.
func (s *Server) announced(c *fiber.Ctx) error {
	head := &c.Request().Header
	if head.ContentLength() > s.cfg.MaxBody {
		return s.tooLarge()
	}
	return inflate.Check(string(head.ContentEncoding()))
}
