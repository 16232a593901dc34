package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"pingline"
)

// Config says where a Redis is, how to get in, and how positions are kept there. URL is
// required.
type Config struct {
	URL          string        // redis://user@host:port/0, or rediss:// for TLS; without a password
	PasswordFile string        // file with the password, read for each connection; "": none
	Timeout      time.Duration // of a connection, and of a write; 0 means 10 s

	CAFile            string // PEM, authorities that may sign the server's certificate; "" means the system's
	CertFile, KeyFile string // PEM, our client certificate; "" means without

	Prefix  string        // of all keys, [A-Za-z0-9._:@-]; "" means pingline
	Tags    int           // hash tags that riders are spread over, 1 to MaxTags; 0 means 1
	Expire  time.Duration // age of its newest ping at which a rider is forgotten, at least a second; 0: never
	Changes string        // an element of Changes; "" means the first
	Stream  int           // about how many changes the stream keeps; 0 means 100,000

	Logger *slog.Logger // nil means slog.Default()
}

// How changes of positions are told.
const (
	changesNone    = "none"
	changesPublish = "publish" // a message to the channel PREFIX:changes
	changesStream  = "stream"  // an entry of the stream PREFIX:changes
)

// Changes are the ways in which changes of positions are told, the default first.
var Changes = []string{changesNone, changesPublish, changesStream}

// MaxTags bounds Config.Tags: a search in all of them asks each.
const MaxTags = 1024

// KeyFault names a setting that is not valid, and says why. It quotes no credentials.
type KeyFault struct {
	Key string // as --shard has it, such as url
	Err error
}

func (e *KeyFault) Error() string { return "redis: " + e.Key + ": " + e.Err.Error() }

func (e *KeyFault) Unwrap() error { return e.Err }

// Keys are the keys of a --shard that Set knows.
var Keys = []string{"prefix", "tags", "expire", "changes", "stream-length"}

// Set reads a setting as a --shard has it, or returns a *KeyFault.
func (c *Config) Set(key, text string) (err error) {
	switch key {
	case "prefix":
		c.Prefix = text
	case "changes":
		c.Changes = text
	case "tags":
		c.Tags, err = positive(text)
	case "stream-length":
		c.Stream, err = positive(text)
	case "expire":
		if c.Expire, err = time.ParseDuration(text); err != nil || c.Expire <= 0 {
			err = fmt.Errorf("%.32q is no duration such as 24h", text)
		}
	default:
		err = errors.New("there is no such setting")
	}
	if err != nil {
		return &KeyFault{key, err}
	}
	return nil
}

func positive(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%.32q is no number from 1 on", text)
	}
	return n, nil
}

// serverAt is where a server is, from the URL.
type serverAt struct {
	addr, user string
	db         int
	tls        bool
}

// complete sets the defaults and reads the URL. It returns a *KeyFault if a setting is
// wrong.
func (c *Config) complete() (serverAt, error) {
	c.Timeout = cmp.Or(c.Timeout, 10*time.Second)
	c.Prefix, c.Tags = cmp.Or(c.Prefix, "pingline"), cmp.Or(c.Tags, 1)
	c.Changes, c.Stream = cmp.Or(c.Changes, Changes[0]), cmp.Or(c.Stream, 100_000)
	c.Logger = cmp.Or(c.Logger, slog.Default())
	at, err := parseURL(c.URL)
	wrong := func(key, format string, args ...any) (serverAt, error) {
		return serverAt{}, &KeyFault{key, fmt.Errorf(format, args...)}
	}
	switch {
	case err != nil:
		return wrong("url", "%w", err)
	case at.user != "" && c.PasswordFile == "":
		return wrong("url", "the user %.64q needs a password: name the file that has it with token-file", at.user)
	case !at.tls && (c.CAFile != "" || c.CertFile != "" || c.KeyFile != ""):
		return wrong("url", "certificates are for TLS: write rediss://")
	case c.CertFile != "" && c.KeyFile == "":
		return wrong("cert-file", "a certificate needs its key")
	case c.CertFile == "" && c.KeyFile != "":
		return wrong("key-file", "a key needs its certificate")
	case pingline.CheckName("prefix", c.Prefix) != nil:
		return wrong("prefix", "%.64q is not 1 to %d of A-Z a-z 0-9 . _ : @ -", c.Prefix, pingline.MaxName)
	case c.Tags < 1 || c.Tags > MaxTags:
		return wrong("tags", "%d is not in [1, %d]", c.Tags, MaxTags)
	case c.Expire != 0 && c.Expire < time.Second:
		return wrong("expire", "%v is less than 1s", c.Expire)
	case c.Changes != changesNone && c.Changes != changesPublish && c.Changes != changesStream:
		return wrong("changes", "%.32q is none of %s", c.Changes, strings.Join(Changes, ", "))
	case c.Stream < 1:
		return wrong("stream-length", "%d is not above 0", c.Stream)
	case c.Timeout < 0:
		return wrong("timeout", "%v is negative", c.Timeout)
	}
	return at, nil
}

// parseURL reads redis://user@host:port/0. Its errors do not quote a password.
func parseURL(text string) (at serverAt, err error) {
	form := errors.New("not of the form redis://user@host:6379/0, or rediss:// for TLS")
	u, err := url.Parse(text)
	if err != nil {
		return at, form
	}
	if _, has := u.User.Password(); has {
		return at, fmt.Errorf("%.200s: a password belongs into the token file", u.Redacted())
	}
	if strings.Contains(u.Path, "@") || u.RawQuery+u.Fragment != "" { // perhaps a password, or a part of one
		return at, form
	}
	at.user, at.tls = u.User.Username(), u.Scheme == "rediss"
	if u.Scheme != "redis" && !at.tls || u.Hostname() == "" {
		return at, fmt.Errorf("%.200q is %w", u.Redacted(), form)
	}
	if db := strings.TrimPrefix(u.Path, "/"); db != "" {
		if at.db, err = strconv.Atoi(db); err != nil || at.db < 0 {
			return at, fmt.Errorf("%.200q: the database is a number from 0 on", u.Redacted())
		}
	}
	at.addr = net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "6379"))
	return at, nil
}

// fileFault is the error that a file of credentials cannot be used.
type fileFault struct{ err error }

func (e *fileFault) Error() string { return e.err.Error() }

// password reads the password's file: a changed one is used for the next connection.
func (c *Config) password(user string) func(context.Context) (name, password string, err error) {
	return func(context.Context) (string, string, error) {
		if c.PasswordFile == "" {
			return "", "", nil
		}
		text, err := os.ReadFile(c.PasswordFile)
		if err != nil {
			return "", "", &fileFault{fmt.Errorf("token file: %w", err)}
		}
		password := strings.TrimSpace(string(text))
		if password == "" || strings.ContainsFunc(password, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return "", "", &fileFault{fmt.Errorf("token file %s does not hold one line", c.PasswordFile)}
		}
		return user, password, nil
	}
}
