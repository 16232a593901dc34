// Package ops tells how a node does: counters for Prometheus and for the store, the
// equations that they must satisfy, the accounts of memory, and profiles.
//
// It reads the parts of a node and changes none. A counter is cumulative since the
// start of the process.
package ops

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/pprof"
	"time"
)

// Server serves metrics and profiles to operators.
type Server struct {
	ln  net.Listener
	srv *http.Server
}

// AdminRoute is a route for administrators: it shows or changes data of riders, or the log.
type AdminRoute struct {
	Pattern string // as http.ServeMux takes it
	Handler http.HandlerFunc
	About   string // for the list of routes
}

// AskOn returns the handler that asks for keys on an address, or nil if nobody is asked.
type AskOn func(at net.Addr) func(next http.Handler) http.Handler

// Layer returns the listener that speaks TLS on another, or nil if all is plain HTTP.
type Layer func(below net.Listener) net.Listener

// Listen returns a server that answers on an address once it runs. A nil guard asks nobody,
// and without secure it speaks plain HTTP. The error names --ops-listen.
func Listen(listen string, metrics http.Handler, guard AskOn, secure Layer, admin ...AdminRoute) (*Server, error) {
	return open(listen, metrics, nil, guard, secure, admin)
}

// Waiting returns the way to listen while a node waits for a log, nil if listen is "": health answers probes, the metrics
// are those of the process alone, and the routes are asked for then.
func Waiting(listen string, guard AskOn, secure Layer, routes func() []AdminRoute) func(health http.Handler) (func(context.Context) error, error) {
	if listen == "" {
		return nil
	}
	return func(health http.Handler) (func(context.Context) error, error) {
		s, err := open(listen, processMetrics(), health, guard, secure, routes())
		if err != nil {
			return nil, err
		}
		return s.Run, nil
	}
}

// open is Listen with the answers to probes, unless health is nil.
func open(listen string, metrics, health http.Handler, guard AskOn, secure Layer, admin []AdminRoute) (*Server, error) {
	ln, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, fmt.Errorf("--ops-listen: %w", err)
	}
	var ask func(http.Handler) http.Handler
	if guard != nil {
		ask = guard(ln.Addr())
	}
	if secure != nil {
		ln = secure(ln)
	}
	mux, foreign := http.NewServeMux(), http.NewCrossOriginProtection() // a page of another site changes nothing, by the browser of whoever operates the node
	list := "/metrics       for Prometheus\n/debug/pprof/  profiles of the process\n"
	for _, r := range admin {
		route := http.Handler(r.Handler)
		if ask == nil {
			route = onlyHere(ln.Addr(), secure != nil, r.Handler)
		}
		mux.Handle(r.Pattern, foreign.Handler(route))
		list += r.Pattern + "  " + r.About + "\n"
	}
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = io.WriteString(w, list)
	})
	mux.Handle("GET /metrics", metrics)
	if health != nil {
		mux.Handle("GET /healthz", health)
		mux.Handle("GET /readyz", health)
	}
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	handler := http.Handler(mux)
	if ask != nil {
		handler = ask(mux)
	}
	return &Server{ln, &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}}, nil
}

// onlyHere lets requests pass that come from this machine: if the listener is open to
// others and asks for no keys, everybody who reaches it could read and delete. The Host
// must name this machine, too: otherwise a web page could have its own name lead here, and
// send requests from a browser. With TLS the browser sees by the certificate that the name is
// not that of the page.
func onlyHere(at net.Addr, secure bool, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tcp, ok := at.(*net.TCPAddr)
		switch host, _, err := net.SplitHostPort(r.Host); {
		case !ok || !tcp.IP.IsLoopback():
			http.Error(w, "riders and the log are for administrators: this route is answered only where --ops-listen is an address of this machine alone, such as 127.0.0.1:9090", http.StatusForbidden)
		case !secure && (err != nil || host != "localhost" && !net.ParseIP(host).IsLoopback()):
			http.Error(w, "the Host of the request does not name this machine", http.StatusForbidden)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// Addr is the address it listens on.
func (o *Server) Addr() net.Addr { return o.ln.Addr() }

// Run serves until ctx is cancelled.
func (o *Server) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = o.srv.Close() })
	defer stop()
	if err := o.srv.Serve(o.ln); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %v: %w", o.ln.Addr(), err)
	}
	return nil
}
