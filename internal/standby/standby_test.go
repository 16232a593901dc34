package standby_test

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"pingline/internal/standby"
)

// A node on standby is alive and not ready, says for whom it waits, and leaves its address to the
// server that comes after.
func TestSign(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := ln.Addr().String()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	s := &standby.Sign{Listen: at, Logger: slog.New(slog.DiscardHandler)}
	s.Close() // it may never have been shown
	for _, node := range []string{"a", "b"} {
		s.Show(node, time.Unix(0, 0))
		for path, want := range map[string]string{
			"/healthz":  "200 ok\n",
			"/readyz":   `503 {"ready":false,"reason":"standby: the log belongs to ` + node + `, since 1970-01-01T00:00:00Z","level":0,"notes":[]}` + "\n",
			"/v1/pings": `503 {"error":"standby: the log belongs to ` + node + `, since 1970-01-01T00:00:00Z"}` + "\n",
		} {
			resp, err := http.Post("http://"+at+path, "application/json", strings.NewReader("[]"))
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			if got := resp.Status[:4] + string(body); err != nil || got != want {
				t.Errorf("%s answers %q, %v, want %q", path, got, err, want)
			}
			if wait := resp.Header.Get("Retry-After"); (wait == "1") != (resp.StatusCode == 503) {
				t.Errorf("%s: Retry-After %q", path, wait)
			}
			_ = resp.Body.Close()
		}
	}
	conn, err := net.Dial("tcp", at) // a client that sends nothing does not hold it up
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	s.Close()
	ln, err = net.Listen("tcp", at)
	if err != nil {
		t.Fatalf("the address is not free: %v", err)
	}
	// An address that is taken does not keep the node from waiting.
	s.Show("a", time.Unix(0, 0))
	s.Close()
	_ = ln.Close()
}
