package postgres

import (
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Config says where a database is and how to get in. URL is required.
type Config struct {
	URL          string        // postgres://user@host:port/database, with no password and with the settings of Parameters only
	PasswordFile string        // file with the password, read for each connection; "": as libpq finds it, in PGPASSWORD or ~/.pgpass
	Timeout      time.Duration // of a connection, and of a silence within a query's answer; 0 means 10 s

	CAFile            string // PEM, authorities that may sign the server's certificate; "" leaves TLS to sslmode
	CertFile, KeyFile string // PEM, our client certificate; "" means without

	CheckOnly bool          // make and drop nothing: tables and partitions are an operator's, who goes by Keep
	Keep      time.Duration // age at which a day of rows is dropped, at least a day; 0: never. keep=… of the URL beats it
	Logger    *slog.Logger  // nil means slog.Default()
}

// Parameters are the settings that a URL may have behind its question mark.
var Parameters = []string{"keep", "sslmode", "target_session_attrs"}

// SettingFault names a field of a Config that is not valid, and says why. It quotes no
// credentials.
type SettingFault struct {
	Field string // such as URL
	Err   error
}

func (e *SettingFault) Error() string { return "postgres: " + e.Field + ": " + e.Err.Error() }

func (e *SettingFault) Unwrap() error { return e.Err }

const day = 24 * time.Hour

// check takes keep out of the URL, and returns the rest, or a *SettingFault.
func (c *Config) check() (*url.URL, error) {
	wrong := func(field, format string, args ...any) (*url.URL, error) {
		return nil, &SettingFault{field, fmt.Errorf(format, args...)}
	}
	u, err := url.Parse(c.URL)
	if err != nil {
		return wrong("URL", "not of the form postgres://user@host:port/database") // the cause would quote it, password and all
	}
	if _, has := u.User.Password(); has {
		return wrong("URL", "%s: a password belongs into the token file", u.Redacted())
	}
	query, err := url.ParseQuery(u.RawQuery)
	for key := range query {
		if !slices.Contains(Parameters, key) {
			return wrong("URL", "there is no setting %.32q, only %s", key, strings.Join(Parameters, ", "))
		}
	}
	if keep := query.Get("keep"); keep != "" {
		if c.Keep, err = time.ParseDuration(keep); err != nil {
			return wrong("URL", "keep=%.32s is not a duration such as 720h", keep)
		}
		query.Del("keep")
		u.RawQuery = query.Encode()
	}
	switch {
	case err != nil, u.Scheme != "postgres" && u.Scheme != "postgresql", u.Hostname() == "", u.User.Username() == "", len(strings.Trim(u.Path, "/")) == 0, u.Fragment != "":
		return wrong("URL", "%.200q is not of the form postgres://user@host:port/database", u.Redacted())
	case c.Keep != 0 && c.Keep < day:
		return wrong("Keep", "%v is less than a day, 24h", c.Keep)
	case c.CertFile != "" && c.KeyFile == "":
		return wrong("CertFile", "a certificate needs its key")
	case c.CertFile == "" && c.KeyFile != "":
		return wrong("KeyFile", "a key needs its certificate")
	case c.Timeout < 0:
		return wrong("Timeout", "%v is negative", c.Timeout)
	}
	return u, nil
}

// fileError is the error that a file of credentials cannot be used.
type fileError struct{ err error }

func (e *fileError) Error() string { return e.err.Error() }

// password reads the password's file: a changed one is used for the next connection.
func (c *Config) password(conn *pgx.ConnConfig) error {
	if c.PasswordFile == "" {
		return nil
	}
	text, err := os.ReadFile(c.PasswordFile)
	if err != nil {
		return &fileError{fmt.Errorf("token file: %w", err)}
	}
	conn.Password = strings.TrimSpace(string(text))
	if strings.ContainsFunc(conn.Password, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return &fileError{fmt.Errorf("token file %s holds more than one line", c.PasswordFile)}
	}
	return nil
}
