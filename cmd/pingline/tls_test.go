package main

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pingline/ingest/server/certs/certstest"
	"pingline/internal/influxd"
)

// secureFiles writes the files of a server that ca vouches for, and returns their flags.
func secureFiles(ca *certstest.Authority) []string {
	server := ca.Server()
	return []string{"--tls-cert=" + ca.File("tls.pem", server.Text), "--tls-key=" + ca.File("tls.key", server.Key)}
}

// certified returns a client that trusts ca, and shows certificates.
func certified(t *testing.T, ca *certstest.Authority, pairs ...certstest.Pair) *http.Client {
	transport := &http.Transport{TLSClientConfig: ca.Shown(pairs...)}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// The program with certificates of riders: each sends as itself. An expired certificate, that
// of another host and a revoked one are refused, with a reason in the log and not in the
// answer. What is read from the files again needs no restart.
func TestServeOverTLS(t *testing.T) {
	ca := certstest.New(t, "ours")
	ana, ben := ca.Client("ana"), ca.Client("ben")
	soon := time.Now().Add(time.Hour)
	crl := ca.File("crl.pem", ca.List(soon))
	p := serve(t, t.TempDir(), "http://127.0.0.1:1", append(secureFiles(ca),
		"--tls-client-ca="+ca.File("clients.pem", ca.Text()), "--tls-client-crl="+crl, "--auth=cert")...)
	if !strings.HasPrefix(p.url, "https://") || !strings.HasPrefix(p.ops, "https://") {
		t.Fatalf("it listens at %s and %s", p.url, p.ops)
	}
	ask := func(by *http.Client, method, url, body string) (int, string) {
		t.Helper()
		req, err := http.NewRequest(method, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := by.Do(req)
		if err != nil {
			return 0, err.Error()
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(text)
	}
	nobody, asAna := certified(t, ca), certified(t, ca, ana)
	body := fmt.Sprintf(`[{"rider_id":"ana","ts":%d,"lat":41,"lon":2},{"rider_id":"ben","ts":%[1]d,"lat":41,"lon":2}]`, time.Now().UnixMilli())
	if status, text := ask(asAna, "POST", p.url+"/v1/pings", body); status != 200 || !strings.Contains(text, `"accepted":1`) || !strings.Contains(text, `"rejected":1`) {
		t.Errorf("ana for ana and ben: %d %s", status, text)
	}
	if status, text := ask(nobody, "POST", p.url+"/v1/pings", body); status != 401 || !strings.Contains(text, "client certificate") {
		t.Errorf("nobody: %d %s", status, text)
	}
	if status, text := ask(nobody, "GET", p.url+"/readyz", ""); status != 200 {
		t.Errorf("nobody asks whether it is ready: %d %s", status, text)
	}
	expired := ca.Issue(x509.Certificate{Subject: pkix.Name{CommonName: "ana"}, NotAfter: time.Now().Add(-time.Minute)})
	ca.File("crl.pem", ca.List(soon, ben))
	refused := func(pair certstest.Pair, reason string) {
		t.Helper()
		eventually(t, reason, func() bool {
			status, text := ask(certified(t, ca, pair), "GET", p.url+"/healthz", "")
			if status == 0 && !strings.Contains(text, "tls: bad certificate") {
				t.Errorf("%s: the client learns %s", reason, text)
			}
			return status == 0
		})
		eventually(t, reason+" in the log", func() bool { return strings.Contains(p.said(), `"reason":"`+reason+`"`) })
		eventually(t, reason+" in the counts", func() bool {
			_, text := ask(nobody, "GET", p.ops, "")
			counts, err := valuesOf(text, `pingline_auth_failures_total{reason="`+reason+`"}`)
			return err == nil && len(counts) == 1 && counts[0] > 0
		})
	}
	refused(expired, "cert_expired")
	refused(ca.Server(), "cert_usage")
	// A connection that was open when the list came ends without an alert. Later ones have it.
	eventually(t, "the list holds", func() bool {
		status, _ := ask(certified(t, ca, ben), "GET", p.url+"/healthz", "")
		return status == 0
	})
	refused(ben, "cert_revoked")
	if _, text := ask(nobody, "GET", p.ops, ""); !strings.Contains(text, "\npingline_tls_certificate_expires_seconds 3.15") {
		t.Error("the metrics do not say when the certificate expires")
	}
	secureFiles(ca) // anew
	eventually(t, "a new connection has the new certificate", func() bool {
		c, err := tls.Dial("tcp", strings.TrimPrefix(p.url, "https://"), ca.Shown())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].SerialNumber.Int64() > 4
	})
	if status, text := ask(asAna, "GET", p.url+"/v1/riders/ana", ""); status != 200 {
		t.Errorf("ana, after all that: %d %s", status, text)
	}
	if status := p.terminate(); status != exitOK {
		t.Errorf("exit status %d", status)
	}
}

// The program's own commands reach a server whose certificate an authority of ours vouches for,
// if --tls-ca or SSL_CERT_FILE names that, and show a client certificate where connections need
// one; rider needs none on the machine's own address.
func TestCommandsOverTLS(t *testing.T) {
	db := influxd.RunTest(t)
	ca := certstest.New(t, "ours")
	roots := ca.File("roots.pem", ca.Text())
	run := func(trusts bool, args ...string) (int, string) {
		cmd := pinglineCommand(args...)
		if trusts {
			cmd.Env = append(cmd.Env, "SSL_CERT_FILE="+roots)
		}
		text, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil {
			t.Fatal(err)
		}
		return cmd.ProcessState.ExitCode(), string(text)
	}
	p := serve(t, t.TempDir(), db.URL(), append(secureFiles(ca), "--max-error=0")...)
	if status, text := run(false, "top", "--once", "--target="+p.url); status == exitOK || !strings.Contains(text, "certificate") {
		t.Errorf("top without the authority: %d %s", status, text)
	}
	if status, text := run(true, "top", "--once", "--target="+p.url); status != exitOK {
		t.Errorf("top: %d %s", status, text)
	}
	if status, text := run(true, "sim", "run", "--target="+p.url, "--riders=20", "--rate=100", "--for=1s"); status != exitOK {
		t.Errorf("sim run: %d %s", status, text)
	}
	if status, text := run(true, "rider", "export", "r-1", "--server="+strings.TrimSuffix(p.ops, "/metrics"), "--influx-host="+db.URL()); status != exitOK {
		t.Errorf("rider export: %d %s", status, text)
	}
	p.kill()
	p = serve(t, t.TempDir(), db.URL(), append(secureFiles(ca), "--tls-client-ca="+roots)...)
	if status, text := run(true, "rider", "export", "r-1", "--server="+strings.TrimSuffix(p.ops, "/metrics"), "--influx-host="+db.URL()); status != exitOK {
		t.Errorf("rider export where connections need a certificate: %d %s", status, text)
	}
	if status, text := run(true, "top", "--once", "--target="+p.url); status == exitOK || !strings.Contains(text, "certificate required") {
		t.Errorf("top where connections need a certificate: %d %s", status, text)
	}
	ana := ca.Client("ana")
	shown := []string{"--tls-ca=" + roots, "--tls-cert=" + ca.File("ana.pem", ana.Text), "--tls-key=" + ca.File("ana.key", ana.Key)}
	acks := filepath.Join(t.TempDir(), "acks")
	for _, args := range [][]string{
		{"top", "--once", "--target=" + p.url},
		{"sim", "run", "--target=" + p.url, "--riders=20", "--rate=100", "--for=1s", "--ack-log=" + acks},
		{"sim", "run", "--target=" + p.url, "--riders=20", "--rate=100", "--for=1s", "--network=latency=1ms"},
		{"sim", "audit", "--target=" + p.url, "--ack-log=" + acks, "--influx-host=" + db.URL(), "--rollups=skip"},
		{"rider", "export", "r-1", "--server=" + strings.TrimSuffix(p.ops, "/metrics"), "--influx-host=" + db.URL()},
	} {
		status, text := run(false, append(args, shown...)...)
		if status != exitOK || strings.Contains(text, "does not say") {
			t.Errorf("%v with a certificate: %d %s", args, status, text)
		}
	}
	if status, text := run(false, "top", "--once", "--target="+p.url, shown[1]); status != exitUsage || !strings.Contains(text, "--tls-cert: and --tls-key: give both or neither") {
		t.Errorf("a certificate without its key: %d %s", status, text)
	}
}

// Wrong settings and files of TLS are a line, and exit status 2, before anything is opened.
func TestWrongFilesOfTLS(t *testing.T) {
	ca := certstest.New(t, "ours")
	files, dir := secureFiles(ca), t.TempDir()
	for _, tt := range []struct {
		args []string
		want string
	}{
		{files[:1], "--tls-cert: and --tls-key: give both or neither"},
		{[]string{files[0], "--tls-key=" + ca.Path("none")}, "--tls-key: stat " + ca.Path("none")},
		{append(files, "--auth=cert"), "--auth: cert takes --tls-client-ca"},
		{append(files, "--tls-client-ca="+ca.Path("tls.key")), "--tls-client-ca: no certificate in PEM form"},
	} {
		status, _, stderr := runs(t, append([]string{"serve", "--listen=127.0.0.1:0", "--data-dir=" + dir + "/data"}, tt.args...)...)
		if status != exitUsage || !strings.Contains(stderr, tt.want) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%v: exit status %d, said %q, want %q", tt.args, status, stderr, tt.want)
		}
		if _, err := os.Stat(dir + "/data"); err == nil {
			t.Error("something was made on the disk")
		}
	}
}
