package main

import (
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
)

func (p *process) hangup() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		p.t.Fatal(err)
	}
}

// SIGHUP has the settings read again: what can change does, what cannot is named, a
// wrong one changes nothing, and the process goes on.
func TestHangupReadsSettingsAgain(t *testing.T) {
	file := writeFile(t, "log-level: info\n")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := serve(t, t.TempDir(), "http://127.0.0.1:1", "--config="+file, "--max-body=2MiB")
	says := func(text string) {
		t.Helper()
		eventually(t, text, func() bool { return strings.Contains(p.said(), text) })
	}
	p.hangup()
	says(`"msg":"settings are read again","log_level":"INFO","needs_restart":null`)

	write("log-level: debug\nmax-pings: 0\n")
	p.hangup()
	says(`"msg":"settings are wrong: the earlier settings stay in force","error":"serve: --max-pings (` + file + `): 0 is not in [1, 65536]"`)

	write("log-level: error\nmax-pings: 7\nmax-body: 1MiB\nlisten: ':1'\n") // flags beat the file
	p.hangup()
	says(`"log_level":"ERROR","needs_restart":["--max-pings"]`)
	if status, body := p.readyz(); status != 200 {
		t.Errorf("readyz: %d %s", status, body)
	}
	if status := p.terminate(); status != exitOK || strings.Contains(p.said(), `"msg":"stopped"`) {
		t.Errorf("exit status %d; a line of level info was logged at level error: %v", status, p.said())
	}
}

func isReady(url string) bool {
	resp, err := http.Get(url)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}
