package server

import (
	"io"
	"strings"
	"testing"
)

// Browsers get the live map at / and below /map/, and the page for phones; who does not ask for HTML gets JSON, and
// what the map does not have is no route.
func TestTheLiveMapIsAtTheRoot(t *testing.T) {
	_, url := testServer(t, Config{Version: "v1", Pages: func(path string, request func(string) string) (int, map[string]string, io.Reader, int) {
		switch {
		case path == "/map/a.js" && request("If-None-Match") == `"1"`:
			return 304, map[string]string{"ETag": `"1"`}, nil, 0
		case path == "/" || path == "/map/a.js" || path == "/phone" || path == "/phone/a.js":
			return 200, map[string]string{"Content-Type": "text/of-the-map", "Vary": "Accept-Encoding"}, strings.NewReader("the map"), 7
		}
		return 404, nil, nil, 0
	}})
	for _, tt := range []struct {
		method, path, accept, known string
		status                      int
		want                        string
	}{
		{"GET", "/", "text/html,*/*;q=0.8", "", 200, "the map"},
		{"HEAD", "/", "text/html,*/*;q=0.8", "", 200, ""},
		{"GET", "/", "application/json", "", 200, `"routes":`},
		{"GET", "/", "", "", 200, `"routes":`},
		{"GET", "/map/a.js", "*/*", "", 200, "the map"},
		{"GET", "/map/a.js", "*/*", `"1"`, 304, ""},
		{"GET", "/phone", "*/*", "", 200, "the map"},
		{"GET", "/phone/a.js", "*/*", "", 200, "the map"},
		{"GET", "/phone/b.js", "*/*", "", 404, `"error":"there is no /phone/b.js`},
		{"GET", "/map/b.js", "*/*", "", 404, `"error":"there is no /map/b.js`},
		{"POST", "/map/a.js", "*/*", "", 405, `"error":`},
	} {
		a := send(t, tt.method, url+tt.path, nil, "Accept", tt.accept, "If-None-Match", tt.known)
		if a.status != tt.status || !strings.Contains(a.body, tt.want) || tt.want == "" && a.body != "" {
			t.Errorf("%s %s, Accept %q: %d %s, want %d %s", tt.method, tt.path, tt.accept, a.status, a.body, tt.status, tt.want)
		}
		if vary := a.header.Get("Vary"); tt.path == "/" && !strings.Contains(vary, "Accept") || tt.want == "the map" && !strings.Contains(vary, "Accept-Encoding") {
			t.Errorf("%s %s: Vary %q", tt.method, tt.path, vary)
		}
	}
}

// Without the map the page of the server says how to get it.
func TestWithoutTheLiveMapThePageSaysHowToGetIt(t *testing.T) {
	_, url := testServer(t, Config{Version: "v1"})
	if a := send(t, "GET", url, nil, "Accept", "text/html"); !strings.Contains(a.body, "<code>make livemap</code>") {
		t.Errorf("the page says not how to get the map: %s", a.body)
	}
}
