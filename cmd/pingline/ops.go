package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"time"
)

// opsServer serves metrics and profiles to those who run the process.
type opsServer struct {
	ln  net.Listener
	srv *http.Server
}

func newOpsServer(listen string, metrics http.Handler) (*opsServer, error) {
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
	return &opsServer{ln, &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}}, nil
}

// run serves until ctx is cancelled.
func (o *opsServer) run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = o.srv.Close() })
	defer stop()
	if err := o.srv.Serve(o.ln); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %v: %w", o.ln.Addr(), err)
	}
	return nil
}
