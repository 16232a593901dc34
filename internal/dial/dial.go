// Package dial has the flags by which commands reach a Pingline server that speaks TLS: whose
// certificate they trust, and which one they show.
//
// It sends nothing itself. Keys and tokens go in headers; Hide takes them out of answers that
// quote them.
package dial

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
)

// Flags say how a server is reached. The zero value trusts the authorities of the system, and
// shows no certificate.
type Flags struct {
	CA   string `name:"tls-ca" placeholder:"FILE" help:"PEM file of the authorities that may vouch for the server's certificate, instead of the system's."`
	Cert string `name:"tls-cert" placeholder:"FILE" help:"PEM file of the client certificate to show; it is read for each connection."`
	Key  string `name:"tls-key" placeholder:"FILE" help:"PEM file of its key."`
}

// Check returns an error if a flag lacks another, or is given for a server at a URL that is
// not reached by TLS; "" is no server. It reads no file.
func (f *Flags) Check(server string) error {
	secure := len(server) >= len("https:") && strings.EqualFold(server[:len("https:")], "https:")
	switch {
	case f.CA != "" && !secure:
		return errors.New("--tls-ca: is only for a server whose URL begins with https")
	case f.Cert != "" && !secure:
		return errors.New("--tls-cert: is only for a server whose URL begins with https")
	case f.Cert != "" && f.Key == "":
		return errors.New("--tls-cert: and --tls-key: give both or neither")
	case f.Key != "" && f.Cert == "":
		return errors.New("--tls-key: and --tls-cert: give both or neither")
	}
	return nil
}

// TLS returns the settings of connections, or nil without flags. An error names the flag whose
// file cannot be used, and quotes no key.
func (f *Flags) TLS() (*tls.Config, error) {
	if *f == (Flags{}) {
		return nil, nil //nolint:nilnil // those of the system
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.CA != "" {
		text, err := os.ReadFile(f.CA)
		if err != nil {
			return nil, fmt.Errorf("--tls-ca: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("--tls-ca: no certificate in PEM form in %s", f.CA)
		}
	}
	if f.Cert != "" {
		if _, err := f.pair(); err != nil {
			return nil, err
		}
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return f.pair() }
	}
	return c, nil
}

func (f *Flags) pair() (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		return nil, fmt.Errorf("--tls-cert %s and --tls-key %s: %w", f.Cert, f.Key, err)
	}
	return &pair, nil
}

// Transport returns a transport of requests, with the defaults of net/http beside the flags.
func (f *Flags) Transport() (*http.Transport, error) {
	secure, err := f.TLS()
	if err != nil {
		return nil, err
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	if secure != nil {
		t.TLSClientConfig = secure
	}
	return t, nil
}

// Args returns the flags of a command line that reaches the server the same way, each with a
// space before it.
func (f *Flags) Args() (text string) {
	for _, flag := range []struct{ name, value string }{{"tls-ca", f.CA}, {"tls-cert", f.Cert}, {"tls-key", f.Key}} {
		if flag.value != "" {
			text += " --" + flag.name + "=" + flag.value
		}
	}
	return text
}

// leastSecret is the shortest word of a header's value that is taken for a secret.
const leastSecret = 8

// Hide returns an answer without the values of headers that were sent, and without their longer
// words: a server, or a proxy before it, may quote the request.
func Hide(answer string, values ...string) string {
	for _, value := range values {
		for _, secret := range append([]string{value}, strings.Fields(value)...) {
			if len(secret) >= leastSecret {
				answer = strings.ReplaceAll(answer, secret, "…")
			}
		}
	}
	return answer
}
