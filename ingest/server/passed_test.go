package server

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"pingline/ingest"
	"pingline/ingest/auth"
	"pingline/ingest/server/rate"
	"pingline/queue"
)

// A session of the live map is known to the node that began it: a read that another node answers
// shows the key there, and the cookie to nobody.
func TestReadsOfASessionThatArePassedOn(t *testing.T) {
	path, secrets := keysOf(t, keyFor("desk", "read", "*"))
	log := testLog(t, queue.Config{})
	w, _ := testWriter(t, ingest.WriterConfig{Log: log})
	var shown, cookies string
	_, url := testServer(t, Config{
		Gate: gateOf(t, path, auth.Config{}), Writer: w, Reader: newShelf(t, log).reader(),
		Pages: func(string, func(string) string) (int, map[string]string, io.Reader, int) { return 404, nil, nil, 0 },
		Pass: func(c *fasthttp.RequestCtx, _ string) (bool, error) {
			shown, cookies = string(c.Request.Header.Peek("Authorization")), string(c.Request.Header.Peek("Cookie"))
			c.SetBodyString("passed")
			return true, nil
		},
	})
	begun := send(t, "POST", url+"/map/session", nil, "Authorization", "Bearer "+secrets["desk"])
	session, err := http.ParseSetCookie(begun.header.Get("Set-Cookie"))
	if err != nil {
		t.Fatal(begun.status, err)
	}
	cookie := session.Name + "=" + session.Value
	for _, c := range []struct{ header, want []string }{
		{[]string{"Cookie", "a=b; " + cookie}, []string{"Bearer " + secrets["desk"], "a=b"}},
		{[]string{"Authorization", "Token " + secrets["desk"], "Cookie", cookie}, []string{"Token " + secrets["desk"], ""}},
	} {
		if a := send(t, "GET", url+"/v1/riders/ana", nil, c.header...); a.status != http.StatusOK || a.body != "passed" {
			t.Fatal(a.status, a.body)
		}
		if strings.TrimSpace(shown) != c.want[0] || cookies != c.want[1] {
			t.Errorf("the other node is shown %q and the cookies %q, want %q", shown, cookies, c.want)
		}
	}
}

// New riders of requests that were judged at the same time are charged, though the allowance is used up.
func TestNewRidersAreChargedBeyondTheAllowance(t *testing.T) {
	rates := rate.New(1, 10, 8)
	n := &newcomers{rates: rates, client: rates.Key("a client")}
	for range 3 {
		n.Pay(10)
	}
	if wait := rates.Take(n.client, 1, time.Now()); wait < 15*time.Second {
		t.Errorf("30 riders of 10 at a rate of 1/s: the next in %v", wait)
	}
}
