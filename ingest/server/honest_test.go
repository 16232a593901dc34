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
)

// honest are requests as clients and proxies send them, each with the statuses of
// the answers.
var honest = []struct {
	name, said string
	want       []int
}{
	{"an empty line behind a body", post + "Content-Length: 2\r\n\r\n[]\r\n", []int{200}},
	{"empty lines before a request", "\r\n\r\n" + healthy, []int{200}},
	{"many at once", strings.Repeat(post+"Content-Length: 2\r\n\r\n[]"+healthy, 20), slices.Repeat([]int{200}, 40)},
	{"a GET with a length of 0", "GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", []int{200}},
	{"Chunked", post + "transfer-encoding: Chunked\r\n\r\n2\r\n[]\r\n0\r\n\r\n", []int{200}},
	{"CHUNKED", post + "Transfer-Encoding:\tCHUNKED \r\n\r\n0002\r\n[]\r\n000\r\n\r\n", []int{200}},
	{"a chunk with an extension", post + "Transfer-Encoding: chunked\r\n\r\n1;a=\"b;c\"\r\n[\r\n1;x\r\n]\r\n0;z\r\n\r\n", []int{200}},
	{"spaces about a length", post + "Content-Length:   2 \r\n\r\n[]", []int{200}},
	{"no space before a length", post + "Content-Length:2\r\n\r\n[]", []int{200}},
	{"a length with zeros before it", post + "Content-Length: 0002\r\n\r\n[]", []int{200}},
	{"Expect", post + "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n[]", []int{100, 200}},
	{"Expect with chunks", post + "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n\r\n", []int{100, 200}},
	{"HTTP/1.0", "POST /v1/pings HTTP/1.0\r\nContent-Length: 2\r\n\r\n[]", []int{200}},
	{"HTTP/1.0 that stays", strings.Repeat("POST /v1/pings HTTP/1.0\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\n[]", 3), []int{200, 200, 200}},
	{"Connection: close", post + "Connection: close\r\nContent-Length: 2\r\n\r\n[]", []int{200}},
	{"a whole address", "GET http://x:8080/healthz HTTP/1.1\r\nHost: x:8080\r\n\r\n", []int{200}},
	{"OPTIONS of all", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n" + healthy, []int{404, 200}},
	{"OPTIONS from a browser", "OPTIONS /v1/pings HTTP/1.1\r\nHost: x\r\nOrigin: http://y\r\nAccess-Control-Request-Method: POST\r\n\r\n" + healthy, []int{405, 200}},
	{"other methods with a body", "PUT /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nGET /DELETE /v1/pings HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc" + healthy, []int{405, 405, 200}},
	{"an empty value", post + "X-Empty:\r\nX-Blank:   \r\nHost2: \r\nContent-Length: 2\r\n\r\n[]", []int{200}},
	{"an empty Host", "GET /healthz HTTP/1.1\r\nHost:\r\n\r\n", []int{200}},
	{"bytes that are not ASCII", post + "X-Name: J\xf6rg \xc3\xb6 \xff\r\nContent-Length: 2\r\n\r\n[]", []int{200}},
	{"a target that is not ASCII", "GET /healthz?n=J\xf6rg%20\xc3\xb6 HTTP/1.1\r\nHost: x\r\n\r\n", []int{200}},
	{"a tab in a value", post + "User-Agent: a\tb\r\nContent-Length: 2\r\n\r\n[]", []int{200}},
	{"a trailer that is announced and does not come", post + "Trailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n\r\n", []int{200}},
	{"a long header", post + "Authorization: Bearer " + strings.Repeat("x", 3500) + "\r\nContent-Length: 2\r\n\r\n[]", []int{200}},
	{"long headers", post + "Authorization: Bearer " + strings.Repeat("x", 5000) + "\r\nCookie: " + strings.Repeat("y", 2000) + "\r\nContent-Length: 2\r\n\r\n[]", []int{200}},
	{"as many headers as there may be", post + strings.Repeat("X: y\r\n", maxFields-2) + "Content-Length: 2\r\n\r\n[]", []int{200}},
	{"as many parameters as there may be", "GET /healthz?" + strings.Repeat("a=1&", maxFields-1) + "a=1 HTTP/1.1\r\nHost: x\r\n\r\n", []int{200}},
	{"a body that looks like requests", post + fmt.Sprintf("Content-Length: %d\r\n\r\n", 2*len(healthy)) + healthy + healthy + healthy, []int{400, 200}},
}

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
	for _, tt := range honest {
		t.Run(tt.name, func(t *testing.T) {
			for _, step := range []int{1 << 20, 1, 17} {
				w := dial(t, s)
				go func() {
					for at := 0; at < len(tt.said); at += step {
						if _, err := io.WriteString(w, tt.said[at:min(at+step, len(tt.said))]); err != nil {
							return
						}
					}
				}()
				if got := w.statuses(len(tt.want)); !slices.Equal(got, tt.want) {
					t.Errorf("in steps of %d: %v, want %v", step, got, tt.want)
				}
				_ = w.Close()
			}
		})
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
