package redis_test

import (
	"crypto/x509"
	"net"
	"os"
	"strconv"
	"testing"

	"pingline/ingest/server/certs/certstest"
	"pingline/sink/redis/redistest"
	"pingline/sink/store"
	"pingline/sink/store/storetest"
)

// With rediss:// the server shows that it is the named one, and we show who we are. Files
// are read for each connection.
func TestTLS(t *testing.T) {
	authority := certstest.New(t, "authority")
	pair, client := authority.Server(), authority.Client("pingline")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := ln.Addr().(*net.TCPAddr).Port
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	ca := authority.File("ca.pem", authority.Text())
	server := redistest.Run(t, "--tls-port", strconv.Itoa(port), "--tls-auth-clients", "yes", "--tls-ca-cert-file", ca,
		"--tls-cert-file", authority.File("server.pem", pair.Text), "--tls-key-file", authority.File("server.key", pair.Key))
	me := ping("me", storetest.Recently)
	cfg := config(server)
	cfg.URL = "rediss://127.0.0.1:" + strconv.Itoa(port)
	_ = refused(t, open(t, cfg), store.Configure, store.Address, me) // of an authority that is not known
	cfg.CAFile, cfg.CertFile, cfg.KeyFile = authority.Path("later.pem"), authority.File("client.pem", client.Text), authority.File("client.key", client.Key)
	p := open(t, cfg)
	_ = refused(t, p, store.Configure, store.Credentials, me) // no file yet
	if err := os.WriteFile(cfg.CAFile, authority.Text(), 0o600); err != nil {
		t.Fatal(err)
	}
	written(t, p, me)
	if got := newest(t, p)["me"]; !got.Equal(&me) {
		t.Errorf("stored is %+v", got)
	}
	stranger := authority.Issue(x509.Certificate{DNSNames: []string{"elsewhere"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	authority.File("server.pem", stranger.Text)
	authority.File("server.key", stranger.Key)
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	_ = refused(t, open(t, cfg), store.Configure, store.Address, me) // another name
}
