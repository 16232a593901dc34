package server

import (
	"fmt"
	"testing"
)

// A page of an origin in the configuration may send and read, on every route, and sees
// the headers that a client needs; of another origin the browser is told nothing.
func TestPagesOfOtherOrigins(t *testing.T) {
	const app = "https://app.example.org"
	for _, tt := range []struct {
		origins       []string
		origin, allow string
		vary          string
	}{
		{nil, app, "", ""},
		{[]string{"*"}, app, "*", ""},
		{[]string{app, "capacitor://localhost"}, app, app, "Origin"},
		{[]string{app, "capacitor://localhost"}, "capacitor://localhost", "capacitor://localhost", "Origin"},
		{[]string{app}, "https://evil.example.org", "", "Origin"},
		{[]string{app}, "https://app.example.org.evil.example", "", "Origin"},
		{[]string{app}, "null", "", "Origin"},
	} {
		t.Run(fmt.Sprint(tt.origins, tt.origin), func(t *testing.T) {
			_, url := testServer(t, Config{CORSOrigins: tt.origins})
			for _, path := range []string{"/v1/pings", "/v1/riders/r", "/v1/riders/r/track", "/v1/cells", "/v1/partitions", "/v1/status", "/healthz", "/readyz", "/"} {
				a := send(t, "OPTIONS", url+path, nil, "Origin", tt.origin,
					"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "content-type,pingline-priority")
				want := [4]string{tt.allow, "GET, HEAD, POST", "content-type,pingline-priority", "7200"}
				if tt.allow == "" {
					want = [4]string{}
				}
				h := a.header
				got := [...]string{h.Get("Access-Control-Allow-Origin"), h.Get("Access-Control-Allow-Methods"), h.Get("Access-Control-Allow-Headers"), h.Get("Access-Control-Max-Age")}
				if got != want || (a.status == 204) != (tt.allow != "") || a.status == 204 && a.body != "" {
					t.Errorf("OPTIONS %s: %d %q, want %q", path, a.status, got, want)
				}
			}
			for _, a := range []answer{
				send(t, "POST", url+"/v1/pings", []byte(onePing("r", 1)), "Origin", tt.origin),
				send(t, "POST", url+"/v1/pings", []byte("x"), "Origin", tt.origin),
				send(t, "GET", url+"/v2", nil, "Origin", tt.origin),
			} {
				exposed := ""
				if tt.allow != "" {
					exposed = "Retry-After, Pingline-Shed-Level, Date"
				}
				h := a.header
				if h.Get("Access-Control-Allow-Origin") != tt.allow || h.Get("Access-Control-Expose-Headers") != exposed || h.Get("Vary") != tt.vary {
					t.Errorf("%d: %v, want origin %q, Vary %q", a.status, h, tt.allow, tt.vary)
				}
			}
			a := send(t, "POST", url+"/v1/pings", []byte(onePing("r", 2)))
			if a.status != 200 || a.header.Get("Access-Control-Allow-Origin") != "" || a.header.Get("Vary") != tt.vary {
				t.Errorf("without Origin: %d %v", a.status, a.header)
			}
		})
	}
}
