package cassandra

import (
	"crypto/tls"
	"encoding/pem"
	"errors"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pingline/sink/store"
)

// A node's certificate must be for its address or for a host of the URL, and be signed by the
// authority that is named. The file is read for each connection.
func TestCertificatesOfNodes(t *testing.T) {
	s := httptest.NewTLSServer(nil) // its certificate is for 127.0.0.1 and example.com
	defer s.Close()
	ca := filepath.Join(t.TempDir(), "ca")
	greet := func(url, node, ca string) error {
		k, err := New(Config{URL: url, CAFile: ca})
		if err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		return tls.Client(conn, (&nodeDialer{&k.cfg, k.to}).settings(node)).HandshakeContext(t.Context())
	}
	const url = "cassandras://example.com,other/k"
	if r := refusal(greet(url, "127.0.0.1", ca)); r.Kind != store.Configure || r.Reason != store.Credentials {
		t.Errorf("no file: %+v", r)
	}
	if err := os.WriteFile(ca, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := refusal(greet(url, "127.0.0.1", ca)); r.Kind != store.Configure || !strings.Contains(r.Error(), "no certificate") {
		t.Errorf("a file of something else: %+v", r)
	}
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for node, url := range map[string]string{"127.0.0.1": "cassandras://other/k", "10.0.0.9": url} {
		if err := greet(url, node, ca); err != nil {
			t.Errorf("node %s of %s: %v", node, url, err)
		}
	}
	for _, ca := range []string{ca, ""} {
		err := greet("cassandras://other/k", "10.0.0.9", ca)
		if r := refusal(err); !errors.As(err, new(*tls.CertificateVerificationError)) || r.Kind != store.Configure || r.Reason != store.Address {
			t.Errorf("a certificate for others, authority %q: %v", ca, err)
		}
	}
	if err := greet(url, "127.0.0.1", ""); !errors.As(err, new(*tls.CertificateVerificationError)) {
		t.Errorf("an authority that the system does not know: %v", err)
	}
}
