package postgres

import (
	"crypto/tls"

	"pingline/sink/store/secure"
)

// tls returns the settings of connections.
func (c *Config) tls(host string) *tls.Config {
	t := secure.Files{CA: c.CAFile, Cert: c.CertFile, Key: c.KeyFile}.Client(func(err error) error { return &fileError{err} }, host)
	t.ServerName = host
	return t
}
