// Package certstest makes authorities and certificates for tests.
package certstest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Authority vouches for certificates.
type Authority struct {
	t    testing.TB
	dir  string
	name string
	Cert *x509.Certificate
	key  *ecdsa.PrivateKey
	next int64 // serial number
}

// Pair is a certificate and its key, in PEM.
type Pair struct {
	Cert *x509.Certificate
	Text []byte // of the certificate
	Key  []byte
}

// New returns an authority that nobody vouches for. Its files end with the test.
func New(t testing.TB, name string) *Authority {
	t.Helper()
	a := &Authority{t: t, dir: t.TempDir(), name: name, next: 1}
	a.own(nil)
	return a
}

// Below returns an authority that a vouches for.
func (a *Authority) Below(name string) *Authority {
	a.t.Helper()
	b := &Authority{t: a.t, dir: a.dir, name: name, next: 1}
	b.own(a)
	return b
}

func (a *Authority) own(by *Authority) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	a.must(err)
	a.key = key
	as := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: a.name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(24 * 365 * time.Hour),
	}
	parent, signer := as, key
	if by != nil {
		parent, signer = by.Cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, as, parent, key.Public(), signer)
	a.must(err)
	a.Cert, err = x509.ParseCertificate(der)
	a.must(err)
}

func (a *Authority) must(err error) {
	a.t.Helper()
	if err != nil {
		a.t.Fatal(err)
	}
}

// Issue makes a certificate. What as does not say is a serial number, a life from an hour ago
// to a year ahead, and a usage: as a client's.
func (a *Authority) Issue(as x509.Certificate) Pair {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	a.must(err)
	if as.SerialNumber == nil {
		a.next++
		as.SerialNumber = big.NewInt(a.next)
	}
	if as.NotBefore.IsZero() {
		as.NotBefore = time.Now().Add(-time.Hour)
	}
	if as.NotAfter.IsZero() {
		as.NotAfter = time.Now().Add(365 * 24 * time.Hour)
	}
	if as.ExtKeyUsage == nil {
		as.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	as.KeyUsage |= x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, &as, a.Cert, key.Public(), a.key)
	a.must(err)
	cert, err := x509.ParseCertificate(der)
	a.must(err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	a.must(err)
	return Pair{cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})}
}

// Server makes a certificate of a server on this machine.
func (a *Authority) Server() Pair {
	a.t.Helper()
	return a.Issue(x509.Certificate{
		Subject: pkix.Name{CommonName: "server"}, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
}

// Client makes a certificate of a client whose common name is name.
func (a *Authority) Client(name string) Pair {
	a.t.Helper()
	return a.Issue(x509.Certificate{Subject: pkix.Name{CommonName: name}})
}

// List makes a revocation list of certificates, in PEM, that holds until a time.
func (a *Authority) List(until time.Time, revoked ...Pair) []byte {
	a.t.Helper()
	var entries []x509.RevocationListEntry
	for _, r := range revoked {
		entries = append(entries, x509.RevocationListEntry{SerialNumber: r.Cert.SerialNumber, RevocationTime: time.Now()})
	}
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(time.Now().UnixNano()), ThisUpdate: time.Now().Add(-48 * time.Hour), NextUpdate: until, RevokedCertificateEntries: entries,
	}, a.Cert, a.key)
	a.must(err)
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})
}

// Text returns the certificate of the authority in PEM.
func (a *Authority) Text() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Cert.Raw})
}

// Path returns the path of a file of that name.
func (a *Authority) Path(name string) string { return filepath.Join(a.dir, name) }

// File writes a text to a file, and returns its path.
func (a *Authority) File(name string, text ...[]byte) string {
	a.t.Helper()
	path := a.Path(name)
	var all []byte
	for _, t := range text {
		all = append(all, t...)
	}
	a.must(os.WriteFile(path, all, 0o600))
	return path
}

// Pool returns the pool in which a is alone.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.Cert)
	return pool
}

// Shown returns the settings of a client that trusts a, and shows pairs, whether the server
// asks for their authority or not.
func (a *Authority) Shown(pairs ...Pair) *tls.Config {
	a.t.Helper()
	cfg := &tls.Config{RootCAs: a.Pool(), MinVersion: tls.VersionTLS12}
	for _, p := range pairs {
		cert, err := tls.X509KeyPair(p.Text, p.Key)
		a.must(err)
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
	}
	return cfg
}
