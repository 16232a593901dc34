package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// subprocess is a server or a node, in a process of its own that is started again and again.
// Safe for concurrent use.
type subprocess struct {
	name    string
	log     string             // file that its output is added to
	command func() *exec.Cmd   // a new one for each start
	ended   func(status error) // told of an end that nobody asked for

	mu     sync.Mutex // guards what follows; nothing else is locked under it
	cmd    *exec.Cmd  // nil: not running
	done   chan struct{}
	asked  bool // to end
	frozen bool
	status error
}

// start returns once the process is there, which is before it does anything.
func (m *subprocess) start() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cmd != nil {
		return fmt.Errorf("%s runs already", m.name)
	}
	out, err := os.OpenFile(m.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	cmd, done := m.command(), make(chan struct{})
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = childAttr()
	started := make(chan error)
	go func() {
		// The kernel kills a child when the thread that made it ends.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer func() { _ = out.Close() }()
		err := cmd.Start()
		started <- err
		if err == nil {
			m.wait(cmd, done)
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	m.cmd, m.done, m.asked, m.frozen = cmd, done, false, false
	return nil
}

func (m *subprocess) wait(cmd *exec.Cmd, done chan struct{}) {
	err := cmd.Wait()
	m.mu.Lock()
	m.cmd, m.status = nil, err
	asked := m.asked
	m.mu.Unlock()
	close(done)
	if !asked && m.ended != nil {
		m.ended(err)
	}
}

// signal sends a signal. It returns what is closed when the process has ended, nil if it
// does not run.
func (m *subprocess) signal(sig syscall.Signal) (done chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cmd == nil {
		return nil
	}
	switch sig {
	case syscall.SIGKILL, syscall.SIGTERM:
		m.asked = true
	case syscall.SIGSTOP, syscall.SIGCONT:
		m.frozen = sig == syscall.SIGSTOP
	}
	_ = m.cmd.Process.Signal(sig) // the only error is that it has ended
	return m.done
}

// kill ends the process as kill -9 does, and returns whether there was one.
func (m *subprocess) kill() bool {
	done := m.signal(syscall.SIGKILL)
	if done == nil {
		return false
	}
	<-done
	return true
}

// stop has the process end in order, and returns an error if it does not, or not with 0.
func (m *subprocess) stop(limit time.Duration) error {
	done := m.signal(syscall.SIGTERM)
	if done == nil {
		return nil
	}
	select {
	case <-done:
	case <-time.After(limit):
		m.kill()
		return fmt.Errorf("%s does not end within %v of SIGTERM", m.name, limit)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.status != nil {
		return fmt.Errorf("%s was told to end: %w: %s", m.name, m.status, m.last())
	}
	return nil
}

// runs tells whether the process is there, and whether it stands still.
func (m *subprocess) runs() (there, frozen bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.cmd != nil, m.frozen
}

// last returns the last line of the output.
func (m *subprocess) last() string {
	text, err := os.ReadFile(m.log)
	if err != nil {
		return err.Error()
	}
	text = bytes.TrimSpace(text)
	return string(text[bytes.LastIndexByte(text, '\n')+1:])
}

// exitStatus says how a process ended.
func exitStatus(err error) string {
	if err == nil {
		return "status 0"
	}
	if exit := new(exec.ExitError); errors.As(err, &exit) && exit.Exited() {
		return fmt.Sprintf("status %d", exit.ExitCode())
	}
	return err.Error()
}
