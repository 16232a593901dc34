package cassandra

import (
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"
)

// Schemes of a URL.
const (
	Scheme       = "cassandra"
	SchemeSecure = "cassandras" // by TLS
)

// Config says where a keyspace is and how to get in. URL is required.
type Config struct {
	URL          string        // cassandra://user@host:port,host/keyspace, without a password, with the settings of Parameters only
	PasswordFile string        // file with the user's password, read for each connection
	Timeout      time.Duration // of a connection, and of a request; 0 means 10 s

	CAFile            string // PEM, authorities that may sign the servers' certificates; "" means the system's
	CertFile, KeyFile string // PEM, our client certificate; "" means without

	CreateSchema bool // make the keyspace and the tables that are missing
	BatchRows    int  // most rows of a partition in a request; 0 means 100
	Logger       *slog.Logger
}

// Parameters are the settings that a URL may have behind its question mark.
var Parameters = []string{"consistency", "datacenter", "keep", "latest", "replicas"}

// KeyspaceFault names a field of a Config that is not valid, and says why. It quotes no
// credentials.
type KeyspaceFault struct {
	Field string // such as URL
	Err   error
}

func (e *KeyspaceFault) Error() string { return "cassandra: " + e.Field + ": " + e.Err.Error() }

func (e *KeyspaceFault) Unwrap() error { return e.Err }

const (
	dayLong = 24 * time.Hour

	// spansLonger is how much longer a span is kept than the rows in it: it is written at most
	// spanFresh before a row.
	spansLonger = dayLong
	spanFresh   = 6 * time.Hour

	// longestKeep is the longest that Cassandra lets a row live, less what spans live longer.
	longestKeep = 20*365*dayLong - spansLonger

	// mostReplicas bounds the copies of a row that a new keyspace asks for.
	mostReplicas = 9
)

// clusterURL is a URL, taken apart.
type clusterURL struct {
	user, keyspace string
	hosts          []string // host:port
	secure         bool

	consistency gocql.Consistency
	datacenter  string        // "" if the cluster has only one
	keep        time.Duration // age at which a row is deleted; 0 means never
	latest      bool          // the newest position of each rider is kept in a table of its own
	replicas    int           // of a keyspace that is made; 0 means as many as there are nodes, at most 3
}

const form = "cassandra://user@host:port,host/keyspace"

