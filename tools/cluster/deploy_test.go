package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// The NATS server takes its file of deploy/: it syncs each write, and knows all three.
func TestServersOfDeploy(t *testing.T) {
	t.Setenv("NATS_NAME", "nats-2")
	o, err := server.ProcessConfigFile("../../deploy/nats.conf")
	if err != nil {
		t.Fatal(err)
	}
	if o.ServerName != "nats-2" || !o.JetStream || !o.SyncAlways || o.StoreDir != "/data" || o.Cluster.Name == "" {
		t.Errorf("it is %s with JetStream %v in %s, synced always: %v, in cluster %q", o.ServerName, o.JetStream, o.StoreDir, o.SyncAlways, o.Cluster.Name)
	}
	compose, err := os.ReadFile("../../deploy/compose-parts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, route := range o.Routes {
		if !strings.Contains(string(compose), "\n  "+route.Hostname()+":\n") {
			t.Errorf("%s is no service of compose-parts.yaml", route)
		}
	}
	if len(o.Routes) != servers {
		t.Errorf("it knows %v", o.Routes)
	}
}

// The Caddy of deploy/ sends pings to the nodes that say at /readyz that they take them, and to
// others once they do.
func TestBalancerOfDeploy(t *testing.T) {
	caddy, err := exec.LookPath("caddy")
	if err != nil {
		t.Skip("caddy is not installed")
	}
	text, err := os.ReadFile("../../deploy/Caddyfile.parts")
	if err != nil {
		t.Fatal(err)
	}
	waits := new(atomic.Int64) // the node that waits for a part
	waits.Store(2)
	conf := string(text)
	for i, name := range []string{"pingline-a:8080", "pingline-b:8080", "pingline-c:8080"} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if waits.Load() == int64(i) {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			_, _ = io.WriteString(w, name[9:10])
		}))
		defer s.Close()
		conf = strings.Replace(conf, name, strings.TrimPrefix(s.URL, "http://"), 1)
	}
	ports, err := make(ports).free(1)
	if err != nil {
		t.Fatal(err)
	}
	listen := "127.0.0.1:" + strconv.Itoa(ports[0])
	conf = "{\n\tadmin off\n}\n" + strings.Replace(conf, "\n:8080 {", "\nhttp://"+listen+" {", 1)
	dir, said := t.TempDir(), new(bytes.Buffer)
	file := filepath.Join(dir, "Caddyfile")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(caddy, "run", "--config", file, "--adapter", "caddyfile")
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(said)
		}
	})
	seen := func() string { // who answers nine requests, and ! where one is refused
		var all string
		for range 9 {
			req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "http://"+listen+"/v1/pings", strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				return err.Error()
			}
			name, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				name = []byte("!")
			}
			if !strings.Contains(all, string(name)) {
				all += string(name)
			}
		}
		return all
	}
	only := func(a, b string) func() bool {
		return func() bool { got := seen(); return got == a+b || got == b+a }
	}
	eventually(t, "a and b are asked, in turn", only("a", "b"))
	waits.Store(0)
	eventually(t, "b and c are asked, in turn", only("b", "c"))
}
