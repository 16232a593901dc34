package certs

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"strings"
)

// readPair returns the certificate of two files, or what is wrong with which. No error quotes
// the key.
func readPair(cert, key *file) (*tls.Certificate, error) {
	for _, f := range []*file{cert, key} {
		if _, err := f.read(); err != nil {
			return nil, err
		}
	}
	if !hasBlock(cert.text, "CERTIFICATE") {
		return nil, fmt.Errorf("--tls-cert: no certificate in PEM form in %s", cert.path)
	}
	if bytes.Contains(key.text, []byte("ENCRYPTED")) {
		return nil, fmt.Errorf("--tls-key: %s is encrypted: nobody is there to type its password; write it without: openssl pkey -in FILE -out FILE", key.path)
	}
	if !hasBlock(key.text, "PRIVATE KEY") {
		return nil, fmt.Errorf("--tls-key: no private key in PEM form in %s", key.path)
	}
	pair, err := tls.X509KeyPair(cert.text, key.text)
	if err != nil {
		why := strings.TrimPrefix(err.Error(), "tls: ")
		if strings.Contains(why, "does not match") {
			why = "it is not the key of the first certificate there"
		}
		return nil, fmt.Errorf("--tls-key: %s and the certificate %s: %s", key.path, cert.path, why)
	}
	return &pair, nil
}

// hasBlock reports whether a text has a block of PEM of a kind.
func hasBlock(text []byte, kind string) bool {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return false
		}
		if strings.HasSuffix(block.Type, kind) {
			return true
		}
	}
}
