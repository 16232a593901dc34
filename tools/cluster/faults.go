package main

import (
	"bufio"
	"context"
	"io"
	"math/rand/v2"
	"strings"
	"syscall"
	"time"

	"pingline/internal/pause"
)

// kind says what a subprocess is.
func (s *site) kind(m *subprocess) string {
	for _, of := range s.servers {
		if of == m {
			return "server"
		}
	}
	return "node"
}

// die kills a subprocess and starts it again after a while. It returns when it is started.
func (s *site) die(ctx context.Context, m *subprocess, away time.Duration) {
	if !m.kill() {
		s.say.line("%s is dead already", m.name)
		return
	}
	s.say.line("%s %s is killed (kill -9), for %v", s.kind(m), m.name, away.Round(100*time.Millisecond))
	_ = pause.For(ctx, away) // an end starts it at once
	s.start(m)
}

func (s *site) start(m *subprocess) {
	if err := m.start(); err != nil {
		s.say.line("%s: %v", m.name, err)
		return
	}
	s.say.line("%s %s is started again", s.kind(m), m.name)
}

// freeze has a subprocess stand still for a while. It returns when it goes on.
func (s *site) freeze(ctx context.Context, m *subprocess, away time.Duration) {
	if m.signal(syscall.SIGSTOP) == nil {
		s.say.line("%s is dead already", m.name)
		return
	}
	s.say.line("%s %s stands still (kill -STOP), for %v", s.kind(m), m.name, away.Round(100*time.Millisecond))
	_ = pause.For(ctx, away)
	m.signal(syscall.SIGCONT)
	s.say.line("%s %s goes on", s.kind(m), m.name)
}

// restart ends a subprocess in order and starts it again.
func (s *site) restart(m *subprocess) {
	s.say.line("%s %s is told to end (SIGTERM)", s.kind(m), m.name)
	if err := m.stop(patience); err != nil {
		s.say.line("! %v", err)
	}
	s.start(m)
}

// fail has nodes and, at the same time, servers fail one after the other until ctx ends.
// All are well when it returns.
func (s *site) fail(ctx context.Context, o runFlags) {
	done := make(chan struct{}, 2)
	go func() { s.failNodes(ctx, o, rand.New(rand.NewPCG(o.seed, 1))); done <- struct{}{} }()
	go func() { s.failServers(ctx, o, rand.New(rand.NewPCG(o.seed, 2))); done <- struct{}{} }()
	<-done
	<-done
}

// wait pauses for about the time between two failures.
func wait(ctx context.Context, o *runFlags, rng *rand.Rand) bool {
	return pause.For(ctx, o.every/2+time.Duration(rng.Int64N(int64(o.every)))) == nil
}

func (s *site) failNodes(ctx context.Context, o runFlags, rng *rand.Rand) {
	for wait(ctx, &o, rng) {
		n := s.nodes[rng.IntN(len(s.nodes))]
		away := time.Second + time.Duration(rng.Int64N(int64(o.away)))
		switch rng.IntN(6) {
		case 0, 1, 2:
			s.die(ctx, n.subprocess, away)
		case 3, 4:
			s.freeze(ctx, n.subprocess, o.lease+away) // longer than its lease
		case 5:
			for _, n := range s.nodes {
				s.restart(n.subprocess)
				if s.serves(ctx) != nil {
					return
				}
			}
		}
	}
}

// failServers leaves two of three alone.
func (s *site) failServers(ctx context.Context, o runFlags, rng *rand.Rand) {
	for wait(ctx, &o, rng) {
		m, away := s.servers[rng.IntN(len(s.servers))], time.Second+time.Duration(rng.Int64N(int64(8*time.Second)))
		switch rng.IntN(6) {
		case 0, 1, 2:
			s.die(ctx, m, away)
		case 3, 4:
			s.freeze(ctx, m, away)
		case 5:
			s.restart(m)
		}
	}
}

const help = "type the name of a node (a, b, …) or server (1, 2, 3) to kill it with kill -9; stop NAME suspends it for longer than the lease; Ctrl-C ends with the audit"

// obey kills and suspends whom the lines of in name, until ctx ends. All are well when it
// returns.
func (s *site) obey(ctx context.Context, in io.Reader, o runFlags) {
	s.say.line("%s", help)
	lines := make(chan string)
	go func() {
		for scan := bufio.NewScanner(in); scan.Scan(); {
			select {
			case lines <- scan.Text():
			case <-s.ctx.Done():
				return
			}
		}
	}()
	failing := make(chan struct{})
	under := 0
	for {
		select {
		case <-ctx.Done():
			for ; under > 0; under-- {
				<-failing
			}
			return
		case <-failing:
			under--
		case line := <-lines:
			name, suspend := strings.CutPrefix(strings.TrimSpace(line), "stop ")
			m := s.find(strings.TrimSpace(name))
			if m == nil {
				s.say.line("%s", help)
				continue
			}
			under++
			go func() {
				if suspend {
					s.freeze(ctx, m, o.lease+o.away)
				} else {
					s.die(ctx, m, o.away)
				}
				failing <- struct{}{}
			}()
		}
	}
}
