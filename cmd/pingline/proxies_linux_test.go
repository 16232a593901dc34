package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The nginx and the Caddy of deploy/ take pings over TLS and pass them on, say who the
// client is, let through that a body is too large, and let nobody read without a password.
func TestProxies(t *testing.T) {
	for _, proxy := range []struct {
		name  string
		start func(t *testing.T, dir, listen, server string) *exec.Cmd
	}{{"nginx", startNginx}, {"caddy", startCaddy}} {
		t.Run(proxy.name, func(t *testing.T) {
			if !installed(proxy.name) {
				t.Skipf("%s is not installed", proxy.name)
			}
			p := serve(t, t.TempDir(), "http://127.0.0.1:1", "--trusted-proxies=127.0.0.1/32")
			dir, listen := t.TempDir(), freePort(t)
			writeCertificate(t, dir)
			runUntilCleanup(t, proxy.start(t, dir, listen, strings.TrimPrefix(p.url, "http://")), listen)
			c := &proxyClient{t: t, url: "https://" + listen}

			ping := fmt.Sprintf(`{"rider_id":"r","ts":%d,"lat":41,"lon":-8}`, time.Now().UnixMilli())
			if status, body := c.do(http.MethodPost, "/v1/pings", ping, "Expect", "100-continue"); status != http.StatusOK || !strings.HasPrefix(body, `{"accepted":1,`) {
				t.Errorf("a ping: %d %s", status, body)
			}
			bad := strings.Replace(ping, `"lat":41`, `"lat":95`, 1)
			if status, body := c.do(http.MethodPost, "/v1/pings", bad, "X-Forwarded-For", "203.0.113.7"); status != http.StatusBadRequest {
				t.Errorf("a ping beyond the pole: %d %s", status, body)
			}
			eventually(t, "it is told who sent the ping", func() bool { return strings.Contains(p.said(), `"msg":"pings were refused"`) })
			if !strings.Contains(p.said(), `"client":"`+proxyClientHost+`"`) {
				t.Error("the client is not the address at the other end of the proxy")
			}
			if status, body := c.do(http.MethodPost, "/v1/pings", strings.Repeat(" ", 5<<20)); status != http.StatusRequestEntityTooLarge {
				t.Errorf("a body of 5 MiB: %d %s", status, body)
			}
			if status, body := c.do(http.MethodGet, "/v1/riders/r", ""); status != http.StatusUnauthorized {
				t.Errorf("a reader without a password: %d %s", status, body)
			}
			if status, body := c.do(http.MethodGet, "/v1/riders/r", "", "Authorization", "Basic cmVhZGVyOnNlY3JldA=="); status != http.StatusOK || !strings.Contains(body, `"lat":41`) {
				t.Errorf("a reader with one: %d %s", status, body)
			}
			if status, body := c.do(http.MethodGet, "/readyz", ""); status != http.StatusNotFound {
				t.Errorf("GET /readyz: %d %s", status, body)
			}
		})
	}
}

func startNginx(t *testing.T, dir, listen, server string) *exec.Cmd {
	text := replaced(t, "nginx.conf",
		"listen 443 ssl", "listen "+listen+" ssl",
		"    listen [::]:443 ssl http2;\n", "",
		"server 127.0.0.1:8080", "server "+server,
		"/etc/ssl/pings.pem", dir+"/pings.pem", "/etc/ssl/pings.key", dir+"/pings.key",
		"/etc/nginx/readers", dir+"/readers")
	writeIn(t, dir, "readers", "reader:{PLAIN}secret\n")
	var temporary strings.Builder
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&temporary, "%s_temp_path %s/%[1]s;\n", kind, dir)
	}
	writeIn(t, dir, "nginx.conf", "user root;\npid "+dir+"/pid;\nevents {}\nhttp {\naccess_log off;\n"+temporary.String()+text+"}\n")
	return exec.Command("nginx", "-p", dir, "-c", filepath.Join(dir, "nginx.conf"), "-e", "stderr", "-g", "daemon off;")
}

func startCaddy(t *testing.T, dir, listen, server string) *exec.Cmd {
	text := replaced(t, "Caddyfile",
		"\npings.example.org {\n", "\nhttps://"+listen+" {\n\ttls "+dir+"/pings.pem "+dir+"/pings.key\n",
		"reverse_proxy 127.0.0.1:8080", "reverse_proxy "+server)
	writeIn(t, dir, "Caddyfile", "{\n\tadmin off\n\tauto_https disable_redirects\n}\n"+text)
	cmd := exec.Command("caddy", "run", "--config", filepath.Join(dir, "Caddyfile"), "--adapter", "caddyfile")
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir, "READER_HASH="+secretHash)
	return cmd
}

const secretHash = "$2a$14$HmZHMX13SuoWRqfc0t2gOumjv1oNPCwCG6Zg56hOcYLXyREoB1jpS" // bcrypt of "secret"

// replaced returns a file of deploy/ with each of its texts that stands at an even place
// of pairs replaced by the next one.
func replaced(t *testing.T, name string, pairs ...string) string {
	t.Helper()
	text, err := os.ReadFile("../../deploy/" + name)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(pairs); i += 2 {
		if !bytes.Contains(text, []byte(pairs[i])) {
			t.Fatalf("deploy/%s has no %q", name, pairs[i])
		}
	}
	return strings.NewReplacer(pairs...).Replace(string(text))
}

// writeCertificate writes pings.pem and pings.key for 127.0.0.1 into dir.
func writeCertificate(t *testing.T, dir string) {
	t.Helper()
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	key, err := x509.MarshalPKCS8PrivateKey(s.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	writeIn(t, dir, "pings.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})))
	writeIn(t, dir, "pings.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))
}

// runUntilCleanup starts a command, and returns when it listens.
func runUntilCleanup(t *testing.T, cmd *exec.Cmd, listens string) {
	t.Helper()
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-ended
		if t.Failed() {
			t.Logf("%v said:\n%s", cmd.Args, said.String())
		}
	})
	eventually(t, cmd.Args[0]+" listens", func() bool {
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("%v: %v", cmd.Args, err)
		default:
		}
		c, err := net.Dial("tcp", listens)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
}

// proxyClientHost is the address from which a proxyClient connects.
const proxyClientHost = "127.0.0.9"

type proxyClient struct {
	t   *testing.T
	url string
}

// do makes a request, over HTTP/2, with lines of its head in pairs.
func (c *proxyClient) do(method, path, body string, head ...string) (status int, answer string) {
	c.t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(proxyClientHost)}}
	transport := &http.Transport{
		DialContext: dialer.DialContext, ForceAttemptHTTP2: true, ExpectContinueTimeout: time.Second, // nginx says 100 Continue over HTTP/1.1 only
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // its certificate is the test's own
	}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.url+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	for i := 0; i < len(head); i += 2 {
		req.Header.Set(head[i], head[i+1])
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.ProtoMajor != 2 {
		c.t.Errorf("%s %s was answered by %s", method, path, resp.Proto)
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}
