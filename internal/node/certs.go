package node

import (
	"fmt"
	"net"
	"strings"
	"time"

	"pingline/ingest/server/certs"
	"pingline/internal/ops"
	"pingline/sink/store"
)

// openCerts reads the certificates of the listeners, and returns nil if they speak plain HTTP.
func (n *Node) openCerts() (*certs.Certificates, error) {
	cfg := n.cfg.TLS
	if !cfg.On() {
		return nil, nil
	}
	cfg.Riders, cfg.Logger = n.cfg.Access.With("cert"), n.logger
	cfg.Nameless = n.door.Names() != nil // as a rider's is in no log then
	if n.gate != nil {
		cfg.Failures = n.gate.Failures()
	}
	return certs.Open(cfg)
}

// secureOps returns the layer of TLS over the operations listener, or nil. Where every connection
// needs a client certificate it asks for one, too, but on the machine's own address, as it is
// with keys. A certificate that names a rider would be of no use there.
func (n *Node) secureOps() ops.Layer {
	if n.certs == nil {
		return nil
	}
	return func(ln net.Listener) net.Listener {
		at, ok := ln.Addr().(*net.TCPAddr)
		return n.certs.Listener(ln, n.certs.Required() && !(ok && at.IP.IsLoopback()))
	}
}

// tryTLS reads the files of TLS.
func (c *Config) tryTLS() store.Finding {
	f := store.Finding{What: "certificate"}
	s, err := certs.Open(c.TLS)
	if err != nil {
		f.Found, f.Remedy = err.Error(), "put the file right, or name another"
		return f
	}
	f.Found = fmt.Sprintf("%s expires on %s", c.TLS.Cert, s.Expires().UTC().Format(time.DateOnly))
	if notes := s.Notes(); len(notes) > 0 {
		f.Found, f.Remedy = strings.Join(notes, "; "), "put a new file in its place"
	}
	return f
}
