package forward

import (
	"crypto/tls"
	"errors"
	"fmt"
)

// Security proves a peer: by a secret that all nodes have, by certificates, or by both.
type Security struct {
	Secret []byte // at least MinSecret bytes; it is neither sent nor logged

	// ServerTLS must require and verify a client's certificate. Both are set, or none.
	ServerTLS, ClientTLS *tls.Config
}

// MinSecret is the least length of a secret, in bytes.
const MinSecret = 16

func (s *Security) check() error {
	switch {
	case (s.ServerTLS == nil) != (s.ClientTLS == nil):
		return errors.New("peers need certificates for both ends of a connection, or for none")
	case s.ServerTLS != nil && s.ServerTLS.ClientAuth != tls.RequireAndVerifyClientCert:
		return errors.New("peers must be asked for a certificate that is verified")
	case len(s.Secret) == 0 && s.ServerTLS == nil:
		return errors.New("peers are neither proved by a secret nor by certificates: set one of them")
	case len(s.Secret) > 0 && len(s.Secret) < MinSecret:
		return fmt.Errorf("the secret of peers has %d bytes, fewer than %d", len(s.Secret), MinSecret)
	}
	return nil
}
