package subscriber

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
)

// Upstream says where a broker is. The zero value is none.
type Upstream struct {
	URL          string // mqtt://USER@HOST:PORT or mqtts://…; "": none
	PasswordFile string // of USER; it is read for each connection
	CAFile       string // PEM, the authorities that may vouch for the broker; "": the system's
}

// Check returns the flag of the first setting that is wrong, and why it is. It reads no file,
// and quotes no secret.
func (u *Upstream) Check() (flag string, err error) {
	if u.URL == "" {
		for flag, value := range map[string]string{"mqtt-broker-password-file": u.PasswordFile, "mqtt-broker-ca-file": u.CAFile} {
			if value != "" {
				return flag, errors.New("is of --mqtt-broker: give both")
			}
		}
		return "", nil
	}
	at, err := u.parse()
	if err != nil {
		return "mqtt-broker", err
	}
	switch {
	case u.PasswordFile != "" && at.User.Username() == "":
		return "mqtt-broker-password-file", errors.New("takes a user: --mqtt-broker=mqtt://USER@HOST")
	case u.CAFile != "" && at.Scheme != "mqtts":
		return "mqtt-broker-ca-file", errors.New("takes TLS: --mqtt-broker=mqtts://HOST")
	}
	return "", nil
}

var errForm = errors.New("is not of the form mqtt://USER@HOST:PORT or mqtts://USER@HOST:PORT, where USER and PORT may be left out")

// parse returns the URL with a port.
func (u *Upstream) parse() (*url.URL, error) {
	at, err := url.Parse(u.URL)
	if err != nil {
		return nil, errForm // the error of url quotes the URL
	}
	if _, has := at.User.Password(); has {
		return nil, errors.New("has a password in it, which a list of processes shows: put it into --mqtt-broker-password-file")
	}
	ports := map[string]string{"mqtt": "1883", "mqtts": "8883"}
	if ports[at.Scheme] == "" || at.Hostname() == "" || strings.Trim(at.Path, "/") != "" || at.RawQuery != "" || at.Fragment != "" {
		return nil, errForm
	}
	if at.Port() == "" {
		at.Host = net.JoinHostPort(at.Hostname(), ports[at.Scheme])
	}
	if _, err := net.LookupPort("tcp", at.Port()); err != nil {
		return nil, errForm
	}
	at.Path = ""
	return at, nil
}

// secured returns the settings of TLS, or nil for a broker without.
func (u *Upstream) secured(at *url.URL) (*tls.Config, error) {
	if at.Scheme != "mqtts" {
		return nil, nil //nolint:nilnil // plain TCP
	}
	cfg := &tls.Config{ServerName: at.Hostname(), MinVersion: tls.VersionTLS12}
	if u.CAFile == "" {
		return cfg, nil
	}
	text, err := os.ReadFile(u.CAFile)
	if err != nil {
		return nil, fmt.Errorf("--mqtt-broker-ca-file: %w", err)
	}
	if cfg.RootCAs = x509.NewCertPool(); !cfg.RootCAs.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("--mqtt-broker-ca-file: %s has no certificate in PEM", u.CAFile)
	}
	return cfg, nil
}

// password returns the password, or nil if there is none.
func (u *Upstream) password() ([]byte, error) {
	if u.PasswordFile == "" {
		return nil, nil
	}
	text, err := os.ReadFile(u.PasswordFile)
	if err != nil {
		return nil, fmt.Errorf("--mqtt-broker-password-file: %w", err)
	}
	return []byte(strings.TrimRight(string(text), "\r\n")), nil
}
