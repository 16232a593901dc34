package secure

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"

	"pingline/ingest/server/certs/certstest"
)

// fault marks the errors of files.
type fault struct{ error }

// A server is trusted if an authority of the file vouches for one of its names, and is shown our
// certificate; all files are read for each connection.
func TestClient(t *testing.T) {
	ca, others := certstest.New(t, "ours"), certstest.New(t, "others")
	own := ca.Issue(x509.Certificate{DNSNames: []string{"store.example"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	pair, err := tls.X509KeyPair(own.Text, own.Key)
	if err != nil {
		t.Fatal(err)
	}
	ana := ca.Client("ana")
	trust, cert, key := ca.File("ca", ca.Text()), ca.File("cert", ana.Text), ca.File("key", ana.Key)
	foreign := others.File("ca", others.Text())
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: ca.Pool(), ClientAuth: tls.VerifyClientCertIfGiven, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			c := conn.(*tls.Conn)
			if c.Handshake() == nil {
				name := "nobody"
				if shown := c.ConnectionState().PeerCertificates; len(shown) > 0 {
					name = shown[0].Subject.CommonName
				}
				_, _ = io.WriteString(c, name)
			}
			_ = c.Close()
		}
	}()
	greet := func(f Files, asked string, names ...string) (string, error) {
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		settings := f.Client(func(err error) error { return fault{err} }, names...)
		settings.ServerName = asked
		text, err := io.ReadAll(tls.Client(conn, settings))
		return string(text), err
	}
	for _, tt := range []struct {
		name  string
		files Files
		asked string
		names []string
		want  string // the client that the server saw, or in the error
		fault bool
	}{
		{"trusted", Files{CA: trust}, "store.example", []string{"store.example"}, "nobody", false},
		{"with our certificate", Files{trust, cert, key}, "store.example", []string{"store.example"}, "ana", false},
		{"no server name is asked for", Files{CA: trust}, "", []string{"store.example"}, "nobody", false},
		{"one of several names", Files{CA: trust}, "127.0.0.1", []string{"127.0.0.1", "store.example"}, "nobody", false},
		{"none of them", Files{CA: trust}, "127.0.0.1", []string{"127.0.0.1", "other.example"}, "127.0.0.1", false},
		{"a proxy of another name", Files{CA: trust}, "proxy.example", []string{"store.example"}, "not proxy.example", false},
		{"others' authority", Files{CA: foreign}, "store.example", []string{"store.example"}, "unknown authority", false},
		{"the system's", Files{}, "store.example", []string{"store.example"}, "unknown authority", false},
		{"the system's, several names", Files{}, "", []string{"store.example", "other.example"}, "unknown authority", false},
		{"no such file", Files{CA: trust + "-none"}, "store.example", []string{"store.example"}, "authorities: open", true},
		{"no certificate in it", Files{CA: key}, "store.example", []string{"store.example"}, "no certificate in " + key, true},
		{"no such key", Files{trust, cert, key + "-none"}, "store.example", []string{"store.example"}, "client certificate: open", true},
	} {
		got, err := greet(tt.files, tt.asked, tt.names...)
		if err != nil {
			got = err.Error()
		}
		of := new(fault)
		if !strings.Contains(got, tt.want) || errors.As(err, of) != tt.fault {
			t.Errorf("%s: %q, %v; want %q", tt.name, got, err, tt.want)
		}
	}
	f := Files{CA: trust}
	settings := f.Client(func(err error) error { return err }, "store.example")
	if err := os.WriteFile(trust, others.Text(), 0o600); err != nil {
		t.Fatal(err)
	}
	conn, err := tls.Dial("tcp", ln.Addr().String(), settings)
	if err == nil {
		_ = conn.Close()
		t.Error("an authority that was taken away is trusted")
	}
}
