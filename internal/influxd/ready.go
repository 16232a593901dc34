package influxd

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"time"
)

var (
	errExited    = errors.New("exited")
	errPortTaken = errors.New("port is taken")
)

// awaitReady returns when the child answers queries and has its bucket, or with
// the reason why it never will.
func (s *Server) awaitReady(ctx context.Context, p *process) error {
	alive, cancel := context.WithCancel(ctx) // ends when the child dies, since its port may not answer at all
	defer cancel()
	go func() {
		select {
		case <-p.done:
			cancel()
		case <-alive.Done():
		}
	}()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for {
		err := s.api.identify(alive, p.pid())
		if err == nil {
			return s.api.setUp(ctx)
		}
		select {
		case <-p.done:
			return p.exitError()
		case <-ctx.Done():
			return fmt.Errorf("not ready: %w: %w", context.Cause(ctx), err)
		case <-poll.C:
		}
	}
}

// exitError returns how the child ended, and the last lines it logged.
func (p *process) exitError() error {
	kind, log := errExited, p.log.String()
	if strings.Contains(log, "address already in use") {
		kind = errPortTaken
	}
	return fmt.Errorf("%w: %v\n%s", kind, p.cmd.ProcessState, log)
}

// FreePort returns a port of 127.0.0.1 that nobody listens on. It lies below
// the range from which systems choose the ports of outgoing connections. So no
// outgoing connection, not even to this very port while the server is down,
// keeps a restarted server from listening.
func FreePort() (int, error) {
	const lowest, count, tries = 10_240, 10_000, 100
	var err error
	for range tries {
		port := lowest + rand.IntN(count)
		var ln net.Listener
		if ln, err = net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port)); err == nil {
			return port, ln.Close()
		}
	}
	return 0, fmt.Errorf("no free port from %d in %d tries: %w", lowest, tries, err)
}
