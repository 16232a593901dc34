package influx_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pingline/sink/influx"
	"pingline/sink/influx/influxtest"
	"pingline/sink/store"
)

// authority vouches for certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t}
	a.cert, a.key, a.file, _ = a.issue(&x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

// issue makes a certificate, its own authority if there is none yet, and PEM files of it
// and its key.
func (a *authority) issue(as *x509.Certificate) (cert *x509.Certificate, key *ecdsa.PrivateKey, certFile, keyFile string) {
	a.t.Helper()
	must := func(err error) {
		a.t.Helper()
		if err != nil {
			a.t.Fatal(err)
		}
	}
	as.SerialNumber, as.Subject = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: "test"}
	as.NotBefore, as.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = as, key
	}
	der, err := x509.CreateCertificate(rand.Reader, as, parent, key.Public(), signer)
	must(err)
	cert, err = x509.ParseCertificate(der)
	must(err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	must(err)
	dir := a.t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	must(os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	must(os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
	return cert, key, certFile, keyFile
}

// A server whose certificate a private authority vouches for, and that wants one of us,
// is written to. Whatever is not accepted is for an operator to put right, and the advice
// names the flag; the files are read for each connection.
func TestTLSWithOwnAuthorityAndClientCertificate(t *testing.T) {
	ours, others := newAuthority(t), newAuthority(t)
	_, _, serverCert, serverKey := ours.issue(&x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	client := &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	_, _, clientCert, clientKey := ours.issue(client)
	_, _, strangeCert, strangeKey := others.issue(client)
	pair, err := tls.LoadX509KeyPair(serverCert, serverKey)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	pool := x509.NewCertPool()
	pool.AddCert(ours.cert)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	for _, tt := range []struct {
		name          string
		ca, cert, key string
		reason        string // "" if it is written
		says          string
	}{
		{"all is right", ours.file, clientCert, clientKey, "", ""},
		{"the system's authorities", "", clientCert, clientKey, store.Address, "--influx-ca-file"},
		{"another authority", others.file, clientCert, clientKey, store.Address, "--influx-ca-file"},
		{"no file of authorities", "/nonexistent/ca.pem", clientCert, clientKey, store.Credentials, "/nonexistent/ca.pem"},
		{"a file without any", clientKey, clientCert, clientKey, store.Credentials, "no certificate in " + clientKey},
		{"no client certificate", ours.file, "", "", store.Credentials, "--influx-cert-file"},
		{"a client certificate of others", ours.file, strangeCert, strangeKey, store.Credentials, "--influx-cert-file"},
		{"no file of the client's key", ours.file, clientCert, "/nonexistent/key.pem", store.Credentials, "/nonexistent/key.pem"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := influxtest.Open(t, influx.Config{URL: server.URL, CAFile: tt.ca, CertFile: tt.cert, KeyFile: tt.key})
			err := b.Write(context.Background(), influxtest.Rows("m v=1 1000000000\n"))
			if tt.reason == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			refusal := new(store.Refusal)
			if !errors.As(err, &refusal) || refusal.Kind != store.Configure || refusal.Reason != tt.reason || !strings.Contains(refusal.Advice+" "+refusal.Error(), tt.says) {
				t.Errorf("%v, %+v, want reason %q that says %q", err, refusal, tt.reason, tt.says)
			}
		})
	}
}

// nginx takes a connection whose client certificate it does not accept, and refuses each
// request with 400: no row is to blame.
func TestProxyThatRefusesACertificateByStatus(t *testing.T) {
	for _, title := range []string{"No required SSL certificate was sent", "The SSL certificate error"} {
		proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, "<html>\r\n<head><title>400 "+title+"</title></head>\r\n<body>\r\n<center><h1>400 Bad Request</h1></center>\r\n<center>"+title+"</center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n")
		}))
		b := influxtest.Open(t, influx.Config{URL: proxy.URL})
		err := b.Write(context.Background(), influxtest.Rows("m v=1 1000000000\n"))
		refusal := new(store.Refusal)
		if !errors.As(err, &refusal) || refusal.Kind != store.Configure || refusal.Reason != store.Credentials || !strings.Contains(refusal.Advice, "--influx-cert-file") {
			t.Errorf("%s: %v, %+v", title, err, refusal)
		}
		proxy.Close()
	}
}

// A proxy that quotes a header, or the secret in it, tells it to nobody.
func TestAProxyQuotesAHeader(t *testing.T) {
	for _, quoted := range []string{"Bearer hunter2hunter2", "hunter2hunter2"} {
		proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "the token '"+quoted+"' has expired", http.StatusForbidden)
		}))
		b := influxtest.Open(t, influx.Config{URL: proxy.URL, Headers: []influx.ProxyHeader{{Name: "Authorization", Value: "Bearer hunter2hunter2"}}})
		err := b.Write(context.Background(), influxtest.Rows("m v=1 1000000000\n"))
		if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "has expired") {
			t.Errorf("%s: %v", quoted, err)
		}
		proxy.Close()
	}
}

