package postgres_test

import (
	"crypto/x509"
	"os"
	"strings"
	"testing"

	"pingline/ingest/server/certs/certstest"
	"pingline/sink/postgres"
	"pingline/sink/postgres/postgrestest"
	"pingline/sink/store"
	"pingline/sink/store/storetest"
)

// The server shows that it is the named one, and we show who we are, or one sentence says which
// of it is wrong. Files are read for each connection.
func TestTLS(t *testing.T) {
	authority, others := certstest.New(t, "authority"), certstest.New(t, "others")
	server := postgrestest.Run(t)
	cfg, name := fresh(t, server)
	ping := storetest.Fleet(1, 1)[0]
	with := func(change func(*postgres.Config)) *postgres.Database {
		t.Helper()
		c := cfg
		change(&c)
		return open(t, c)
	}
	full := cfg.URL + "?sslmode=verify-full"
	told := func(what string, change func(*postgres.Config), reason, says, advice string) {
		t.Helper()
		d := with(change)
		r := refused(t, d, store.Configure, reason, ping)
		if strings.Contains(r.Error(), "\n") || !strings.Contains(r.Error(), says) || !strings.Contains(r.Advice, advice) {
			t.Errorf("%s: %v; %s", what, r, r.Advice)
		}
		f := d.Check(t.Context())
		for n := 0; n < resets && isReset(f); n++ {
			f = d.Check(t.Context())
		}
		if len(f) != 1 || f[0].Found != r.Error() || f[0].Remedy != r.Advice {
			t.Errorf("%s: the check says %+v", what, f)
		}
	}
	told("a server without TLS", func(c *postgres.Config) { c.URL = full }, store.Address, "server refused TLS", "ssl = on")

	pair := authority.Server()
	identify := func(as certstest.Pair) {
		t.Helper()
		server.File(t, "data/server.crt", as.Text)
		server.File(t, "data/server.key", as.Key)
		if err := server.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	server.File(t, "data/root.crt", authority.Text())
	identify(pair)
	for _, set := range []string{"ssl = on", "ssl_ca_file = 'root.crt'"} {
		server.Exec(t, "postgres", "ALTER SYSTEM SET "+set)
	}
	server.Exec(t, "postgres", "CREATE ROLE careful LOGIN SUPERUSER PASSWORD '"+postgrestest.Password+"'")
	server.File(t, "data/pg_hba.conf", []byte("hostssl all careful all scram-sha-256 clientcert=verify-ca\nhost all pingline all scram-sha-256\n"))
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}

	ca, strangers := authority.File("ca.pem", authority.Text()), others.File("ca.pem", others.Text())
	for _, mode := range []string{"verify-full", "verify-ca"} {
		told("an authority that this machine does not know, "+mode, func(c *postgres.Config) { c.URL += "?sslmode=" + mode }, store.Address, "unknown authority", "ca-file")
	}
	told("another authority", func(c *postgres.Config) { c.URL, c.CAFile = full, strangers }, store.Address, "unknown authority", "ca-file")
	told("no authority in the file", func(c *postgres.Config) { c.URL, c.CAFile = full, authority.File("key.pem", pair.Key) }, store.Credentials, "no certificate in", "correct the file")
	for _, url := range []string{full, cfg.URL + "?sslmode=disable", cfg.URL} {
		later := authority.Path("later.pem")
		d := with(func(c *postgres.Config) { c.URL, c.CAFile = url, later })
		_ = refused(t, d, store.Configure, store.Credentials, ping) // no file yet
		if err := os.WriteFile(later, authority.Text(), 0o600); err != nil {
			t.Fatal(err)
		}
		written(t, d, ping)
		if n := server.Text(t, name, "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'pingline' AND NOT ssl"); n != "0" {
			t.Errorf("%s: %s connections are in clear text", url, n)
		}
		if err := os.Remove(later); err != nil {
			t.Fatal(err)
		}
	}

	careful := strings.Replace(full, "pingline@", "careful@", 1)
	told("no certificate of ours", func(c *postgres.Config) { c.URL, c.CAFile = careful, ca }, store.Credentials, "certificate", "cert-file")
	stranger, client := others.Client("careful"), authority.Client("careful")
	told("a certificate that the server does not know", func(c *postgres.Config) {
		c.URL, c.CAFile, c.CertFile, c.KeyFile = careful, ca, others.File("client.pem", stranger.Text), others.File("client.key", stranger.Key)
	}, store.Credentials, "certificate", "cert-file")
	written(t, with(func(c *postgres.Config) {
		c.URL, c.CAFile, c.CertFile, c.KeyFile = careful, ca, authority.File("client.pem", client.Text), authority.File("client.key", client.Key)
	}), ping)

	identify(authority.Issue(x509.Certificate{DNSNames: []string{"elsewhere"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}))
	told("another name", func(c *postgres.Config) { c.URL, c.CAFile = full, ca }, store.Address, "127.0.0.1", "name")
	if n := count(t, server, name); n != "1" {
		t.Errorf("%s rows are stored, want 1", n)
	}
}
