package cassandra

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"

	gocql "github.com/apache/cassandra-gocql-driver/v2"
)

// nodeDialer connects to a node, by TLS if the URL says so. Files are read for each
// connection, so that a certificate may be renewed at any time.
type nodeDialer struct {
	cfg *Config
	to  *clusterURL
}

// DialHost is that of gocql.HostDialer.
func (d *nodeDialer) DialHost(ctx context.Context, node *gocql.HostInfo) (*gocql.DialedHost, error) {
	ip := node.ConnectAddress().String()
	address := net.JoinHostPort(ip, strconv.Itoa(node.Port()))
	conn, err := (&net.Dialer{Timeout: d.cfg.Timeout}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if !d.to.secure {
		return &gocql.DialedHost{Conn: conn}, nil
	}
	secure := tls.Client(conn, d.settings(ip))
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("TLS with %s: %w", address, err)
	}
	return &gocql.DialedHost{Conn: secure, DisableCoalesce: true}, nil
}

// settings returns those of a connection to a node, which shows a certificate for its own
// address or for a host of the URL: the nodes of a cluster are found by address, and often
// share a name.
func (d *nodeDialer) settings(ip string) *tls.Config {
	t := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: ip}
	if d.cfg.CertFile != "" {
		t.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			cert, err := tls.LoadX509KeyPair(d.cfg.CertFile, d.cfg.KeyFile)
			if err != nil {
				return nil, &loginFileFault{fmt.Errorf("client certificate: %w", err)}
			}
			return &cert, nil
		}
	}
	names := []string{ip}
	for _, host := range d.to.hosts {
		if name, _, err := net.SplitHostPort(host); err == nil {
			names = append(names, name)
		}
	}
	t.InsecureSkipVerify = true // verify checks instead, by several names and by authorities that are read anew
	t.VerifyConnection = func(s tls.ConnectionState) error { return verify(d.cfg.CAFile, names, &s) }
	return t
}

// verify checks a certificate as crypto/tls does, by the authorities in a file, "" for the
// system's, and by several names.
func verify(file string, names []string, s *tls.ConnectionState) error {
	var roots *x509.CertPool
	if file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return &loginFileFault{fmt.Errorf("authorities: %w", err)}
		}
		if roots = x509.NewCertPool(); !roots.AppendCertsFromPEM(text) {
			return &loginFileFault{fmt.Errorf("authorities: no certificate in %s", file)}
		}
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
	return &tls.CertificateVerificationError{UnverifiedCertificates: s.PeerCertificates, Err: errors.Join(errs...)}
}
