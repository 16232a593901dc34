// Package standby answers at a node's address while the node waits for a log that another node
// has: the process is alive, and takes no pings.
package standby

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// Sign is what callers are told. The zero value of everything but Listen is usable.
type Sign struct {
	Listen string                                // address
	Layer  func(below net.Listener) net.Listener // speaks TLS on another listener; nil: plain HTTP
	Logger *slog.Logger

	// Ops opens the operations listener, where health answers probes, and returns how it is run; nil: there is none.
	Ops func(health http.Handler) (run func(context.Context) error, err error)

	Notes func() []string // shown at /readyz; nil: none

	reason atomic.Pointer[string]
	server *http.Server
	done   chan struct{}
	endOps func() // nil: it is not open
}

// Show is Say, of a log that node has had since then.
func (s *Sign) Show(node string, since time.Time) {
	s.Say(fmt.Sprintf("standby: the log belongs to %s, since %s", node, since.UTC().Format(time.RFC3339)))
}

// Say begins to answer, and gives that reason from now on. Only one goroutine may call it, and
// Close after it.
func (s *Sign) Say(reason string) {
	s.reason.Store(&reason)
	if s.endOps == nil && s.Ops != nil {
		s.openOps()
	}
	if s.server != nil {
		return
	}
	ln, err := net.Listen("tcp", s.Listen)
	if err != nil {
		s.Logger.Warn("on standby nobody answers", "error", err)
		return
	}
	s.Logger.Info("on standby", "listen", ln.Addr().String())
	if s.Layer != nil {
		ln = s.Layer(ln)
	}
	s.server = &http.Server{Handler: s, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	s.done = make(chan struct{})
	go func() {
		defer close(s.done)
		if err := s.server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			s.Logger.Warn("on standby nobody answers any more", "error", err)
		}
	}()
}

func (s *Sign) openOps() {
	run, err := s.Ops(s)
	if err != nil {
		s.Logger.Warn("on standby operators are not answered", "error", err)
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := run(ctx); err != nil {
			s.Logger.Warn("on standby operators are not answered any more", "error", err)
		}
	}()
	s.endOps = func() { stop(); <-ended }
}

// Close frees the addresses. Connections are closed: a client that has its answer comes again.
func (s *Sign) Close() {
	if s.endOps != nil {
		s.endOps()
		s.endOps = nil
	}
	if s.server != nil {
		_ = s.server.Close()
		<-s.done
		s.server = nil
	}
}

func (s *Sign) notes() []string {
	if s.Notes == nil {
		return []string{}
	}
	return append([]string{}, s.Notes()...)
}

// ServeHTTP answers as a node does that takes no pings: /healthz 200, /readyz and all else 503.
func (s *Sign) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	reason := *s.reason.Load()
	var answer any = struct {
		Error string `json:"error"`
	}{reason}
	switch r.URL.Path {
	case "/healthz":
		_, _ = w.Write([]byte("ok\n"))
		return
	case "/readyz":
		answer = struct {
			Ready  bool     `json:"ready"`
			Reason string   `json:"reason"`
			Level  int      `json:"level"`
			Notes  []string `json:"notes"`
		}{false, reason, 0, s.notes()}
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Retry-After", "1")
	w.WriteHeader(http.StatusServiceUnavailable)
	_ = json.NewEncoder(w).Encode(answer)
}
