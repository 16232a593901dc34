package peers

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A secret that is too short, and files that are not what they should be, are named.
func TestSecurityNamesTheFile(t *testing.T) {
	file := func(name, text string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	short, secret, other := file("short", "only fifteen by\n"), file("secret", " sixteen bytes, so\n"), file("other", "no PEM")
	if is, err := (&Sharing{SecretFile: secret}).security(); err != nil || string(is.Secret) != "sixteen bytes, so" {
		t.Errorf("%q, %v", is.Secret, err)
	}
	if found, remedy := (&Sharing{SecretFile: secret}).Try(); remedy != "" {
		t.Error(found, remedy)
	}
	for _, c := range []struct {
		s    Sharing
		want string
	}{
		{Sharing{SecretFile: short}, "--peer-secret-file: " + short + " has 15 bytes, fewer than 16"},
		{Sharing{SecretFile: short + "-none"}, "--peer-secret-file: open "},
		{Sharing{CertFile: other, KeyFile: other, CAFile: other}, "--peer-cert-file: "},
	} {
		if _, err := c.s.security(); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%+v: %v", c.s, err)
		}
		if found, remedy := c.s.Try(); !strings.HasPrefix(found, c.want) || remedy == "" {
			t.Errorf("%+v: before a start %q is found, to be mended by %q", c.s, found, remedy)
		}
	}
}

// A peer is told an address that it can reach, not the one on which all addresses are listened.
func TestAddress(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for listen, want := range map[string]string{"127.0.0.1:0": "127.0.0.1", ":0": host} {
		ln, err := net.Listen("tcp", listen)
		if err != nil {
			t.Fatal(err)
		}
		_, port, err := net.SplitHostPort(ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if got, err := new(Sharing).address(ln); err != nil || got != net.JoinHostPort(want, port) {
			t.Errorf("%s: %s, %v", listen, got, err)
		}
		if got, err := (&Sharing{Address: "peer.example.org:8079"}).address(ln); err != nil || got != "peer.example.org:8079" {
			t.Errorf("%s, %v", got, err)
		}
		_ = ln.Close()
	}
}
