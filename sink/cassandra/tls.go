package cassandra

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strconv"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"pingline/sink/store/secure"
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
	names := []string{ip}
	for _, host := range d.to.hosts {
		if name, _, err := net.SplitHostPort(host); err == nil {
			names = append(names, name)
		}
	}
	t := secure.Files{CA: d.cfg.CAFile, Cert: d.cfg.CertFile, Key: d.cfg.KeyFile}.Client(func(err error) error { return &loginFileFault{err} }, names...)
	t.ServerName = ip
	return t
}
