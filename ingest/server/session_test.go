package server

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"pingline/ingest/auth"
	"pingline/ingest/phone"
	"pingline/ingest/phone/osmand"
)

// A page shows its key once and reads by a cookie from then on. The cookie sends nothing,
// works for no other page, says nothing of the key, and ends with the key.
func TestSessionOfAPage(t *testing.T) {
	path, secrets := keysOf(t, keyFor("desk", "write,read", "*"), keyFor("phones", "write", "*"), keyFor("ana", "read", "ana"))
	s, url, log := guarded(t, gateOf(t, path, auth.Config{}))
	began := func(name string) (a answer, cookie *http.Cookie) {
		t.Helper()
		a = send(t, "POST", url+"/map/session", nil, "Authorization", "Bearer "+secrets[name])
		for _, line := range a.header.Values("Set-Cookie") {
			var err error
			if cookie, err = http.ParseSetCookie(line); err != nil {
				t.Fatal(line, err)
			}
		}
		return a, cookie
	}
	for _, name := range []string{"phones", "ana", "nobody"} {
		if a, cookie := began(name); a.status != map[string]int{"nobody": 401}[name] && a.status != 403 || cookie != nil {
			t.Errorf("%s begins a session: %d %v", name, a.status, cookie)
		}
	}
	a, cookie := began("desk")
	if a.status != 200 || a.body != `{"needed":false,"name":"desk"}` || a.header.Get("Cache-Control") != "no-store" {
		t.Fatal(a.status, a.body)
	}
	if !cookie.HttpOnly || !cookie.Secure || cookie.SameSite != http.SameSiteStrictMode || cookie.Path != "/" || cookie.Domain != "" || cookie.MaxAge != 12*3600 {
		t.Errorf("the cookie is %v", cookie)
	}
	if strings.Contains(cookie.Value, secrets["desk"]) || strings.Contains(a.body, secrets["desk"]) {
		t.Error("the cookie or the answer has the key in it")
	}
	shows := []string{"Cookie", cookie.Name + "=" + cookie.Value}
	ago := 40_000
	for _, r := range s.app.GetRoutes(true) {
		row := rightsOfRoutes[r.Method+" "+r.Path]
		want, body := row.right, row.body
		if r.Method == http.MethodHead {
			continue
		}
		if r.Method == http.MethodPost {
			want = 401
		}
		if body == "ana" {
			ago -= 60
			body = onePing("ana", ago)
		}
		if r.Path == "/v1/riders/:id" {
			send(t, "POST", url+"/v1/pings", []byte(onePing("ana", 3600)), "Authorization", "Bearer "+secrets["desk"])
		}
		before := len(entries(t, log))
		if a := send(t, row.method, url+row.path, []byte(body), shows...); a.status != want {
			t.Errorf("%s %s by the session: %d %s, want %d", r.Method, r.Path, a.status, a.body, want)
		}
		if len(entries(t, log)) != before {
			t.Errorf("%s %s by the session stored something", r.Method, r.Path)
		}
	}
	status := func(header ...string) int { return send(t, "GET", url+"/v1/status", nil, header...).status }
	for _, other := range []struct {
		what   string
		header []string
		want   int
	}{
		{"the page", append(slices.Clip(shows), "Sec-Fetch-Site", "same-origin"), 200},
		{"the address bar", append(slices.Clip(shows), "Sec-Fetch-Site", "none"), 200},
		{"a page of another site", append(slices.Clip(shows), "Sec-Fetch-Site", "cross-site"), 401},
		{"a page of a neighbour's host", append(slices.Clip(shows), "Sec-Fetch-Site", "same-site"), 401},
		{"a wrong key beside it", append(slices.Clip(shows), "Authorization", "Bearer pl_wrong"), 401},
		{"a changed cookie", []string{"Cookie", cookie.Name + "=" + cookie.Value[:len(cookie.Value)-2] + "AA"}, 401},
		{"half a cookie", []string{"Cookie", cookie.Name + "=" + cookie.Value[:20]}, 401},
		{"no cookie of ours", []string{"Cookie", cookie.Name + "=%%%"}, 401},
		{"the key as a cookie", []string{"Cookie", cookie.Name + "=" + secrets["desk"]}, 401},
	} {
		if got := status(other.header...); got != other.want {
			t.Errorf("%s: %d, want %d", other.what, got, other.want)
		}
	}
	if a := send(t, "GET", url+"/map/session", nil, shows...); a.body != `{"needed":false,"name":"desk"}` {
		t.Error(a.body)
	}
	if a := send(t, "GET", url+"/map/session", nil); a.body != `{"needed":true,"name":""}` {
		t.Error(a.body)
	}
	// Another process opens none of this one's cookies.
	_, elsewhere, _ := guarded(t, gateOf(t, path, auth.Config{}))
	if a := send(t, "GET", elsewhere+"/v1/status", nil, shows...); a.status != 401 {
		t.Errorf("another process lets the session in: %d", a.status)
	}
	if a := send(t, "DELETE", url+"/map/session", nil, shows...); a.status != 204 || !strings.Contains(a.header.Get("Set-Cookie"), "max-age=0") && !strings.Contains(a.header.Get("Set-Cookie"), "expires=") {
		t.Errorf("the end of a session: %d %q", a.status, a.header.Get("Set-Cookie"))
	}
	if err := auth.ChangeKeys(path, func(rows []auth.KeyRow) ([]auth.KeyRow, error) {
		for i := range rows {
			rows[i].Revoked = time.Now()
		}
		return rows, nil
	}); err != nil {
		t.Fatal(err)
	}
	until(t, "the session ends with its key", func() bool { return status(shows...) == 401 })
}

