package redis

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
)

// dial connects to a server. Files are read for each connection, so that a certificate may
// be renewed at any time.
func (p *Whereabouts) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil || !p.at.tls {
		return conn, err
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr
	}
	secured := tls.Client(conn, p.cfg.tls(host))
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secured, nil
}

// tls returns the settings of a connection that checks the server's certificate, and shows
// ours.
func (c *Config) tls(host string) *tls.Config {
	t := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host}
	if c.CertFile != "" {
		t.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			cert, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
			if err != nil {
				return nil, &fileFault{fmt.Errorf("client certificate: %w", err)}
			}
			return &cert, nil
		}
	}
	if c.CAFile != "" {
		t.InsecureSkipVerify = true // verify checks instead, by authorities that are read anew
		t.VerifyConnection = func(s tls.ConnectionState) error { return verify(c.CAFile, host, &s) }
	}
	return t
}

// verify checks the server's certificate as crypto/tls does, by the authorities in a file.
func verify(file, host string, s *tls.ConnectionState) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return &fileFault{fmt.Errorf("authorities: %w", err)}
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return &fileFault{fmt.Errorf("authorities: no certificate in %s", file)}
	}
	between := x509.NewCertPool()
	for _, cert := range s.PeerCertificates[1:] {
		between.AddCert(cert)
	}
	_, err = s.PeerCertificates[0].Verify(x509.VerifyOptions{DNSName: host, Roots: roots, Intermediates: between})
	if err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: s.PeerCertificates, Err: err}
	}
	return nil
}
