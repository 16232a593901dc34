package peers

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"

	"pingline/ingest/forward"
	"pingline/internal/room"
	"pingline/internal/unit"
	"pingline/partition"
	"pingline/queue"
)

// Sharing says how a node shares riders with others. The zero value is a node that takes all
// riders by itself.
type Sharing struct {
	Parts   int    // of the riders: 0 or 1, or a power of two up to partition.MaxParts
	Listen  string // address where peers send pings
	Address string // host:port by which peers reach it; "" is the host's name and the port of Listen

	SecretFile                string // file with the secret that peers share; or, instead of it,
	CertFile, KeyFile, CAFile string // PEM, for TLS in which both sides show a certificate of that authority
}

// On reports whether riders are shared.
func (s *Sharing) On() bool { return s.Parts > 1 }

// leastLog is the fewest bytes of a part's log.
const leastLog = 4 << 20

// Check returns the name of the flag that is wrong, and why, or "". MostLog is the bytes that the
// logs of all parts may have.
func (s *Sharing) Check(queueURL string, mostLog int64) (flag string, err error) {
	tls := s.CertFile != "" || s.KeyFile != "" || s.CAFile != ""
	switch {
	case s.Parts < 0 || s.Parts > partition.MaxParts || s.Parts&(s.Parts-1) != 0:
		return "parts", fmt.Errorf("%d is not a power of two in [1, %d]", s.Parts, partition.MaxParts)
	case !s.On() && (s.Listen != "" || s.Address != "" || s.SecretFile != "" || tls):
		return "parts", errors.New("the settings of --peer-… are for several parts: give --parts=2 or more")
	case !s.On():
		return "", nil
	case queueURL == queue.Embedded:
		return "parts", errors.New("is for logs that nodes share: give --queue=nats://host,host")
	case queue.OnKafka(queueURL):
		return "parts", errors.New("needs NATS servers: parts of a log on Kafka are not built")
	case mostLog/int64(s.Parts) < leastLog:
		return "queue-max-bytes", fmt.Errorf("is for all parts together: %v for each of %d, less than %v", unit.Bytes(mostLog/int64(s.Parts)), s.Parts, unit.Bytes(leastLog))
	case s.Listen == "":
		return "peer-listen", errors.New("is needed with --parts: the address where other nodes send pings of our riders, such as :8079")
	case s.SecretFile == "" && !tls:
		return "peer-secret-file", errors.New("is needed with --parts, or --peer-cert-file, --peer-key-file and --peer-ca-file: else everybody could send pings as a node")
	case s.SecretFile != "" && tls:
		return "peer-secret-file", errors.New("is given beside --peer-cert-file: one of the two is enough")
	case tls && (s.CertFile == "" || s.KeyFile == "" || s.CAFile == ""):
		return "peer-cert-file", errors.New("goes with --peer-key-file and --peer-ca-file: give all three")
	}
	if err := room.CheckAddress(s.Listen); err != nil {
		return "peer-listen", err
	}
	if s.Address != "" {
		host, port, err := net.SplitHostPort(s.Address)
		if n, perr := strconv.Atoi(port); err != nil || host == "" || perr != nil || n < 1 || n > 65535 {
			return "peer-address", fmt.Errorf("%q is not HOST:PORT", s.Address)
		}
	}
	return "", nil
}

// security reads the files by which peers know each other.
func (s *Sharing) security() (is forward.Security, err error) {
	if s.SecretFile != "" {
		text, err := os.ReadFile(s.SecretFile)
		if err != nil {
			return is, fmt.Errorf("--peer-secret-file: %w", err)
		}
		is.Secret = bytes.TrimSpace(text)
		if len(is.Secret) < leastSecret {
			return is, fmt.Errorf("--peer-secret-file: %s has %d bytes, fewer than %d: openssl rand -base64 24 makes one", s.SecretFile, len(is.Secret), leastSecret)
		}
		return is, nil
	}
	cert, err := tls.LoadX509KeyPair(s.CertFile, s.KeyFile)
	if err != nil {
		return is, fmt.Errorf("--peer-cert-file: %w", err)
	}
	text, err := os.ReadFile(s.CAFile)
	if err != nil {
		return is, fmt.Errorf("--peer-ca-file: %w", err)
	}
	authorities := x509.NewCertPool()
	if !authorities.AppendCertsFromPEM(text) {
		return is, fmt.Errorf("--peer-ca-file: %s has no certificate in PEM", s.CAFile)
	}
	is.ServerTLS = &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: authorities}
	is.ClientTLS = &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}, RootCAs: authorities}
	return is, nil
}

// Try reads the files by which peers know each other, and returns which, or what is wrong and a remedy.
func (s *Sharing) Try() (found, remedy string) {
	if _, err := s.security(); err != nil {
		return err.Error(), "give all nodes the same secret, or each a certificate and its key, and let this process read the file"
	}
	return cmp.Or(s.SecretFile, s.CertFile) + " is read", ""
}

const leastSecret = 16 // bytes

// address returns where peers reach a listener.
func (s *Sharing) address(ln net.Listener) (string, error) {
	if s.Address != "" {
		return s.Address, nil
	}
	host, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		return "", err
	}
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		if host, err = os.Hostname(); err != nil {
			return "", fmt.Errorf("--peer-address is needed: %w", err)
		}
	}
	return net.JoinHostPort(host, port), nil
}
