package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pingline"
	"pingline/sink/influx/influxtest"
	"pingline/sink/store"
)

// builtLibrary compiles clients/js into a folder, which it returns. It skips the test without Node.
func builtLibrary(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("it compiles and runs a library in Node")
	}
	compiler, err := filepath.Abs("../../.cache/livemap/node_modules/.bin/tsc")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(compiler); err != nil || !installed("node") {
		t.Skip("the compiler is not installed: make phone does that, and needs Node and npm")
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../../clients/js")); err != nil {
		t.Fatal(err)
	}
	runIn(t, dir, compiler, "-p", ".")
	return dir
}

// The library's own tests, of all answers that a server gives.
func TestJavaScriptLibrary(t *testing.T) {
	dir := builtLibrary(t)
	if out := runIn(t, dir, "node", "--test", "test/"); !strings.Contains(out, "\n# fail 0\n") || strings.Contains(out, "\n# pass 0\n") {
		t.Error(out)
	}
}

// faultyRoad is a proxy before a server that does something else with each of the first requests.
type faultyRoad struct {
	mu     sync.Mutex // guards the fields below
	to     *url.URL
	steps  []string
	bodies []string
	at     []time.Time
	kill   func() // kills the server, and starts it again
}

func (f *faultyRoad) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	step := "pass"
	if n := len(f.bodies); n < len(f.steps) {
		step = f.steps[n]
	}
	f.bodies, f.at = append(f.bodies, string(body)), append(f.at, time.Now())
	switch step {
	case "503", "429":
		w.Header().Set("Retry-After", "2")
		w.WriteHeader(map[string]int{"503": 503, "429": 429}[step])
		_, _ = io.WriteString(w, `{"error":"later"}`)
		return
	case "portal":
		_, _ = io.WriteString(w, "<html>Log in!</html>")
		return
	case "none":
		panic(http.ErrAbortHandler)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	answer := httptest.NewRecorder()
	httputil.NewSingleHostReverseProxy(f.to).ServeHTTP(answer, r)
	if step == "kill" {
		f.kill()
	}
	if step == "cut" || step == "kill" { // the server has answered, and nobody hears all of it
		w.Header().Set("Content-Length", fmt.Sprint(answer.Body.Len()))
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes()[:answer.Body.Len()/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes())
}

// A phone with the library keeps 1,200 pings of half an hour ago and is answered 503, 429, 413,
// half an answer, a hotspot's page and nothing; the server is killed, and so is the phone. The
// pings that were not answered are sent again as they were, after as long as the server said, and each
// ping is stored once.
func TestQueueOfJavaScript(t *testing.T) {
	library := filepath.Join(builtLibrary(t), "dist", "index.js")
	influx, data, kept := startInflux(t), t.TempDir(), t.TempDir()
	start := func() *process {
		return serve(t, data, influx.URL(), "--max-pings=300", "--max-error=0", "--batch-wait=50ms")
	}
	p := start()
	f := &faultyRoad{steps: []string{"503", "429", "pass", "cut", "pass", "portal", "pass", "kill", "pass", "none", "pass"}}
	target := func() {
		to, err := url.Parse(p.url)
		if err != nil {
			t.Error(err)
		}
		f.to = to
	}
	f.kill = func() {
		p.kill()
		p = start()
		target()
	}
	target()
	front := httptest.NewServer(f)
	t.Cleanup(front.Close)
	at := time.Now().Add(-40 * time.Minute).UnixMilli()

	// The first phone dies when it has been answered for the third time.
	first := phoneOf(t, library, front.URL, kept, at, 1200)
	answers := 0
	for answers < 3 && first.lines.Scan() {
		if strings.HasPrefix(first.lines.Text(), "answered ") {
			answers++
		}
	}
	_ = first.cmd.Process.Kill()
	_ = first.cmd.Wait()
	if answers < 3 {
		t.Fatalf("the first phone has had %d answers: %s", answers, &first.errors)
	}
	second := phoneOf(t, library, front.URL, kept, at, 0)
	var last string
	for second.lines.Scan() {
		last = second.lines.Text()
	}
	if err := second.cmd.Wait(); err != nil {
		t.Fatalf("the second phone: %v %s", err, &second.errors)
	}
	t.Logf("the second phone: %s; %d requests", last, len(f.bodies))

	f.mu.Lock()
	defer f.mu.Unlock()
	for _, again := range []int{1, 4, 6, 8, 10} { // after 503, cut, portal, kill and none
		if f.bodies[again] != f.bodies[again-1] {
			t.Errorf("after %s request %d differs from that before: %d and %d bytes", f.steps[again-1], again, len(f.bodies[again]), len(f.bodies[again-1]))
		}
	}
	for _, told := range []int{0, 1} {
		if waited := f.at[told+1].Sub(f.at[told]); waited < 2*time.Second {
			t.Errorf("told to wait for 2 s it waited for %v", waited)
		}
	}
	if n := strings.Count(f.bodies[3], "\n") + 1; n != 250 {
		t.Errorf("after 413 a request has %d pings, want half of 500", n)
	}
	p.settled()
	stored := make(map[int64]int)
	all := store.Query{From: 0, To: time.Now().Add(time.Hour).UnixMilli()}
	if err := influxtest.Open(t, influxtest.Access(influx, "pingline")).Points(t.Context(), all, func(e *pingline.Entry, _ int64) error {
		stored[(e.At-at)/1000]++
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for i := range int64(1200) {
		if want := map[bool]int{true: 0, false: 1}[i == 700]; stored[i] != want {
			t.Errorf("ping %d is stored %d times, want %d", i, stored[i], want)
		}
	}
	if len(stored) != 1199 {
		t.Errorf("%d pings are stored, want 1199", len(stored))
	}
}

// runningPhone is a process of testdata/clients/queue.mjs.
type runningPhone struct {
	cmd    *exec.Cmd
	lines  *bufio.Scanner
	errors bytes.Buffer
}

func phoneOf(t *testing.T, library, server, dir string, at int64, n int) *runningPhone {
	t.Helper()
	ph := &runningPhone{cmd: exec.CommandContext(t.Context(), "node", "testdata/clients/queue.mjs", library, server, dir, fmt.Sprint(at), fmt.Sprint(n))}
	ph.cmd.Stderr = &ph.errors
	out, err := ph.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := ph.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ph.lines = bufio.NewScanner(out)
	return ph
}
