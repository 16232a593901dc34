// Package inside hands messages to the HTTP server of this process, as requests that come by no
// connection: those of MQTT each as a POST of /v1/owntracks. So a message passes all that a
// request passes, and nothing of it is written twice.
package inside

import (
	"bytes"
	"math"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"pingline/ingest/auth"
	"pingline/ingest/mqtt"
)

// Path is the route that messages are requests of.
const Path = "/v1/owntracks"

// Take returns a function that hands messages to the handler of a server.
func Take(handle fasthttp.RequestHandler) mqtt.Take {
	pool := sync.Pool{New: func() any { return new(exchange) }}
	return func(m *mqtt.Message) mqtt.Result {
		x := pool.Get().(*exchange)
		defer pool.Put(x)
		defer x.forget()
		x.ask(m)
		handle(&x.ctx)
		return x.result()
	}
}

// Post returns a function that hands a body to the handler of a server, as a POST of uri by somebody at an
// address. It returns the result, and the body of the answer.
func Post(handle fasthttp.RequestHandler, uri string, from net.Addr, id *auth.Identity) func(body []byte) (mqtt.Result, []byte) {
	pool := sync.Pool{New: func() any { return new(exchange) }}
	return func(body []byte) (mqtt.Result, []byte) {
		x := pool.Get().(*exchange)
		defer pool.Put(x)
		defer x.forget()
		x.post(uri, from, id)
		x.body.Reset(body)
		x.ctx.Request.SetBodyStream(&x.body, len(body))
		handle(&x.ctx)
		return x.result(), bytes.Clone(x.ctx.Response.Body())
	}
}

// exchange is a request and its answer.
type exchange struct {
	ctx  fasthttp.RequestCtx
	conn unconnected
	body bytes.Reader
}

func (x *exchange) ask(m *mqtt.Message) {
	x.post(Path, m.From, m.Identity)
	req := &x.ctx.Request
	req.Header.Set("X-Limit-U", m.Rider)
	req.Header.Set("X-Limit-D", m.Device)
	if m.Authorization != "" {
		req.Header.Set(fasthttp.HeaderAuthorization, m.Authorization)
	}
	x.body.Reset(m.Payload)
	size := len(m.Payload)
	if m.TooLarge {
		size = math.MaxInt32 // as the header would say
	}
	req.SetBodyStream(&x.body, size)
}

// post begins a request without a body.
func (x *exchange) post(uri string, from net.Addr, id *auth.Identity) {
	x.conn = unconnected{from: from, id: id}
	x.ctx.Init2(&x.conn, nil, true)
	x.ctx.Request.Header.SetMethod(fasthttp.MethodPost)
	x.ctx.Request.SetRequestURI(uri)
}

func (x *exchange) result() mqtt.Result {
	f := mqtt.Result{Status: x.ctx.Response.StatusCode()}
	if s, err := strconv.Atoi(string(x.ctx.Response.Header.Peek(fasthttp.HeaderRetryAfter))); err == nil {
		f.Wait = time.Duration(s) * time.Second
	}
	return f
}

// forget keeps nothing of a message.
func (x *exchange) forget() {
	x.ctx.ResetUserValues()
	x.ctx.Request.Reset()
	x.ctx.Response.Reset()
	x.body.Reset(nil)
	x.conn = unconnected{}
}

// unconnected stands for the connection that a message came by. Requests find there who sends them.
type unconnected struct {
	from net.Addr
	id   *auth.Identity
}

// Identity returns who is at the other end, or nil.
func (c *unconnected) Identity() *auth.Identity { return c.id }

func (c *unconnected) RemoteAddr() net.Addr { return c.from }
func (c *unconnected) LocalAddr() net.Addr  { return nil } // of no listener of the server

// Nothing is read from it or written to it: the body is there, and the answer is read here.
func (c *unconnected) Read([]byte) (int, error)         { return 0, net.ErrClosed }
func (c *unconnected) Write([]byte) (int, error)        { return 0, net.ErrClosed }
func (c *unconnected) Close() error                     { return nil }
func (c *unconnected) SetDeadline(time.Time) error      { return nil }
func (c *unconnected) SetReadDeadline(time.Time) error  { return nil }
func (c *unconnected) SetWriteDeadline(time.Time) error { return nil }
