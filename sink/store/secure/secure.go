// Package secure has the settings of TLS by which stores connect to their servers.
//
// Files are read for each new connection, so that a certificate or an authority may be renewed
// at any time. A server's certificate is checked as crypto/tls does, also where it is one of
// several nodes that share a name.
package secure

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
)

// Files are in PEM form.
type Files struct {
	CA        string // authorities that may vouch for a server; "" means those of the system
	Cert, Key string // shown to a server that asks; "" means none
}

// Client returns settings for connections to a server, which must have one of names, at least one.
// The error of a file passes through fault, so that a store knows it again. ServerName is not set,
// as crypto/tls needs it, unless there is a CA or there are several names.
func (f Files) Client(fault func(error) error, names ...string) *tls.Config {
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.Cert != "" {
		t.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			cert, err := tls.LoadX509KeyPair(f.Cert, f.Key)
			if err != nil {
				return nil, fault(fmt.Errorf("client certificate: %w", err))
			}
			return &cert, nil
		}
	}
	if f.CA != "" || len(names) > 1 {
		t.InsecureSkipVerify = true // verify checks instead
		t.VerifyConnection = func(s tls.ConnectionState) error { return f.verify(fault, names, &s) }
	}
	return t
}

// verify checks the certificate of a server.
func (f Files) verify(fault func(error) error, names []string, s *tls.ConnectionState) error {
	var roots *x509.CertPool // nil means those of the system
	if f.CA != "" {
		text, err := os.ReadFile(f.CA)
		if err != nil {
			return fault(fmt.Errorf("authorities: %w", err))
		}
		if roots = x509.NewCertPool(); !roots.AppendCertsFromPEM(text) {
			return fault(fmt.Errorf("authorities: no certificate in %s", f.CA))
		}
	}
	if s.ServerName != "" && !slices.Contains(names, s.ServerName) {
		names = []string{s.ServerName} // of a proxy
	}
	between := x509.NewCertPool()
	for _, cert := range s.PeerCertificates[1:] {
		between.AddCert(cert)
	}
	var errs []error
	for _, name := range names {
		_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{DNSName: name, Roots: roots, Intermediates: between})
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	err := errors.Join(errs...)
	if len(errs) == 1 {
		err = errs[0]
	}
	return &tls.CertificateVerificationError{UnverifiedCertificates: s.PeerCertificates, Err: err}
}
