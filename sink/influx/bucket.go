// Package influx keeps pings and points in a bucket of InfluxDB 1.8 or 2.x, as
// line protocol, and reads pings back through InfluxQL.
//
// A write is one request. The package distinguishes rows that InfluxDB refuses
// for their content, trouble of the server, and settings that an operator must
// put right. It retries nothing, keeps nothing and drops nothing.
package influx

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	influxdb2 "github.com/influxdata/influxdb-client-go/v2"
	"github.com/influxdata/influxdb-client-go/v2/api"

	"pingline"
	"pingline/sink/influx/fields"
	"pingline/sink/store"
)

// Config says where an InfluxDB is and how to get in. URL and Bucket are
// required.
type Config struct {
	URL       string        // such as http://localhost:8086; credentials belong into Token
	Token     string        // API token; on 1.8 user:password; "" sends none
	TokenFile string        // file with the token, read for each request; beats Token
	Org       string        // name or ID; required by 2.x, ignored by 1.8
	Bucket    string        // its name; on 1.8 database/policy, or database for its default policy
	Timeout   time.Duration // of a request, and of a silence within a query's answer; 0 means 10 s

	Compress bool // compress writes also to a server on this machine

	CAFile            string        // PEM, authorities that may sign the server's certificate; "" means the system's
	CertFile, KeyFile string        // PEM, our client certificate; "" means without
	Headers           []ProxyHeader // sent with each request, for a proxy in between; they are secrets
	Logger            *slog.Logger  // nil means slog.Default()
}

// ProxyHeader is a line of a request's head.
type ProxyHeader struct{ Name, Value string }

// Bucket is a bucket of an InfluxDB (1.8, 2.x, or a server that takes the same
// requests). Safe for concurrent use. No error of it contains the token.
type Bucket struct {
	cfg  Config
	base *url.URL
	http *transport
	api  api.WriteAPIBlocking

	mapping  atomic.Pointer[mapping] // nil until it is known
	retained retentionCache
	fields.Lost
}

var (
	_ store.Store       = (*Bucket)(nil)
	_ store.Reader      = (*Bucket)(nil)
	_ store.PointReader = (*Bucket)(nil)
	_ store.Retainer    = (*Bucket)(nil)
)

// ConfigError names a field of a Config that is not valid, and says why. It
// quotes no credentials.
type ConfigError struct {
	Field string // such as URL
	Err   error
}

func (e *ConfigError) Error() string { return "influx: " + e.Field + ": " + e.Err.Error() }

func (e *ConfigError) Unwrap() error { return e.Err }

// check returns the address of the server, or a *ConfigError.
func (c *Config) check() (*url.URL, error) {
	wrong := func(field, format string, args ...any) (*url.URL, error) {
		return nil, &ConfigError{field, fmt.Errorf(format, args...)}
	}
	base, err := url.Parse(strings.TrimSuffix(c.URL, "/"))
	switch {
	case err != nil && strings.Contains(c.URL, "@"):
		return wrong("URL", "cannot be parsed") // the cause would quote it, password and all
	case err == nil && base.User != nil:
		return wrong("URL", "%s: credentials belong into the token, as user:password", base.Redacted())
	case err != nil, base.Scheme != "http" && base.Scheme != "https", base.Hostname() == "", base.RawQuery != "", base.Fragment != "":
		return wrong("URL", "%q is not of the form http://host:port", c.URL)
	case c.Bucket == "" || strings.HasPrefix(c.Bucket, "/"):
		return wrong("Bucket", "%q names no bucket or database", c.Bucket)
	case strings.ContainsFunc(c.Token, isControl):
		return wrong("Token", "it has more than one line")
	case c.CertFile != "" && c.KeyFile == "":
		return wrong("CertFile", "a certificate needs its key")
	case c.CertFile == "" && c.KeyFile != "":
		return wrong("KeyFile", "a key needs its certificate")
	}
	for _, h := range c.Headers {
		if err := h.check(); err != nil {
			return nil, &ConfigError{"Headers", err}
		}
		if strings.EqualFold(h.Name, "Authorization") && (c.Token != "" || c.TokenFile != "") {
			return wrong("Headers", "Authorization carries the token: give a token or this header, not both")
		}
	}
	if c.Timeout < 0 {
		return wrong("Timeout", "%v is negative", c.Timeout)
	}
	return base, nil
}