// Where nobody is asked for a key a page needs none.
func TestNoSessionWithoutKeys(t *testing.T) {
	_, url, _ := guarded(t, nil)
	for _, method := range []string{"GET", "POST"} {
		a := send(t, method, url+"/map/session", nil)
		if a.status != 200 || a.body != `{"needed":false,"name":""}` || a.header.Get("Set-Cookie") != "" {
			t.Errorf("%s: %d %s, cookie %q", method, a.status, a.body, a.header.Get("Set-Cookie"))
		}
	}
}

// A session only reads, even where a phone sends by GET.
func TestSessionSendsNothingByGet(t *testing.T) {
	path, secrets := keysOf(t, keyFor("desk", "write,read", "*"))
	s, base := testServer(t, Config{
		Gate: gateOf(t, path, auth.Config{}), Protocols: []phone.Protocol{osmand.Protocol},
		Pages: func(string, func(string) string) (int, map[string]string, io.Reader, int) { return 404, nil, nil, 0 },
	})
	a := send(t, "POST", base+"/map/session", nil, "Authorization", "Bearer "+secrets["desk"])
	cookie, err := http.ParseSetCookie(a.header.Get("Set-Cookie"))
	if err != nil {
		t.Fatal(a.status, a.body, err)
	}
	at := fmt.Sprintf("/v1/osmand?id=ana&lat=41.1&lon=-8.6&timestamp=%d", time.Now().Unix())
	for _, site := range []string{"", "none", "same-origin"} {
		header := []string{"Cookie", cookie.Name + "=" + cookie.Value}
		if site != "" {
			header = append(header, "Sec-Fetch-Site", site)
		}
		if a := send(t, "GET", base+at, nil, header...); a.status != 401 || s.Stats().Received != 0 {
			t.Errorf("%q: %d %s, %d pings", site, a.status, a.body, s.Stats().Received)
		}
	}
	if a := send(t, "GET", base+at, nil, "Authorization", "Bearer "+secrets["desk"]); a.status != 200 || s.Stats().Received != 1 {
		t.Errorf("by the key: %d %s", a.status, a.body)
	}
}
