package redis

import (
	"context"
	"crypto/tls"
	"net"

	"pingline/sink/store/secure"
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

// tls returns the settings of a connection.
func (c *Config) tls(host string) *tls.Config {
	t := secure.Files{CA: c.CAFile, Cert: c.CertFile, Key: c.KeyFile}.Client(func(err error) error { return &fileFault{err} }, host)
	t.ServerName = host
	return t
}
