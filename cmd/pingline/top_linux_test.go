package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/charmbracelet/x/vt"
	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// watched is pingline top in a terminal of its own.
type watched struct {
	t      *testing.T
	cmd    *exec.Cmd
	master *os.File
	before unix.Termios
	screen *vt.Emulator
	drawn  chan struct{} // closed when the terminal is gone

	mu  sync.Mutex // guards all and what screen shows; its answers are read without it
	all bytes.Buffer
}

// watchTop starts pingline top in a terminal of 80 columns and 24 lines.
func watchTop(t *testing.T, env []string, args ...string) *watched {
	t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		t.Skipf("no terminal can be made here: %v", err)
	}
	w := &watched{t: t, master: master, screen: vt.NewEmulator(80, 24), drawn: make(chan struct{})}
	w.resize(80, 24)
	w.before = w.termios()
	w.cmd = pinglineCommand(append([]string{"top"}, args...)...)
	w.cmd.Env = append(append(w.cmd.Env, "TERM=xterm-256color", "NO_COLOR="), env...)
	w.cmd.Stdin, w.cmd.Stdout, w.cmd.Stderr = slave, slave, slave
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go w.draw()
	go func() { // what a terminal answers to the program's questions
		buf := make([]byte, 1024)
		for {
			n, err := w.screen.Read(buf)
			if err != nil {
				return
			}
			if _, err := master.Write(buf[:n]); err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = w.cmd.Process.Kill()
		_ = slave.Close()
		<-w.drawn
		_ = w.screen.InputPipe().(io.Closer).Close() // its own Close would race with Read
		_ = master.Close()
	})
	return w
}

func (w *watched) draw() {
	defer close(w.drawn)
	buf := make([]byte, 4096)
	for {
		n, err := w.master.Read(buf)
		if err != nil {
			return
		}
		w.mu.Lock()
		w.all.Write(buf[:n])
		_, _ = w.screen.Write(buf[:n])
		w.mu.Unlock()
	}
}

// written is all that was written to the terminal.
func (w *watched) written() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all.String()
}

func (w *watched) termios() unix.Termios {
	w.t.Helper()
	state, err := unix.IoctlGetTermios(int(w.master.Fd()), unix.TCGETS)
	if err != nil {
		w.t.Fatal(err)
	}
	return *state
}

func (w *watched) resize(columns, lines int) {
	w.t.Helper()
	w.mu.Lock()
	w.screen.Resize(columns, lines)
	w.mu.Unlock()
	if err := pty.Setsize(w.master, &pty.Winsize{Rows: uint16(lines), Cols: uint16(columns)}); err != nil {
		w.t.Fatal(err)
	}
}

// shown is the text on the screen.
func (w *watched) shown() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.screen.String()
}

// shows waits until the screen has what a pattern asks for.
func (w *watched) shows(pattern string) string {
	w.t.Helper()
	want := regexp.MustCompile(pattern)
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if screen := w.shown(); want.MatchString(screen) {
			return screen
		}
	}
	w.t.Fatalf("the screen has no %s:\n%s", pattern, w.shown())
	return ""
}

// ended waits until the program has ended, and checks that it has left the terminal as it
// was.
func (w *watched) ended() {
	w.t.Helper()
	if err := w.cmd.Wait(); err != nil {
		w.t.Errorf("it ends with %v", err)
	}
	if now := w.termios(); now != w.before {
		w.t.Errorf("the terminal was %+v, and is %+v", w.before, now)
	}
	eventually(w.t, "the screen of before is back", func() bool {
		all := w.written()
		return strings.LastIndex(all, "\x1b[?1049l") > strings.LastIndex(all, "\x1b[?1049h") && strings.LastIndex(all, "\x1b[?25h") > strings.LastIndex(all, "\x1b[?25l")
	})
}

