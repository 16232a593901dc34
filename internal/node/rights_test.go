package node

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"pingline/ingest/auth"
	"pingline/ingest/auth/access"
	"pingline/ingest/phone"
)

// strangers are senders that no route for writing or for administrators lets in, with the status
// of each.
func strangers(t *testing.T) (keysMade, map[string]int) {
	t.Helper()
	expired, revoked := auth.KeyRow{Name: "expired", Scopes: []string{"write", "read", "admin"}, Riders: []string{"*"}}, auth.KeyRow{Name: "revoked", Scopes: []string{"write", "read", "admin"}, Riders: []string{"*"}}
	expired.Expires, revoked.Revoked = time.Now().Add(-time.Second), time.Now()
	keys := keysFile(t, expired, revoked,
		auth.KeyRow{Name: "all-read", Scopes: []string{"read"}, Riders: []string{"*"}},
		auth.KeyRow{Name: "all-write", Scopes: []string{"write"}, Riders: []string{"*"}},
		auth.KeyRow{Name: "ana-admin", Scopes: []string{"admin"}, Riders: []string{"ana"}},
		auth.KeyRow{Name: "admin", Scopes: []string{"admin"}, Riders: []string{"*"}})
	keys.secrets["nobody"], keys.secrets["wrong"] = "", "pl_wrong"
	return keys, map[string]int{
		"nobody": 401, "wrong": 401, "expired": 401, "revoked": 401, "all-read": 403, "ana-admin": 403,
	}
}

// parameters are those in the path of a route.
var parameters = regexp.MustCompile(`\{([a-z]+)\}`)

// statusOf sends a request with a key, and returns the status of the answer.
func statusOf(t *testing.T, method, url, body, key string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); err != nil || key != "" && bytes.Contains(text, []byte(key)) {
		t.Errorf("%s %s: the answer has the key, or breaks off: %v", method, url, err)
	}
	return resp.StatusCode
}

// Each route of each protocol, as it stands in the table, asks for a key that may write, and
// takes nothing from anybody else.
func TestEveryProtocolAsksForAKey(t *testing.T) {
	keys, who := strangers(t)
	who["admin"] = 403
	n := drive(t, authConfig(t, "127.0.0.1:0", "", access.Settings{Ways: []string{"keys"}, Keys: keys.path}))
	asked := 0
	for _, p := range protocols {
		for _, route := range p.Routes {
			method, path := phone.Route(route)
			methods := []string{method}
			if method == "*" {
				methods = []string{http.MethodGet, http.MethodPost}
			}
			for name, want := range who {
				key := keys.secrets[name]
				at := parameters.ReplaceAllStringFunc(path, func(of string) string {
					if of == "{key}" && key != "" {
						return key
					}
					return "none"
				})
				for _, m := range methods {
					asked++
					body := `{"rider_id":"ana"}`
					if m == http.MethodGet {
						body = ""
					}
					switch got := statusOf(t, m, n.URL()+at, body, key); {
					case got == 429 && want == 401: // too many wrong keys of one client
					case got != want:
						t.Errorf("%s of %s by %s: %d, want %d", m+" "+path, p.Name, name, got, want)
					}
				}
			}
		}
	}
	if st := n.server.Stats(); st.Received != 0 {
		t.Errorf("%d pings were taken", st.Received)
	}
	t.Logf("%d protocols, %d requests", len(protocols), asked)
}

// Each route of the operations listener, as it lists them, is for administrators of all riders
// where it can be reached from elsewhere.
func TestEveryRouteOfOperationsIsForAdmins(t *testing.T) {
	keys, who := strangers(t)
	who["all-write"] = 403
	n := drive(t, authConfig(t, "127.0.0.1:0", ":0", access.Settings{Ways: []string{"keys"}, Keys: keys.path}))
	ops := strings.TrimSuffix(n.OpsURL(), "/metrics")
	status, list := ask(t, ops+"/", keys.secrets["admin"])
	if status != 200 {
		t.Fatalf("the list: %d %s", status, list)
	}
	routes := []string{"GET /", "GET /debug/pprof/cmdline", "GET /debug/pprof/goroutine", "POST /debug/pprof/symbol", "GET /none"}
	for line := range strings.Lines(list) {
		route, _, _ := strings.Cut(strings.TrimSpace(line), "  ")
		if route = strings.TrimSpace(route); strings.HasPrefix(route, "/") {
			route = "GET " + route
		}
		routes = append(routes, route)
	}
	if len(routes) < 10 || !strings.Contains(strings.Join(routes, ", "), "DELETE /v1/riders/{id}") {
		t.Fatalf("routes %q", routes)
	}
	for _, route := range routes {
		method, path, _ := strings.Cut(parameters.ReplaceAllString(route, "ana"), " ")
		for name, want := range who {
			switch got := statusOf(t, method, ops+path, "", keys.secrets[name]); {
			case got == 429 && want == 401:
			case got != want:
				t.Errorf("%s by %s: %d, want %d", route, name, got, want)
			}
		}
		if got := statusOf(t, method, ops+path, "", keys.secrets["admin"]); got == 401 || got == 403 || got == 429 {
			t.Errorf("%s by an administrator: %d", route, got)
		}
	}
	t.Log(fmt.Sprint(len(routes), " routes: "), routes)
}
