package server

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pingline/ingest/server/framing/framingtest"
)

func (w *wire) statuses(n int) (got []int) {
	w.t.Helper()
	for range n {
		resp, err := http.ReadResponse(w.r, nil)
		if err != nil {
			w.t.Errorf("after %v: %v", got, err)
			return got
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		got = append(got, resp.StatusCode)
	}
	return got
}

// Honest requests are answered, wherever reads end in them, and nothing waits for
// more to come.
func TestHonestRequests(t *testing.T) {
	s, _ := testServer(t, Config{})
	for _, tt := range framingtest.Honest {
		t.Run(tt.Name, func(t *testing.T) {
			for _, step := range []int{1 << 20, 1, 17} {
				w := dial(t, s)
				go func() {
					for at := 0; at < len(tt.Said); at += step {
						if _, err := io.WriteString(w, tt.Said[at:min(at+step, len(tt.Said))]); err != nil {
							return
						}
					}
				}()
				if got := w.statuses(len(tt.Want)); !slices.Equal(got, tt.Want) {
					t.Errorf("in steps of %d: %v, want %v", step, got, tt.Want)
				}
				_ = w.Close()
			}
		})
	}
}

// An ambiguous request gets 400 and the end of the connection; those before it are
// answered, nothing behind it is taken for one, and no ping of it is judged.
func TestAmbiguousRequestsEndTheConnection(t *testing.T) {
	s, _ := testServer(t, Config{})
	for _, tt := range framingtest.Ambiguous {
		t.Run(tt.Name, func(t *testing.T) {
			for _, before := range []string{"", healthy} {
				w := dial(t, s)
				said := strings.Replace(tt.Said, "[]", onePing("r", 1), 1)
				go func() { _, _ = fmt.Fprint(w, before+said+strings.Repeat(healthy, 200)) }()
				if before != "" {
					if a := w.hear(); a.status != 200 {
						t.Errorf("the request before: %d %s", a.status, a.body)
					}
				}
				if a := w.hear(); a.status != 400 || !strings.Contains(a.body, "malformed request") || !w.ended() {
					t.Errorf("%d %s, want 400 and the end", a.status, a.body)
				}
			}
		})
	}
	if n := s.Stats().Received; n != 0 {
		t.Errorf("%d pings were received", n)
	}
}

// recordedRequest is what a client was seen to send.
type recordedRequest struct {
	ID      string
	Request struct {
		Method, Path, Query, Body string
		Headers                   map[string]string
	}
}

// Requests of location apps pass, whether or not there is a route for them.
func TestRecordedRequestsAreFramed(t *testing.T) {
	files, _ := filepath.Glob("../../../shared/data/clients/*.jsonl")
	if len(files) == 0 {
		t.Skip("the recorded requests of location apps are not in ../shared/data/clients")
	}
	s, _ := testServer(t, Config{})
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		lines := bufio.NewScanner(f)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var c recordedRequest
			if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			r := &c.Request
			target := r.Path
			if r.Query != "" {
				target += "?" + r.Query
			}
			head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: x\r\n", r.Method, target)
			for k, v := range r.Headers {
				if !strings.EqualFold(k, "content-length") && !strings.EqualFold(k, "host") {
					head += k + ": " + v + "\r\n"
				}
			}
			if r.Body != "" || r.Method == "POST" {
				head += fmt.Sprintf("Content-Length: %d\r\n", len(r.Body))
			}
			w := dial(t, s)
			go func() { _, _ = io.WriteString(w, head+"\r\n"+r.Body+healthy) }()
			first := w.hear()
			if strings.Contains(first.body, "malformed") || first.header.Get("Connection") != "close" && w.hear().status != 200 {
				t.Errorf("%s: %s%s: %d %s", c.ID, head, r.Body, first.status, first.body)
			}
		}
	}
}
