package main

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// With --shutdown-delay a load balancer sees that a process is about to stop while it
// still takes pings. A second signal ends the delay, and the process stops in order.
func TestLeavingALoadBalancer(t *testing.T) {
	p := serve(t, t.TempDir(), "http://127.0.0.1:1", "--shutdown-delay=1h")
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is not ready", func() bool {
		status, body := p.readyz()
		return status == http.StatusServiceUnavailable && strings.Contains(body, `"reason":"about to stop"`)
	})
	ping := fmt.Sprintf(`{"rider_id":"r","ts":%d,"lat":41,"lon":-8}`, time.Now().UnixMilli())
	if resp := post(t, p.url, []byte(ping)); resp.StatusCode != http.StatusOK {
		t.Errorf("a ping while it is about to stop: %s", resp.Status)
	}
	if status := p.terminate(); status != exitOK {
		t.Errorf("exit status %d after a second SIGTERM", status)
	}
}

// A connection is kept between requests for as long as --idle-timeout says.
func TestIdleTimeout(t *testing.T) {
	p := serve(t, t.TempDir(), "http://127.0.0.1:1", "--idle-timeout=20ms")
	c, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != http.StatusOK || resp.Close {
		t.Fatalf("%v, %v", resp, err)
	}
	resp.Body.Close()
	if b, err := r.Peek(4); err == nil {
		t.Errorf("said %q, want the end", b)
	}
}
