package subscriber

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pingline/ingest/mqtt/mqtttest"
)

// mosquitto starts a broker that keeps sessions on the disk, or skips the test.
func mosquitto(t *testing.T) (addr string) {
	t.Helper()
	program, err := exec.LookPath("mosquitto")
	if err != nil {
		program = "/usr/sbin/mosquitto"
	}
	if _, err := os.Stat(program); err != nil {
		t.Skip("there is no mosquitto: apt-get install mosquitto")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = ln.Addr().String()
	_ = ln.Close()
	_, port, _ := net.SplitHostPort(addr)
	dir := t.TempDir()
	file := filepath.Join(dir, "mosquitto.conf")
	text := fmt.Sprintf("listener %s 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location %s/\nmax_queued_messages 0\nuser root\n", port, dir)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-c", file)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	eventually(t, "mosquitto listens", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	return addr
}

// Over a slow connection that breaks again and again every message is taken, at least once and
// in the order of its rider.
func TestConnectionsThatBreak(t *testing.T) {
	const riders, each, cuts = 5, 200, 3
	addr := mosquitto(t)
	f := slow(t, addr)
	srv := &server{}
	s, _ := run(t, Config{Upstream: Upstream{URL: "mqtt://" + f.Addr().String()}, Take: srv.take})
	subscribed(t, s)
	c := mqtttest.Dial(t, addr, 4)
	if code, _, err := c.Enter(mqtttest.Connect{ID: "phones"}); code != 0 || err != nil {
		t.Fatal(code, err)
	}
	for i := range each {
		for r := range riders {
			if err := c.Send(fmt.Sprintf("owntracks/r-%d/pixel", r), fmt.Sprint(i), uint16(1+i*riders+r)); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Next(); err != nil {
				t.Fatal(err)
			}
		}
		if i%(each/(cuts+1)) == each/(cuts+1)-1 {
			f.cut()
		}
	}
	distinct := func() int {
		got := map[string]bool{}
		for _, m := range srv.all() {
			got[m] = true
		}
		return len(got)
	}
	eventually(t, "all are taken", func() bool { return distinct() == riders*each })
	next := map[string]int{}
	for _, m := range srv.all() {
		rider, text, _ := strings.Cut(m, " ")
		var i int
		_, _ = fmt.Sscan(text, &i)
		if i > next[rider] {
			t.Fatalf("%s is taken, but not message %d", m, next[rider])
		}
		next[rider] = max(next[rider], i+1)
	}
	t.Logf("%d messages, %d taken", riders*each, len(srv.all()))
}
