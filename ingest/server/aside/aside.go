// Package aside listens on a second address of a server, for apps that can be told a host and
// a port but no path: there / is another path of the server, and nothing else is there.
//
// Connections and requests of both addresses are of one server. They share its places, its
// budgets and its rates, and are let in by the same keys. The package limits nothing itself.
package aside

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"
)

// Config sets up an Address. The zero value is none.
type Config struct {
	Flag   string // names Listen in errors, without --
	Listen string // host:port; port 0 picks a free one; "": there is no second address
	Path   string // of the server, in place of /
}

// Address is a second address. A nil Address is none, and its methods do nothing.
type Address struct {
	cfg Config
	ln  net.Listener
}

// Open listens. It returns nil if there is no second address.
func Open(cfg Config) (*Address, error) {
	if cfg.Listen == "" {
		return nil, nil //nolint:nilnil // a nil Address is none
	}
	ln, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("--%s: %w", cfg.Flag, err)
	}
	return &Address{cfg, ln}, nil
}

// Addr returns the address, or nil.
func (a *Address) Addr() net.Addr {
	if a == nil {
		return nil
	}
	return a.ln.Addr()
}

// Join returns a listener whose connections come from both main and the second address. Its
// Addr is that of main, and its Close closes both.
func (a *Address) Join(main net.Listener) net.Listener {
	if a == nil {
		return main
	}
	return &joined{Listener: main, second: a.ln, came: make(chan accepted), done: make(chan struct{})}
}

// Serve has app answer requests of the second address. It is called once, behind the handlers
// that are for every answer and before those of routes.
func (a *Address) Serve(app *fiber.App) {
	if a == nil {
		return
	}
	app.Server().Handler = a.rename(app.Server().Handler)
	app.Use(func(c *fiber.Ctx) error {
		if found, here := c.Context().UserValue(renamed{}).(bool); here && !found {
			return fiber.NewError(fiber.StatusNotFound, fmt.Sprintf("there is only / here, which is %s elsewhere", a.cfg.Path))
		}
		return c.Next()
	})
}

// renamed is the key of a value in a request of the second address: whether its path was /.
// The head of a request may be handled before its body has come, and then again.
type renamed struct{}

// rename gives requests for / of the second address the path that it is.
func (a *Address) rename(next fasthttp.RequestHandler) fasthttp.RequestHandler {
	return func(c *fasthttp.RequestCtx) {
		if c.UserValue(renamed{}) == nil && a.took(c.LocalAddr()) {
			found := string(c.URI().PathOriginal()) == "/"
			if found {
				c.URI().SetPath(a.cfg.Path)
			}
			c.SetUserValue(renamed{}, found)
		}
		next(c)
	}
}

// took reports whether a connection whose own end is at came by the second address.
func (a *Address) took(at net.Addr) bool {
	own, second := addrPort(at), addrPort(a.ln.Addr())
	return own.Port() == second.Port() && (second.Addr().IsUnspecified() || own.Addr() == second.Addr())
}

func addrPort(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	at := tcp.AddrPort()
	return netip.AddrPortFrom(at.Addr().Unmap().WithZone(""), at.Port())
}

// joined is two listeners.
type joined struct {
	net.Listener
	second net.Listener

	start sync.Once
	came  chan accepted
	close sync.Once
	done  chan struct{}
}

type accepted struct {
	conn net.Conn
	err  error
}

// Accept returns the next connection, or error, of either listener.
func (j *joined) Accept() (net.Conn, error) {
	j.start.Do(func() {
		go j.take(j.Listener)
		go j.take(j.second)
	})
	select {
	case got := <-j.came:
		return got.conn, got.err
	case <-j.done:
		return nil, net.ErrClosed
	}
}

// take hands over the connections of a listener until it is closed.
func (j *joined) take(ln net.Listener) {
	for {
		c, err := ln.Accept()
		select {
		case j.came <- accepted{c, err}:
		case <-j.done:
			if c != nil {
				_ = c.Close()
			}
			return
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
	}
}

// Close closes both. Later calls return an error that is net.ErrClosed.
func (j *joined) Close() error {
	err := net.ErrClosed
	j.close.Do(func() {
		close(j.done)
		err = errors.Join(j.Listener.Close(), j.second.Close())
	})
	return err
}
