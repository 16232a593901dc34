package main

import (
	"bufio"
	"context"
	"io"
	"strings"
	"sync"
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

// restart ends a subprocess in order, and starts it again after a while.
func (s *site) restart(ctx context.Context, m *subprocess, away time.Duration) {
	s.say.line("%s %s is told to end (SIGTERM)", s.kind(m), m.name)
	if err := m.stop(patience); err != nil {
		s.say.line("! %v", err)
	}
	_ = pause.For(ctx, away)
	s.start(m)
}

// breaker brings the faults of a schedule about. A process has a single fault at a time, beside
// cuts of its wires; so have the servers together, since two of three make the log.
type breaker struct {
	*site
	o    *runFlags
	mu   sync.Mutex // guards busy; nothing else is locked under it
	busy map[string]bool
}

// fail has things fail until ctx ends. All are well when it returns.
func (s *site) fail(ctx context.Context, o *runFlags) {
	b := &breaker{site: s, o: o, busy: make(map[string]bool)}
	list, began := schedule(o), time.Now()
	s.say.line("schedule of seed %d: %s", o.seed, tally(list))
	var all sync.WaitGroup
	for i := range list {
		f := &list[i]
		if pause.For(ctx, f.at-time.Since(began)) != nil {
			break
		}
		all.Go(func() { b.bring(ctx, f) })
	}
	<-ctx.Done()
	all.Wait()
}

// take returns false if a fault of that name is there already.
func (b *breaker) take(name string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.busy[name] {
		return false
	}
	b.busy[name] = true
	return true
}

func (b *breaker) free(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.busy[name] = false
}

// bring brings a fault about, and mends it.
func (b *breaker) bring(ctx context.Context, f *fault) {
	var whom string
	switch f.kind {
	case killNode, suspendNode, endNode:
		whom = nodeName(f.whom)
	case killServer, suspendServer, endServer, killServers:
		whom = "servers"
	case rollNodes:
		b.roll(ctx)
		return
	case stepClock:
		b.say.line("the clock of node %s is set %v off, for %v", nodeName(f.whom), f.step, f.lasts.Round(100*time.Millisecond))
		b.nodes[f.whom].clock.set(f.step)
		_ = pause.For(ctx, f.lasts)
		b.nodes[f.whom].clock.set(0)
		b.say.line("the clock of node %s is right again", nodeName(f.whom))
		return
	default:
		b.cut(ctx, f)
		return
	}
	if !b.take(whom) {
		b.say.line("not now: %v", f)
		return
	}
	defer b.free(whom)
	switch f.kind {
	case killNode:
		b.die(ctx, b.nodes[f.whom].subprocess, f.lasts)
	case suspendNode:
		b.freeze(ctx, b.nodes[f.whom].subprocess, f.lasts)
	case endNode:
		b.restart(ctx, b.nodes[f.whom].subprocess, f.lasts)
	case killServer:
		b.die(ctx, b.servers[f.whom], f.lasts)
	case suspendServer:
		b.freeze(ctx, b.servers[f.whom], f.lasts)
	case endServer:
		b.restart(ctx, b.servers[f.whom], f.lasts)
	case killServers:
		var all sync.WaitGroup
		for _, m := range b.servers {
			all.Go(func() { b.die(ctx, m, f.lasts) })
		}
		all.Wait()
	}
}

func (b *breaker) cut(ctx context.Context, f *fault) {
	ends, said := f.cuts()
	b.say.line("cut: %s, for %v", said, f.lasts.Round(100*time.Millisecond))
	heal := b.wires.cut(ends)
	_ = pause.For(ctx, f.lasts)
	heal(f.deliver)
	how := "bytes that waited arrive"
	if !f.deliver {
		how = "connections break"
	}
	b.say.line("whole again: %s; %s", said, how)
}

// roll restarts all nodes in order, each once the riders have nodes again.
func (b *breaker) roll(ctx context.Context) {
	for _, n := range b.nodes {
		if !b.take(n.name) {
			continue
		}
		b.restart(ctx, n.subprocess, 0)
		b.free(n.name)
		if b.serves(ctx) != nil {
			return
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
