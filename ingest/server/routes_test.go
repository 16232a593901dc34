package server

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"pingline/query"
)

// What any method and path is answered. A slash at the end is no difference, two in a
// row are; parameters that nobody knows are ignored, as those of caches and tracing.
func TestMethodsAndPaths(t *testing.T) {
	s, _ := testServer(t, Config{Reader: query.Sources{
		Latest:     func(context.Context, string) (query.Points, error) { return query.Points{}, nil },
		Partitions: func(string) (query.Partitions, error) { return query.Partitions{}, nil },
	}})
	for _, tt := range []struct {
		line, body string
		status     int
		allow      string // header
		want       string // in the answer
	}{
		{"GET /", "", 200, "", `"routes":["POST /v1/pings"`},
		{"GET /?a=1&b", "", 200, "", `"ready":true`},
		{"HEAD /", "", 200, "", ""},
		{"POST /", "[]", 405, "GET, HEAD", "POST is not for /: use GET, HEAD"},
		{"GET /healthz", "", 200, "", "ok"},
		{"HEAD /healthz", "", 200, "", ""},
		{"GET /healthz/", "", 200, "", "ok"},
		{"GET /healthz?x=y", "", 200, "", "ok"},
		{"GET //healthz", "", 404, "", "there is no //healthz: it has two slashes in a row; GET / lists"},
		{"HEAD /readyz", "", 200, "", ""},
		{"GET /readyz/?utm=1", "", 200, "", `"ready":true`},
		{"DELETE /readyz", "", 405, "GET, HEAD", "DELETE is not for /readyz: use GET, HEAD"},
		{"POST /v1/pings", "[]", 200, "", `"accepted":0`},
		{"POST /v1/pings/", "[]", 200, "", `"accepted":0`},
		{"POST /v1/pings?trace=1", "[]", 200, "", `"accepted":0`},
		{"POST /v1//pings", "[]", 404, "", "there is no /v1//pings: it has two slashes"},
		{"GET /v1/pings", "", 405, "POST", "GET is not for /v1/pings: use POST"},
		{"HEAD /v1/pings", "", 405, "POST", ""},
		{"PUT /v1/pings", "[]", 405, "POST", "use POST"},
		{"OPTIONS /v1/pings", "", 405, "POST", "--cors-origins"},
		{"POST /v1/ping", "[]", 404, "", "there is no /v1/ping; GET / lists"},
		{"GET /v1/riders/r?x=1", "", 404, "", "no ping of this rider"},
		{"HEAD /v1/riders/r", "", 404, "", ""},
		{"GET /v1/riders/r/", "", 404, "", "no ping of this rider"},
		{"GET /v1/riders//track", "", 404, "", "two slashes"},
		{"GET /v1/riders/", "", 404, "", "there is no /v1/riders/"},
		{"POST /v1/riders/r", "[]", 405, "GET, HEAD", "POST is not for /v1/riders/r"},
		{"GET /v1/partitions", "", 200, "", "imbalance"},
		{"HEAD /v1/partitions/?x", "", 200, "", ""},
		{"GET /favicon.ico", "", 404, "", "there is no /favicon.ico"},
		{"GET /<script>", "", 404, "", "there is no"},
	} {
		w := dial(t, s)
		head := "\r\nContent-Length: " + map[bool]string{true: "0", false: "2"}[tt.body == ""]
		w.say("%s HTTP/1.1\r\nHost: x%s\r\n\r\n%s", tt.line, head, tt.body)
		a := w.hearTo(strings.HasPrefix(tt.line, "HEAD"))
		if a.status != tt.status || a.header.Get("Allow") != tt.allow || !strings.Contains(a.body, tt.want) {
			t.Errorf("%s: %d, Allow %q, %s; want %d, %q, %q", tt.line, a.status, a.header.Get("Allow"), a.body, tt.status, tt.allow, tt.want)
		}
		if strings.HasPrefix(tt.line, "HEAD") && a.body != "" {
			t.Errorf("%s has a body", tt.line)
		}
		if a.status >= 400 && a.body != "" {
			var said struct{ Error string }
			if json.Unmarshal([]byte(a.body), &said) != nil || said.Error == "" {
				t.Errorf("%s: %s is not JSON with an error", tt.line, a.body)
			}
		}
	}
}

// GET / shows a person a page, and a program the same in JSON.
func TestThePageOfTheServer(t *testing.T) {
	s, url := testServer(t, Config{Version: "v1.2<3>"})
	a := send(t, "GET", url, nil, "Accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8")
	for _, want := range []string{"v1.2&lt;3&gt;: taking pings", "POST /v1/pings", `<a href="/readyz">`} {
		if a.status != 200 || !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") || !strings.Contains(a.body, want) {
			t.Errorf("%d %v %s, want %s", a.status, a.header, a.body, want)
		}
	}
	if said := page("v1", []string{"GET /v1/cells", "GET /v1/partitions"}, "", 0); strings.Contains(said, `"/v1/cells"`) || !strings.Contains(said, `"/v1/partitions"`) {
		t.Errorf("a link that leads to a 400, or none: %s", said)
	}
	s.Leave()
	a = send(t, "GET", url, nil)
	var said struct {
		Name, Version, Reason string
		Ready                 *bool
		Routes                []string
	}
	if err := json.Unmarshal([]byte(a.body), &said); err != nil {
		t.Fatal(err)
	}
	if a.status != 200 || said.Name != "pingline" || said.Version != "v1.2<3>" || said.Ready == nil || *said.Ready || said.Reason != "about to stop" ||
		!slices.Equal(said.Routes, []string{"POST /v1/pings", "GET /healthz", "GET /readyz"}) {
		t.Errorf("%d %s", a.status, a.body)
	}
}
