package node

import (
	"net"

	"pingline/ingest/server/certs"
	"pingline/internal/ops"
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