// pingline top shows an ingester that is at work, notices when it is gone and when it is
// back, follows the size of the terminal, and leaves that as it was.
func TestTopOnATerminal(t *testing.T) {
	influx := startInflux(t)
	dir, listen := t.TempDir(), freePort(t)
	p := serve(t, dir, influx.URL(), "--listen="+listen)
	w := watchTop(t, nil, "--target=http://"+listen)
	w.shows(`Pingline .* at http://` + regexp.QuoteMeta(listen) + `[\s\S]*Taking pings; nothing is given up\.`)
	stop := make(chan struct{})
	var sending sync.WaitGroup
	sending.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(50 * time.Millisecond):
			}
			body := fmt.Sprintf(`{"rider_id":"r-%d","ts":%d,"lat":41,"lon":29}`, i%50, time.Now().UnixMilli())
			if resp, err := http.Post("http://"+listen+"/v1/pings", "application/json", strings.NewReader(body)); err == nil {
				_ = resp.Body.Close()
			}
		}
	})
	screen := w.shows(`received +[1-9][0-9.,]* pings/s +[▂▃▄▅▆▇█]`)
	for _, want := range []string{`stored `, `kept `, `freshness p99 `, `queue `, `\[0 normal\]`, `breakers: 1 closed`, `q ends it`, `10 min ago`} {
		if !regexp.MustCompile(want).MatchString(screen) {
			t.Errorf("there is no %s in\n%s", want, screen)
		}
	}
	if status, stdout, stderr := runs(t, "top", "--once", "--target="+p.url); status != exitOK || !strings.Contains(stdout, "\nTaking pings; nothing is given up.\n") || strings.ContainsAny(stdout, "\x1b\r") || stderr != "" {
		t.Errorf("once: exit status %d, %s %s", status, stdout, stderr)
	}
	if status, stdout, _ := runs(t, "top", "--once", "--json", "--target="+p.url); status != exitOK || !json.Valid([]byte(stdout)) || !strings.Contains(stdout, `"level_name":"normal"`) {
		t.Errorf("once: exit status %d, %s", status, stdout)
	}
	w.resize(50, 12)
	w.shows(`^\d\d:\d\d:\d\d  Pingline [^\n]*\n[^\n]+\nreceived [^\n]*\n[\s\S]*breakers: 1 closed`)
	w.resize(80, 24)
	w.shows(`10 min ago`)
	p.kill()
	w.shows(`No answer since \d\d:\d\d:\d\d: connect: connection refused\. The numbers are \d+ s old\.[\s\S]*received +was `)
	serve(t, dir, influx.URL(), "--listen="+listen)
	w.shows(`Taking pings; nothing is given up\.[\s\S]*received +[1-9][0-9.,]* pings/s`)
	close(stop)
	sending.Wait()
	if _, err := w.master.WriteString("q"); err != nil {
		t.Fatal(err)
	}
	w.ended()
}

// Ctrl-C and SIGTERM end it as q does; colours are used where the user wants them.
func TestTopEnds(t *testing.T) {
	colored := regexp.MustCompile(`\x1b\[(?:[0-9]+;)*[34][0-9](?:;[0-9]+)*m`) // the m: others move the cursor
	for _, tt := range []struct {
		name string
		env  string
		end  func(w *watched) error
	}{
		{"by q", "NO_COLOR=", func(w *watched) error { _, err := w.master.WriteString("q"); return err }},
		{"by Ctrl-C", "NO_COLOR=1", func(w *watched) error { _, err := w.master.WriteString("\x03"); return err }},
		{"by SIGTERM", "NO_COLOR=", func(w *watched) error { return w.cmd.Process.Signal(syscall.SIGTERM) }},
		{"by SIGINT", "NO_COLOR=1", func(w *watched) error { return w.cmd.Process.Signal(syscall.SIGINT) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := watchTop(t, []string{tt.env}, "--target=http://127.0.0.1:1")
			w.shows(`No answer since`)
			if state := w.termios(); state == w.before {
				t.Error("the terminal is not raw")
			}
			if err := tt.end(w); err != nil {
				t.Fatal(err)
			}
			w.ended()
			if said := colored.FindString(w.written()); (said == "") != (tt.env == "NO_COLOR=1") {
				t.Errorf("with %s there is the colour %q", tt.env, said)
			}
		})
	}
}

// A wrong flag is told with exit status 2, and a server that does not answer, or takes no
// pings, with 1.
func TestTopExitStatus(t *testing.T) {
	full := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"at":1,"step_s":5,"ready":false,"reason":"the log is full"}`))
	}))
	defer full.Close()
	for args, want := range map[string]struct {
		status int
		stderr string
	}{
		"--target=localhost":                       {exitUsage, "pingline: top: --target: "},
		"--every=10ms":                             {exitUsage, "pingline: top: --every: 10ms is not in [1s, 1m]"},
		"--evry=2s":                                {exitUsage, "pingline: unknown flag --evry"},
		"--header=x":                               {exitUsage, "pingline: --header: not NAME: VALUE"},
		"--once --target=http://127.0.0.1:1":       {exitFailed, "pingline: --target: http://127.0.0.1:1 does not answer: connect: connection refused"},
		"--once --target=" + full.URL:              {exitFailed, "pingline: the ingester takes no pings: the log is full"},
		"--once --json --target=" + full.URL:       {exitFailed, "pingline: the ingester takes no pings: the log is full"},
		"--once --target=" + full.URL + "/nowhere": {exitFailed, "pingline: the ingester takes no pings: the log is full"},
	} {
		status, _, stderr := runs(t, append([]string{"top"}, strings.Fields(args)...)...)
		if status != want.status || !strings.HasPrefix(stderr, want.stderr) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("top %s: exit status %d, %s", args, status, stderr)
		}
	}
}

// A server that is not Pingline ends it, and the error is on the terminal as it was before.
func TestTopOfAnotherServer(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	other := server.URL
	w := watchTop(t, nil, "--target="+other)
	err := w.cmd.Wait()
	if w.cmd.ProcessState.ExitCode() != exitFailed || w.termios() != w.before {
		t.Errorf("it ends with %v", err)
	}
	want := "pingline: --target: " + other + " is not Pingline: GET /v1/status is answered 404 Not Found"
	eventually(t, "the error is told", func() bool {
		_, told, _ := strings.Cut(w.written(), "\x1b[?1049l")
		return strings.Contains(told, want)
	})
}
