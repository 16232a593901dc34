package main

import (
	"strings"
	"syscall"
	"testing"
	"time"
)

// A terminal that goes away stops what it runs, in order.
func TestHangupOfATerminal(t *testing.T) {
	t.Setenv("TERM", "xterm")
	screen, listen := newScreen(t), freePort(t)
	cmd := pinglineCommand("serve", "--data-dir="+t.TempDir(), "--listen="+listen, "--ops-listen=", "--influx-host=http://127.0.0.1:1")
	cmd.Stderr = screen.File
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, cmd: cmd, url: "http://" + listen, exited: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.exited)
	}()
	t.Cleanup(p.kill)
	eventually(t, "it takes pings", func() bool { return isReady(p.url + "/readyz") })
	p.hangup()
	select {
	case <-p.exited:
	case <-time.After(patience):
		t.Fatal("the process goes on")
	}
	if said := screen.shown(); p.err != nil || !strings.Contains(said, "msg=stopped") {
		t.Errorf("%v; signal %v; said %s", p.err, cmd.ProcessState.Sys().(syscall.WaitStatus).Signal(), said)
	}
}
