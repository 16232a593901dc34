// Package jvm runs servers that are written for the Java virtual machine, for tests.
//
// Their jars are fetched by make jars, and the tests run by make test-stores. A Process can
// be killed, frozen, thawed and restarted with the same arguments. On Linux it dies with its
// parent.
package jvm

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Env names the variable with the directory that has a folder of jars for each server.
const Env = "PINGLINE_JARS"

// Patience is how long a server may take to answer on a busy machine.
const Patience = 5 * time.Minute

// Java is how a server is started.
type Java struct {
	Jars  string   // name of its folder in the directory of Env
	First []string // directories of the class path before the jars
	JVM   []string // arguments of the virtual machine
	Main  string   // class
	Args  []string
	Env   []string // NAME=value, beside those of the test
	Dir   string   // where it runs; "" is that of the test

	// Ready returns nil once the server answers. It is asked again and again.
	Ready func() error
}

// Process is a server.
type Process struct {
	command Java
	log     printed

	mu   sync.Mutex // guards cmd and done; taken before log.mu
	cmd  *exec.Cmd
	done chan struct{} // closed when cmd is gone
}

// printed keeps the output of a server. It is safe for concurrent use.
type printed struct {
	mu   sync.Mutex // guards text; taken last
	text bytes.Buffer
}

func (l *printed) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *printed) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Start runs a server for as long as t. Without Env the test is skipped.
func Start(t testing.TB, c Java) *Process {
	t.Helper()
	Need(t, c.Jars)
	p := &Process{command: c}
	t.Cleanup(p.Kill)
	if err := p.Restart(); err != nil {
		t.Fatal(err)
	}
	return p
}

// Need skips the test where there are no jars, and fails where those of a server are missing.
func Need(t testing.TB, jars string) {
	t.Helper()
	dir := os.Getenv(Env)
	if dir == "" {
		t.Skipf("needs the jars of %s: make test-stores fetches them and runs this test", jars)
	}
	if found, _ := filepath.Glob(filepath.Join(dir, jars, "*.jar")); len(found) == 0 {
		t.Fatalf("%s=%s has no jars of %s: make jars", Env, dir, jars)
	}
}

// Run runs a program of a server's jars to its end, and fails the test if the program does. It
// returns what the program printed.
func Run(t testing.TB, c Java) (printed string) {
	t.Helper()
	Need(t, c.Jars)
	text, err := c.exec().CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", c.Main, c.Args, err, text)
	}
	return string(text)
}

func (c *Java) exec() *exec.Cmd {
	classes := ""
	for _, dir := range append(c.First, filepath.Join(os.Getenv(Env), c.Jars, "*")) {
		if classes != "" {
			classes += string(filepath.ListSeparator)
		}
		classes += dir
	}
	args := append([]string{}, c.JVM...)
	args = append(append(args, "-cp", classes, c.Main), c.Args...)
	cmd := exec.Command("java", args...) //nolint:gosec // running it is the purpose
	cmd.Env, cmd.Dir = append(os.Environ(), c.Env...), c.Dir
	return cmd
}

// Restart kills the server if it runs, starts it, and returns once it is ready.
func (p *Process) Restart() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.start(); err != nil {
		return err
	}
	var err error
	for deadline := time.Now().Add(Patience); time.Now().Before(deadline); {
		if err = p.command.Ready(); err == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s: %v\n%s", p.command.Main, p.cmd.ProcessState, p.log.String())
		case <-time.After(50 * time.Millisecond):
		}
	}
	return fmt.Errorf("%s is not ready: %w\n%s", p.command.Main, err, p.log.String())
}

// start kills the server if it runs, and starts it. p.mu is held.
func (p *Process) start() error {
	p.kill()
	cmd := p.command.exec()
	cmd.Stdout, cmd.Stderr = &p.log, &p.log
	cmd.SysProcAttr = childAttr()
	done, started := make(chan struct{}), make(chan error)
	go func() {
		// The kernel ends the child with the thread that made it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
			close(done)
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	p.cmd, p.done = cmd, done
	return nil
}

// Kill ends the server at once.
func (p *Process) Kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kill()
}

func (p *Process) kill() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill() // the only error is that it is gone
	<-p.done
	p.cmd = nil
}

// Freeze stops the server from answering.
func (p *Process) Freeze() error { return p.signal(syscall.SIGSTOP) }

// Thaw ends Freeze.
func (p *Process) Thaw() error { return p.signal(syscall.SIGCONT) }

func (p *Process) signal(sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return errors.New("the server is not running")
	}
	return p.cmd.Process.Signal(sig)
}

// Log returns the output of the server.
func (p *Process) Log() string { return p.log.String() }
