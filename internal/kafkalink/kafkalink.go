// Package kafkalink is how to reach a Kafka, for the store and for the way in: the URL, TLS
// and SASL.
//
// A URL has no password in it: a list of processes would show it. Files of passwords and of
// certificates are read for each connection, so that they may be renewed at any time.
package kafkalink

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math"
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// The schemes of a URL.
const (
	Scheme       = "kafka"
	SchemeSecure = "kafkas" // TLS
)

// Brokers says where a cluster is and how to get in.
type Brokers struct {
	Seeds   []string          // host:port of brokers that name the others
	Topic   string            // behind the slash
	User    string            // of SASL; "" means without
	Options map[string]string // behind the question mark

	TLS               bool
	CAFile            string // PEM, authorities that may sign the brokers' certificates; "" means the system's
	CertFile, KeyFile string // PEM, our client certificate; "" means without
	PasswordFile      string // of User
}

// optionSASL names the mechanism, one of mechanisms.
const optionSASL = "sasl"

// OptionFormat is an option that Parse may be told to take: the form of messages.
const OptionFormat = "format"

// HeaderType is the header of a message that names its form, as a Content-Type does.
const HeaderType = "content-type"

// Protobuf reports whether OptionFormat names Protobuf instead of JSON, the default, or returns an
// error if it names neither.
func (b *Brokers) Protobuf() (bool, error) {
	switch format, given := b.Options[OptionFormat]; {
	case format == "protobuf":
		return true, nil
	case given && format != "json":
		return false, fmt.Errorf("format=%.32s is neither json nor protobuf", format)
	}
	return false, nil
}

var mechanisms = []string{"plain", "scram-sha-256", "scram-sha-512"}

