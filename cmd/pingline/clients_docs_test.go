package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Each client of docs/clients.md keeps to the rule for retries: it waits as long as a 503
// says, halves what is too much, sends again when half of an answer is missing, takes 400
// with verdicts for an answer, and gives up at 404. Then it reads the track.
func TestDocumentedClients(t *testing.T) {
	if testing.Short() {
		t.Skip("it runs clients in several languages")
	}
	p := serve(t, t.TempDir(), startInflux(t).URL(), "--batch-wait=50ms", "--max-pings=2")
	for _, c := range []struct {
		section, language string
		files             []string // the blocks of the section
		driver            string
		build, run        []string // commands
	}{
		{"curl", "sh", []string{"send.sh", "track.sh"}, "drive.sh", []string{"curl", "--version"}, []string{"sh", "drive.sh"}},
		{"Python", "python", []string{"client.py"}, "drive.py", nil, []string{"python3", "drive.py"}},
		{"JavaScript", "js", []string{"client.mjs"}, "drive.mjs", nil, []string{"node", "drive.mjs"}},
		{"Kotlin", "kotlin", []string{"client.kt"}, "drive.kt",
			[]string{"kotlinc", "client.kt", "drive.kt", "-include-runtime", "-d", "client.jar"}, []string{"java", "-cp", "client.jar", "DriveKt"}},
	} {
		t.Run(c.section, func(t *testing.T) {
			blocks, dir := codeOf(t, "clients.md", c.section, c.language), t.TempDir()
			if len(blocks) != len(c.files) {
				t.Fatalf("docs/clients.md has %d blocks of %s under %s, want %d", len(blocks), c.language, c.section, len(c.files))
			}
			for i, name := range c.files {
				writeIn(t, dir, name, blocks[i])
			}
			driver, err := os.ReadFile("testdata/clients/" + c.driver)
			if err != nil {
				t.Fatal(err)
			}
			writeIn(t, dir, c.driver, string(driver))
			for _, command := range [][]string{c.build, c.run} {
				if len(command) > 0 && !installed(command[0]) {
					t.Skipf("%s is not installed", command[0])
				}
			}
			if c.build != nil {
				runIn(t, dir, c.build[0], c.build[1:]...)
			}
			f := newFaulty(t, p.url)
			at := time.Now().Add(-10 * time.Minute).UnixMilli()
			got := runIn(t, dir, c.run[0], append(c.run[1:], f.url, fmt.Sprint(at))...)
			want := "rejected 95 lat 96 lat\nrefused for good: 404\n0 41.1578123 -8.6291051 trip_start\n60000 41.2 -8.6 trip_end\n"
			if got != want {
				t.Errorf("the client printed\n%swant\n%s", got, want)
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			if got := strings.Join(f.answers, " "); got != "503 413 cut 200 200 400 404" {
				t.Errorf("the client got %s", got)
			}
			if f.waited < faultyRetryAfter {
				t.Errorf("told to wait for %v it waited for %v", faultyRetryAfter, f.waited)
			}
		})
	}
}

func installed(command string) bool {
	_, err := exec.LookPath(command)
	return err == nil
}

func writeIn(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// codeOf returns the blocks of code in a language in a section of a document: of all of it
// if section is "".
func codeOf(t *testing.T, document, section, language string) (blocks []string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/" + document)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range strings.Split(string(text), "\n## ")[1:] {
		if title, _, _ := strings.Cut(part, "\n"); section != "" && title != section {
			continue
		}
		for _, m := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```$").FindAllStringSubmatch(part, -1) {
			blocks = append(blocks, m[1])
		}
	}
	return blocks
}

// faulty is a proxy in front of a server that refuses the first request of pings with 503,
// and breaks off the first answer of 200 to one, which the server has given.
type faulty struct {
	url string

	mu      sync.Mutex // guards the fields below
	answers []string   // to requests of pings
	refused time.Time
	waited  time.Duration // from the 503 to the next request of pings
}

const faultyRetryAfter = 2 * time.Second

func newFaulty(t *testing.T, server string) *faulty {
	t.Helper()
	to, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	f, proxy := new(faulty), httputil.NewSingleHostReverseProxy(to)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			proxy.ServeHTTP(w, r)
			return
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		if len(f.answers) == 0 {
			f.answers, f.refused = []string{"503"}, time.Now()
			w.Header().Set("Retry-After", fmt.Sprint(faultyRetryAfter.Seconds()))
			http.Error(w, `{"error":"overloaded"}`, http.StatusServiceUnavailable)
			return
		}
		if len(f.answers) == 1 {
			f.waited = time.Since(f.refused)
		}
		answer := httptest.NewRecorder()
		proxy.ServeHTTP(answer, r)
		body := bytes.NewReader(answer.Body.Bytes())
		w.Header().Set("Content-Length", strconv.Itoa(body.Len()))
		w.WriteHeader(answer.Code)
		if answer.Code == http.StatusOK && len(f.answers) == 2 {
			f.answers = append(f.answers, "cut")
			_, _ = w.Write(answer.Body.Bytes()[:body.Len()/2])
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
		f.answers = append(f.answers, strconv.Itoa(answer.Code))
		_, _ = body.WriteTo(w)
	}))
	t.Cleanup(front.Close)
	f.url = front.URL
	return f
}
