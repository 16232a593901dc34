package node

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pingline/ingest/auth"
	"pingline/ingest/auth/access"
	"pingline/ingest/server/certs"
	"pingline/ingest/server/certs/certstest"
	"pingline/sink/store"
)

// tlsFiles returns the settings of a server that ca vouches for.
func tlsFiles(ca *certstest.Authority) certs.Config {
	server := ca.Server()
	return certs.Config{Cert: ca.File("tls.pem", server.Text), Key: ca.File("tls.key", server.Key)}
}

// get returns the answer to a request over TLS, or 0 and the error.
func get(t *testing.T, cfg *tls.Config, url, host string, headers ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: cfg, DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// Where connections need a client certificate, the operations listener asks for one, too, but
// not on the machine's own address. There it needs no Host that names this machine: a browser
// has compared the name with the certificate.
func TestOpsListenerOverTLS(t *testing.T) {
	ca := certstest.New(t, "ours")
	path := "/v1/riders/ana/unstored"
	for _, tt := range []struct {
		name, opsListen string
		clients         bool
		auth            access.Settings
		nobody, gateway int
	}{
		{"plain TLS, here", "127.0.0.1:0", false, access.Settings{}, 200, 200},
		{"client certificates, here", "127.0.0.1:0", true, access.Settings{}, 200, 200},
		{"client certificates, elsewhere", ":0", true, access.Settings{}, 0, 403}, // without keys riders are not for others
		{"certificates that name riders, here", "127.0.0.1:0", true, access.Settings{Ways: []string{"cert"}}, 200, 200},
		{"certificates that name riders, elsewhere", ":0", true, access.Settings{Ways: []string{"cert"}}, 401, 401},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := authConfig(t, "127.0.0.1:0", tt.opsListen, tt.auth)
			if cfg.TLS = tlsFiles(ca); tt.clients {
				cfg.TLS.ClientCA = ca.File("clients.pem", ca.Text())
			}
			n := drive(t, cfg)
			defer n.stop()
			at := strings.TrimSuffix(n.OpsURL(), "/metrics")
			if !strings.HasPrefix(at, "https://") {
				t.Fatal(at)
			}
			for _, host := range []string{"", "pings.example.org"} {
				if status, text := get(t, ca.Shown(), at+path, host); status != tt.nobody {
					t.Errorf("nobody, Host %q: %d %s, want %d", host, status, text, tt.nobody)
				}
			}
			if status, text := get(t, ca.Shown(ca.Client("gateway")), at+path, ""); status != tt.gateway {
				t.Errorf("with a certificate: %d %s, want %d", status, text, tt.gateway)
			}
			if resp, err := http.Get("http" + strings.TrimPrefix(at, "https") + "/metrics"); err == nil {
				defer resp.Body.Close()
				if text, _ := io.ReadAll(resp.Body); strings.Contains(string(text), "pingline_") {
					t.Errorf("over plain HTTP: %d %s", resp.StatusCode, text)
				}
			}
		})
	}
}

// /readyz knows who may reach the port, and when its certificates are in trouble.
func TestNotesOfTLS(t *testing.T) {
	ca := certstest.New(t, "ours")
	cfg := authConfig(t, ":0", "", access.Settings{})
	cfg.TLS = tlsFiles(ca)
	n := drive(t, cfg)
	notes := func(shown *tls.Config) string {
		t.Helper()
		status, text := get(t, shown, n.URL()+"/readyz", "")
		if status != 200 {
			t.Fatal(status, text)
		}
		return text
	}
	if text := notes(ca.Shown()); !strings.Contains(text, "--auth none: whoever reaches") {
		t.Errorf("with TLS alone: %s", text)
	}
	if err := os.Remove(cfg.TLS.Key); err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); !strings.Contains(notes(ca.Shown()), "the certificate of TLS stays as it was: --tls-key: "); {
		if time.Since(began) > 2*time.Minute {
			t.Fatal("no note of a key that is gone")
		}
	}
	n.stop()

	cfg = authConfig(t, ":0", "", access.Settings{})
	cfg.TLS = tlsFiles(ca)
	cfg.TLS.ClientCA = ca.File("clients.pem", ca.Text())
	n = drive(t, cfg)
	if text := notes(ca.Shown(ca.Client("gateway"))); !strings.Contains(text, "--auth none: whoever has a certificate of --tls-client-ca") || strings.Contains(text, "whoever reaches") {
		t.Errorf("with client certificates: %s", text)
	}
	n.stop()
}