// topicName is a legal name of a topic, as org.apache.kafka.common.internals.Topic has it.
var topicName = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}$`)

// MaxTopic is the most bytes of a topic's name.
const MaxTopic = 249

var errForm = errors.New("is not of the form kafka://USER@HOST:PORT,HOST:PORT/TOPIC, or kafkas:// for TLS, where USER and PORT may be left out")

// Parse reads a URL that may have options besides sasl. Its errors quote no secret.
func Parse(text string, options ...string) (*Brokers, error) {
	scheme, rest, ok := strings.Cut(text, "://")
	scheme = strings.ToLower(scheme)
	if !ok || scheme != Scheme && scheme != SchemeSecure {
		return nil, errForm
	}
	b := &Brokers{TLS: scheme == SchemeSecure, Options: map[string]string{}}
	rest, query, _ := strings.Cut(rest, "?")
	hosts, topic, ok := strings.Cut(rest, "/")
	if !ok || strings.Contains(topic+query, "@") { // a password with a character that ends the hosts
		return nil, errForm
	}
	if i := strings.LastIndexByte(hosts, '@'); i >= 0 {
		if strings.Contains(hosts[:i], ":") {
			return nil, errors.New("has a password in it, which a list of processes shows: put it into a file")
		}
		user, err := url.PathUnescape(hosts[:i])
		if err != nil || user == "" {
			return nil, errForm
		}
		b.User, hosts = user, hosts[i+1:]
	}
	for host := range strings.SplitSeq(hosts, ",") {
		seed, err := withPort(host)
		if err != nil {
			return nil, err
		}
		b.Seeds = append(b.Seeds, seed)
	}
	if b.Topic = topic; !topicName.MatchString(topic) || topic == "." || topic == ".." {
		return nil, fmt.Errorf("topic %.64q is not 1 to %d of a-z A-Z 0-9 . _ -", topic, MaxTopic)
	}
	return b, b.options(query, append(options, optionSASL))
}

func withPort(host string) (string, error) {
	if name := strings.Trim(host, "[]"); net.ParseIP(name) != nil || host != "" && !strings.Contains(host, ":") {
		host = net.JoinHostPort(name, "9092")
	}
	name, port, err := net.SplitHostPort(host)
	if err != nil || name == "" || strings.ContainsAny(name, "@/ \t") {
		return "", errForm
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > math.MaxUint16 { // the client knows no port by its name
		return "", errForm
	}
	return host, nil
}

func (b *Brokers) options(query string, known []string) error {
	values, err := url.ParseQuery(query)
	if err != nil {
		return errForm
	}
	for key, list := range values {
		if !slices.Contains(known, key) || len(list) != 1 {
			return fmt.Errorf("there is no option %.32q, only %s, each once", key, strings.Join(known, ", "))
		}
		b.Options[key] = list[0]
	}
	if m, given := b.Options[optionSASL]; given && (!slices.Contains(mechanisms, m) || b.User == "") {
		return fmt.Errorf("sasl=%.32s: takes a user, and one of %s", m, strings.Join(mechanisms, ", "))
	}
	return nil
}

// FileFault is the error that a file of credentials or certificates cannot be used.
type FileFault struct{ Err error }

func (e *FileFault) Error() string { return e.Err.Error() }

func (e *FileFault) Unwrap() error { return e.Err }

// Client returns the options of a client.
func (b *Brokers) Client() []kgo.Opt {
	list := []kgo.Opt{
		kgo.SeedBrokers(b.Seeds...), kgo.ClientID("pingline"), kgo.Dialer(b.dial), kgo.DisableClientMetrics(),
		kgo.RetryBackoffFn(backoff), kgo.RequestRetries(requestRetries),
	}
	if b.User == "" {
		return list
	}
	switch b.Options[optionSASL] {
	case "scram-sha-256":
		return append(list, kgo.SASL(scram.Sha256(b.scram)))
	case "scram-sha-512":
		return append(list, kgo.SASL(scram.Sha512(b.scram)))
	}
	return append(list, kgo.SASL(plain.Plain(func(context.Context) (plain.Auth, error) {
		password, err := b.password()
		return plain.Auth{User: b.User, Pass: password}, err
	})))
}

// requestRetries is how often a question is asked again before the caller is told of the trouble.
const requestRetries = 3

func backoff(n int) time.Duration {
	return min(100*time.Millisecond<<min(max(n-1, 0), 5), time.Second)
}

func (b *Brokers) scram(context.Context) (scram.Auth, error) {
	password, err := b.password()
	return scram.Auth{User: b.User, Pass: password}, err
}

func (b *Brokers) password() (string, error) {
	if b.PasswordFile == "" {
		return "", &FileFault{fmt.Errorf("user %s has no file with a password", b.User)}
	}
	text, err := os.ReadFile(b.PasswordFile)
	if err != nil {
		return "", &FileFault{fmt.Errorf("password file: %w", err)}
	}
	if text := strings.TrimSpace(string(text)); text != "" {
		return text, nil
	}
	return "", &FileFault{fmt.Errorf("password file %s is empty", b.PasswordFile)}
}

// dialTimeout bounds a connection's beginning.
const dialTimeout = 5 * time.Second

func (b *Brokers) dial(ctx context.Context, network, host string) (net.Conn, error) {
	plain := &net.Dialer{Timeout: dialTimeout}
	if !b.TLS {
		return plain.DialContext(ctx, network, host)
	}
	cfg, err := b.secured()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	return (&tls.Dialer{NetDialer: plain, Config: cfg}).DialContext(ctx, network, host)
}

// secured reads the files of TLS.
func (b *Brokers) secured() (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if b.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(b.CertFile, b.KeyFile)
		if err != nil {
			return nil, &FileFault{fmt.Errorf("client certificate: %w", err)}
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	if b.CAFile == "" {
		return cfg, nil
	}
	text, err := os.ReadFile(b.CAFile)
	if err != nil {
		return nil, &FileFault{fmt.Errorf("authorities: %w", err)}
	}
	if cfg.RootCAs = x509.NewCertPool(); !cfg.RootCAs.AppendCertsFromPEM(text) {
		return nil, &FileFault{fmt.Errorf("authorities: %s has no certificate in PEM", b.CAFile)}
	}
	return cfg, nil
}
