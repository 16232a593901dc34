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
	"net"
	"net/http"
	"net/http/pprof"
	"time"
)

// Server serves metrics and profiles to those who run the process.
type Server struct {
	ln  net.Listener
	srv *http.Server
}

// Listen returns a server that answers on an address once it runs. The error names
// --ops-listen.
func Listen(listen string, metrics http.Handler) (*Server, error) {
	ln, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, fmt.Errorf("--ops-listen: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metrics)
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return &Server{ln, &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}}, nil
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