// New returns the bucket cfg names, or a *ConfigError; it does not connect.
func New(cfg Config) (*Bucket, error) {
	cfg.Timeout = cmp.Or(cfg.Timeout, 10*time.Second)
	base, err := cfg.check()
	if err != nil {
		return nil, err
	}
	cfg.Logger = cmp.Or(cfg.Logger, slog.Default())
	b := &Bucket{cfg: cfg, base: base, http: newTransport(&cfg, base.Hostname())}
	// Of the client library only the blocking write is used: each call is one
	// request. Its asynchronous API is not used, since it retries and drops by
	// itself. Nor is its compression, which costs 8 times the CPU of ours.
	opts := influxdb2.DefaultOptions().
		SetPrecision(time.Nanosecond).
		SetUseGZip(false).
		SetApplicationName("pingline")
	opts.HTTPOptions().SetHTTPDoer(b.http)
	b.api = influxdb2.NewClientWithOptions(base.String(), "", opts).WriteAPIBlocking(cfg.Org, cfg.Bucket)
	return b, nil
}

// URL returns where the server is.
func (b *Bucket) URL() string { return b.base.String() }

// AppendRow appends e as a line of line protocol with its timestamp in ns.
func (b *Bucket) AppendRow(dst []byte, e *pingline.Entry) []byte {
	switch {
	case e.IsLine():
		return appendReady(dst, e)
	case e.Point != nil:
		return AppendPoint(dst, e.Point)
	}
	return AppendLine(dst, e)
}

// Write makes an attempt to write lines, as store.Store wants it.
func (b *Bucket) Write(ctx context.Context, rows store.Rows) error {
	err := b.Relent(rows.Bytes, func(lines []byte) error { return b.api.WriteRecord(ctx, string(lines)) }, conflictOf)
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("write to bucket %q: %w", b.cfg.Bucket, ctx.Err())
	}
	answer := new(AnswerError)
	if !errors.As(err, &answer) {
		answer = &AnswerError{Kind: store.Retry, Message: err.Error(), err: err}
	}
	return fmt.Errorf("write to bucket %q: %w", b.cfg.Bucket, b.refusal(ctx, answer, rows))
}

// conflictOf returns what an error of a write says of an attribute of another type. Lines of other
// measurements are those of clients that were told that they are stored as they came.
func conflictOf(err error) (c fields.Conflict, ok bool) {
	e := new(AnswerError)
	if !errors.As(err, &e) || e.Kind != store.BadRows {
		return c, false
	}
	c, ok = fields.ConflictIn(e.Message)
	return c, ok && c.Measurement == Measurement && strings.HasPrefix(c.Field, AttrPrefix)
}

// Ping returns the version the server says it is, and an error unless it would
// take a write into the bucket.
func (b *Bucket) Ping(ctx context.Context) (version string, err error) {
	if version, err = b.version(ctx); err != nil {
		return "", err
	}
	// A write without rows still tests the address, the credentials and the
	// bucket.
	limited, cancel := context.WithTimeout(ctx, b.cfg.Timeout)
	defer cancel()
	err = b.Write(limited, store.Rows{})
	refusal := new(store.Refusal)
	if errors.As(err, &refusal) && refusal.Kind == store.BadRows {
		err = nil
	}
	return version, err
}

// version returns the version that the server reports, such as 1.8.10 or
// v2.7.12, or "".
func (b *Bucket) version(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, b.cfg.Timeout)
	defer cancel()
	resp, err := b.Get(ctx, "/ping", nil)
	if err != nil {
		return "", fmt.Errorf("ping InfluxDB: %w", err)
	}
	if err := resp.Body.Close(); err != nil {
		return "", fmt.Errorf("ping InfluxDB: %w", err)
	}
	return resp.Header.Get("X-Influxdb-Version"), nil
}

// Close lets go of idle connections.
func (b *Bucket) Close() error {
	b.http.client.CloseIdleConnections()
	return nil
}

// Get asks for path; the caller closes the body of an answer without error.
func (b *Bucket) Get(ctx context.Context, path string, params url.Values) (*http.Response, error) {
	return b.request(ctx, http.MethodGet, path, params)
}

func (b *Bucket) request(ctx context.Context, method, path string, params url.Values) (*http.Response, error) {
	u := b.base.JoinPath(path)
	u.RawQuery = params.Encode()
	req, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
	if err != nil {
		return nil, err
	}
	return b.http.roundTrip(req)
}