// Headers for a proxy go with writes and questions, and no error tells their values.
func TestHeadersForAProxy(t *testing.T) {
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, ok := r.BasicAuth(); !ok || user != "me" || password != "hunter2" || r.Header.Get("X-Tenant") != "t 1" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	defer proxy.Close()
	const basic = "Basic bWU6aHVudGVyMg=="
	b := influxtest.Open(t, influx.Config{URL: proxy.URL, Headers: []influx.ProxyHeader{{Name: "Authorization", Value: basic}, {Name: "x-tenant", Value: "t 1"}}})
	if _, err := b.Ping(context.Background()); err != nil {
		t.Error(err)
	}
	for name, cfg := range map[string]influx.Config{
		"two lines":             {Headers: []influx.ProxyHeader{{Name: "X-A", Value: "hunter2\nX-B: c"}}},
		"no name":               {Headers: []influx.ProxyHeader{{Name: "", Value: "hunter2"}}},
		"a name with a space":   {Headers: []influx.ProxyHeader{{Name: "hunter2 x", Value: ""}}},
		"what answers may be":   {Headers: []influx.ProxyHeader{{Name: "accept-encoding", Value: "gzip;hunter2"}}},
		"what is ours":          {Headers: []influx.ProxyHeader{{Name: "content-encoding", Value: "hunter2"}}},
		"a token beside it":     {Token: "t", Headers: []influx.ProxyHeader{{Name: "Authorization", Value: "hunter2"}}},
		"a certificate, no key": {CertFile: "x"},
		"a key, no certificate": {KeyFile: "x"},
	} {
		cfg.URL, cfg.Bucket = proxy.URL, "b"
		if _, err := influx.New(cfg); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A proxy that does not take gzip gets plain writes, at once and from then on, and an
// operator is told once. A 415 for any other reason changes nothing.
func TestProxyThatRefusesCompression(t *testing.T) {
	var compressed, taken int
	never := false
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		switch {
		case r.Header.Get("Content-Encoding") != "":
			compressed++
			w.WriteHeader(http.StatusUnsupportedMediaType)
		case never:
			w.WriteHeader(http.StatusUnsupportedMediaType)
		case err == nil && string(text) == "m v=1 1000000000\n":
			taken++
			w.WriteHeader(http.StatusNoContent)
		}
	}))
	defer proxy.Close()
	var said bytes.Buffer
	b := influxtest.Open(t, influx.Config{URL: proxy.URL, Compress: true, Logger: slog.New(slog.NewTextHandler(&said, nil))})
	write := func() error { return b.Write(context.Background(), influxtest.Rows("m v=1 1000000000\n")) }
	never = true
	refusal := new(store.Refusal)
	if err := write(); !errors.As(err, &refusal) || refusal.Kind != store.Configure || len(b.Notes()) != 0 || said.Len() > 0 {
		t.Errorf("415 to everything: %v, notes %q, said %s", err, b.Notes(), &said)
	}
	never, compressed = false, 0
	for range 3 {
		if err := write(); err != nil {
			t.Fatal(err)
		}
	}
	if compressed != 1 || taken != 3 {
		t.Errorf("%d writes were compressed, %d taken, want 1 and 3", compressed, taken)
	}
	if notes := strings.Join(b.Notes(), "\n"); !strings.Contains(notes, "refuses compressed writes (415)") || strings.Count(said.String(), "\n") != 1 {
		t.Errorf("notes %q, said %s", notes, &said)
	}
}

// A server of TLS 1.3 refuses a certificate when the body is on its way. What it says is
// told whatever else became of the connection, each time.
func TestCertificateIsRefusedBehindALargeBody(t *testing.T) {
	ours := newAuthority(t)
	_, _, serverCert, serverKey := ours.issue(&x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	pair, err := tls.LoadX509KeyPair(serverCert, serverKey)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	pool := x509.NewCertPool()
	pool.AddCert(ours.cert)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	noise := make([]byte, 1<<20) // so that it stays large
	_, _ = rand.Read(noise)      // never fails
	b := influxtest.Open(t, influx.Config{URL: server.URL, CAFile: ours.file})
	for range 20 {
		err := b.Write(context.Background(), influxtest.Rows("m v=\""+hex.EncodeToString(noise)+"\" 1000000000\n"))
		refusal := new(store.Refusal)
		if !errors.As(err, &refusal) || refusal.Kind != store.Configure || refusal.Reason != store.Credentials {
			t.Errorf("%v, want that a certificate is required", err)
		}
	}
}

// The certificate must be for the host that is asked, be that a name or an address: who
// has any other one of the same authority is not the store.
func TestCertificateOfAnotherHost(t *testing.T) {
	ours := newAuthority(t)
	auth := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	_, _, otherName, otherNameKey := ours.issue(&x509.Certificate{DNSNames: []string{"other.example"}, ExtKeyUsage: auth})
	_, _, otherIP, otherIPKey := ours.issue(&x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 2)}, ExtKeyUsage: auth})
	_, _, right, rightKey := ours.issue(&x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"}, ExtKeyUsage: auth})
	for _, tt := range []struct {
		name, cert, key, host string
		refused               bool
	}{
		{"a name's, for an address", otherName, otherNameKey, "127.0.0.1", true},
		{"another address's, for an address", otherIP, otherIPKey, "127.0.0.1", true},
		{"a name's, for another name", otherName, otherNameKey, "localhost", true},
		{"the address's", right, rightKey, "127.0.0.1", false},
		{"the name's", right, rightKey, "localhost", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pair, err := tls.LoadX509KeyPair(tt.cert, tt.key)
			if err != nil {
				t.Fatal(err)
			}
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
			server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
			server.Config.ErrorLog = log.New(io.Discard, "", 0)
			server.StartTLS()
			defer server.Close()
			_, port, err := net.SplitHostPort(server.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			b := influxtest.Open(t, influx.Config{URL: "https://" + net.JoinHostPort(tt.host, port), CAFile: ours.file})
			err = b.Write(context.Background(), influxtest.Rows("m v=1 1000000000\n"))
			refusal := new(store.Refusal)
			if refused := errors.As(err, &refusal) && refusal.Kind == store.Configure && refusal.Reason == store.Address; refused != tt.refused || err != nil && !refused {
				t.Errorf("%v, want refused %v", err, tt.refused)
			}
		})
	}
}