var plainName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,47}$`)

// parseURL takes a URL apart. net/url does not know several hosts.
func parseURL(text string) (*clusterURL, error) {
	scheme, rest, ok := strings.Cut(text, "://")
	scheme = strings.ToLower(scheme)
	if !ok || scheme != Scheme && scheme != SchemeSecure {
		return nil, fmt.Errorf("not of the form %s", form)
	}
	to := &clusterURL{secure: scheme == SchemeSecure, consistency: gocql.LocalQuorum}
	rest, query, _ := strings.Cut(rest, "?")
	authority, path, _ := strings.Cut(rest, "/")
	if strings.Contains(path+query, "@") { // a password with a character that ends the hosts
		return nil, fmt.Errorf("not of the form %s: a password belongs into the token file", form)
	}
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		user, _, password := strings.Cut(authority[:at], ":")
		if password {
			return nil, fmt.Errorf("a password belongs into the token file")
		}
		var err error
		if to.user, err = url.PathUnescape(user); err != nil || to.user == "" {
			return nil, fmt.Errorf("the user in front of @ is not of the form %s", form)
		}
		authority = authority[at+1:]
	}
	for host := range strings.SplitSeq(authority, ",") {
		address, err := hostPort(host)
		if err != nil {
			return nil, err
		}
		to.hosts = append(to.hosts, address)
	}
	if to.keyspace = strings.TrimSuffix(path, "/"); !plainName.MatchString(to.keyspace) {
		return nil, fmt.Errorf("keyspace %.60q is not of 1 to 48 lower-case letters, digits and _, a letter first: %s", to.keyspace, form)
	}
	return to, to.setAll(query)
}

// hostPort returns the address of a host, with Cassandra's port if it names none.
func hostPort(host string) (string, error) {
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		name, port = strings.Trim(host, "[]"), "9042"
		if strings.Contains(name, ":") && net.ParseIP(name) == nil {
			return "", fmt.Errorf("host %.60q is not of the form host:port", host)
		}
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 || name == "" || strings.ContainsAny(name, " @?#") {
		return "", fmt.Errorf("host %.60q is not of the form host:port", host)
	}
	return net.JoinHostPort(name, port), nil
}

func (to *clusterURL) setAll(query string) error {
	values, err := url.ParseQuery(query)
	if err != nil {
		return fmt.Errorf("the settings behind the question mark are not of the form key=value&key=value")
	}
	for key, value := range values {
		if !slices.Contains(Parameters, key) {
			return fmt.Errorf("there is no setting %.32q, only %s", key, strings.Join(Parameters, ", "))
		}
		if len(value) > 1 {
			return fmt.Errorf("%s is given twice", key)
		}
		if err := to.set(key, value[0]); err != nil {
			return err
		}
	}
	return nil
}

// consistencies are the levels at which a write that was taken is read again, if both use it,
// and the weaker ones for who knows what they risk. ANY cannot be read, and a hint is no copy.
var consistencies = []string{"LOCAL_QUORUM", "QUORUM", "EACH_QUORUM", "ALL", "LOCAL_ONE", "ONE", "TWO", "THREE"}

func (to *clusterURL) set(key, value string) (err error) {
	switch key {
	case "consistency":
		if !slices.Contains(consistencies, value) {
			return fmt.Errorf("consistency=%.32s is none of %s", value, strings.Join(consistencies, ", "))
		}
		to.consistency, err = gocql.ParseConsistencyWrapper(value)
	case "datacenter":
		if to.datacenter = value; strings.ContainsAny(value, `'"`) || value == "" {
			return fmt.Errorf("datacenter=%.32q is not a name", value)
		}
	case "keep":
		to.keep, err = time.ParseDuration(value)
		if err != nil || to.keep < time.Hour || to.keep > longestKeep {
			return fmt.Errorf("keep=%.32s is not a duration such as 720h, at least 1h and at most %dh", value, longestKeep/time.Hour)
		}
	case "latest":
		if to.latest, err = strconv.ParseBool(value); err != nil {
			return fmt.Errorf("latest=%.32s is neither true nor false", value)
		}
	case "replicas":
		if to.replicas, err = strconv.Atoi(value); err != nil || to.replicas < 1 || to.replicas > mostReplicas {
			return fmt.Errorf("replicas=%.32s is not in [1, %d]", value, mostReplicas)
		}
	}
	return err
}

// check returns the URL taken apart, or a *KeyspaceFault.
func (c *Config) check() (*clusterURL, error) {
	to, err := parseURL(c.URL)
	switch {
	case err != nil:
		return nil, &KeyspaceFault{"URL", err}
	case c.PasswordFile != "" && to.user == "":
		return nil, &KeyspaceFault{"URL", fmt.Errorf("a token file has the password of a user: %s", form)}
	case c.PasswordFile == "" && to.user != "":
		return nil, &KeyspaceFault{"PasswordFile", fmt.Errorf("the user %.32s in the url needs a password: name its file", to.user)}
	case c.CertFile != "" && c.KeyFile == "":
		return nil, &KeyspaceFault{"CertFile", fmt.Errorf("a certificate needs its key")}
	case c.CertFile == "" && c.KeyFile != "":
		return nil, &KeyspaceFault{"KeyFile", fmt.Errorf("a key needs its certificate")}
	case (c.CAFile != "" || c.CertFile != "") && !to.secure:
		return nil, &KeyspaceFault{"URL", fmt.Errorf("certificates need TLS: write %s:// for %s://", SchemeSecure, Scheme)}
	case c.Timeout < 0:
		return nil, &KeyspaceFault{"Timeout", fmt.Errorf("%v is negative", c.Timeout)}
	case c.BatchRows < 0:
		return nil, &KeyspaceFault{"BatchRows", fmt.Errorf("%d is negative", c.BatchRows)}
	}
	return to, nil
}

// loginFileFault is the error that a file of credentials cannot be used.
type loginFileFault struct{ err error }

func (e *loginFileFault) Error() string { return e.err.Error() }

// login returns the credentials of a connection: a changed file is used for the next one.
func (c *Config) login(user string) (gocql.Authenticator, error) {
	text, err := os.ReadFile(c.PasswordFile)
	if err != nil {
		return nil, &loginFileFault{fmt.Errorf("token file: %w", err)}
	}
	password := strings.TrimSpace(string(text))
	if strings.ContainsFunc(password, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return nil, &loginFileFault{fmt.Errorf("token file %s holds more than one line", c.PasswordFile)}
	}
	return gocql.PasswordAuthenticator{Username: user, Password: password}, nil
}