// A certificate that is refused is in the same counts as a wrong key.
func TestRefusedCertificatesAreCountedWithKeys(t *testing.T) {
	ca, others := certstest.New(t, "ours"), certstest.New(t, "others")
	keys := keysFile(t, auth.KeyRow{Name: "ana", Scopes: []string{"write"}, Riders: []string{"ana"}})
	cfg := authConfig(t, "127.0.0.1:0", "127.0.0.1:0", access.Settings{Ways: []string{"keys", "cert"}, Keys: keys.path})
	cfg.TLS = tlsFiles(ca)
	cfg.TLS.ClientCA = ca.File("clients.pem", ca.Text())
	n := drive(t, cfg)
	defer n.stop()
	if status, text := get(t, ca.Shown(others.Client("ana")), n.URL()+"/v1/riders/ana", ""); status != 0 {
		t.Errorf("by another authority: %d %s", status, text)
	}
	if status, text := get(t, ca.Shown(ca.Client("ana")), n.URL()+"/v1/riders/ana", "", "Authorization", "Bearer pl_wrong"); status != 401 {
		t.Errorf("a wrong key beside a right certificate: %d %s", status, text)
	}
	for _, want := range []string{`{reason="cert_authority"} 1`, `{reason="unknown"} 1`} {
		for began := time.Now(); ; {
			_, text := get(t, ca.Shown(), n.OpsURL(), "")
			if strings.Contains(text, "pingline_auth_failures_total"+want) && strings.Contains(text, "\npingline_tls_certificate_expires_seconds ") {
				break
			}
			if time.Since(began) > 2*time.Minute {
				t.Fatalf("never: %s", want)
			}
		}
	}
}

// The check before a start reads the key of pseudonyms, too, and never quotes it.
func TestTryPseudonyms(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key := strings.Repeat("0123456789abcdef", 4)
	for _, tt := range []struct{ name, file, found, remedy string }{
		{"none", "", "", ""},
		{"a key", write("key", key, 0o600), "has key ", ""},
		{"a key that others may read", write("open", key, 0o644), "others may read it", ""},
		{"a short key", write("short", key[:32], 0o600), "--pseudonyms: ", "put the file right"},
		{"no file", filepath.Join(dir, "none"), "no such file", "put the file right"},
	} {
		cfg := authConfig(t, "127.0.0.1:0", "", access.Settings{})
		cfg.Privacy.Keys = tt.file
		list, err := Try(t.Context(), &cfg)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, one := range list {
			if one.Of != "pseudonyms" {
				continue
			}
			n++
			if !strings.Contains(one.Found, tt.found) || !strings.Contains(one.Remedy, tt.remedy) || tt.remedy == "" && one.Remedy != "" || strings.Contains(one.Found, key[:16]) {
				t.Errorf("%s: %+v", tt.name, one)
			}
		}
		if (n == 1) != (tt.file != "") {
			t.Errorf("%s: %d lines", tt.name, n)
		}
	}
}

// The check before a start reads the files of TLS, too.
func TestTryTLS(t *testing.T) {
	ca := certstest.New(t, "ours")
	cfg := authConfig(t, "127.0.0.1:0", "", access.Settings{})
	found := func() (f store.Finding, n int) {
		t.Helper()
		list, err := Try(t.Context(), &cfg)
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range list {
			if one.Of == "tls" {
				f, n = one.Finding, n+1
			}
		}
		return f, n
	}
	if f, n := found(); n != 0 {
		t.Errorf("without TLS: %+v", f)
	}
	cfg.TLS = tlsFiles(ca)
	if f, n := found(); n != 1 || f.Remedy != "" || !strings.Contains(f.Found, "expires on ") {
		t.Errorf("right: %+v", f)
	}
	old := ca.Issue(x509.Certificate{NotAfter: time.Now().Add(-time.Minute)})
	cfg.TLS.Cert, cfg.TLS.Key = ca.File("old.pem", old.Text), ca.File("old.key", old.Key)
	if f, n := found(); n != 1 || f.Remedy == "" || !strings.Contains(f.Found, "has expired") {
		t.Errorf("expired: %+v", f)
	}
	cfg.TLS.Key = cfg.TLS.Cert
	if f, n := found(); n != 1 || f.Remedy == "" || !strings.Contains(f.Found, "--tls-key: no private key") {
		t.Errorf("no key: %+v", f)
	}
}
