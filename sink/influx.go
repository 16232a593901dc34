package sink

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	influxdb2 "github.com/influxdata/influxdb-client-go/v2"
	"github.com/influxdata/influxdb-client-go/v2/api"
)

// InfluxConfig says where an InfluxDB is and how to get in. URL and Bucket are
// required.
type InfluxConfig struct {
	URL       string        // such as http://localhost:8086; credentials belong into Token
	Token     string        // API token; on 1.8 user:password; "" sends none
	TokenFile string        // file with the token, read for each request; beats Token
	Org       string        // name or ID; required by 2.x, ignored by 1.8
	Bucket    string        // its name; on 1.8 database/policy, or database for its default policy
	Timeout   time.Duration // of a write, and of a query's silence; 0 means 10 s
}

// Influx is one bucket of one InfluxDB (1.8, 2.x, or a server that takes the
// same requests). Safe for concurrent use. No error of it contains the token.
type Influx struct {
	cfg  InfluxConfig
	base *url.URL
	http *transport
	api  api.WriteAPIBlocking

	mapping  atomic.Pointer[mapping] // once known
	retained retentionCache
}

// NewInflux returns the bucket cfg names; it does not connect.
func NewInflux(cfg InfluxConfig) (*Influx, error) {
	cfg.Timeout = cmp.Or(cfg.Timeout, 10*time.Second)
	base, err := url.Parse(strings.TrimSuffix(cfg.URL, "/"))
	switch {
	case err != nil:
		return nil, errors.New("sink: InfluxDB URL cannot be parsed") // the cause would quote it, password and all
	case base.User != nil:
		return nil, fmt.Errorf("sink: InfluxDB URL %s: credentials belong into the token, as user:password", base.Redacted())
	case base.Scheme != "http" && base.Scheme != "https", base.Host == "", base.RawQuery != "", base.Fragment != "":
		return nil, fmt.Errorf("sink: InfluxDB URL %q is not of the form http://host:port", cfg.URL)
	case cfg.Bucket == "" || strings.HasPrefix(cfg.Bucket, "/"):
		return nil, fmt.Errorf("sink: bucket %q names no bucket or database", cfg.Bucket)
	case cfg.Timeout < 0:
		return nil, fmt.Errorf("sink: InfluxDB timeout %v is negative", cfg.Timeout)
	}
	c := &Influx{cfg: cfg, base: base, http: newTransport(cfg.Token, cfg.TokenFile)}
	// Of the client library only the blocking write is used: one call is one
	// request. Its asynchronous API, which retries and drops by itself, is not.
	// Compression is ours as well: the library's costs 8 times the CPU.
	opts := influxdb2.DefaultOptions().
		SetPrecision(time.Nanosecond).
		SetUseGZip(false).
		SetApplicationName("pingline")
	opts.HTTPOptions().SetHTTPDoer(c.http)
	c.api = influxdb2.NewClientWithOptions(base.String(), "", opts).WriteAPIBlocking(cfg.Org, cfg.Bucket)
	return c, nil
}

// Write makes one attempt to write lines of line protocol with timestamps in
// ns. It keeps nothing of lines. A nil return means that InfluxDB has taken
// them all; any error but ctx's is a *WriteError, after which some of the lines
// may be stored.
func (c *Influx) Write(ctx context.Context, lines []byte) error {
	limited, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	err := c.api.WriteRecord(limited, string(lines))
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("write to bucket %q: %w", c.cfg.Bucket, ctx.Err())
	}
	refusal := new(WriteError)
	if !errors.As(err, &refusal) { // no answer
		refusal = &WriteError{Kind: Retry, Message: err.Error(), err: err}
		if errors.Is(err, context.DeadlineExceeded) {
			refusal.Message = fmt.Sprintf("no answer within %v", c.cfg.Timeout)
		}
	}
	return fmt.Errorf("write to bucket %q: %w", c.cfg.Bucket, refusal)
}

// Ping returns the version the server says it is, and an error unless it would
// take a write into the bucket.
func (c *Influx) Ping(ctx context.Context) (version string, err error) {
	if version, err = c.version(ctx); err != nil {
		return "", err
	}
	// Writing nothing is a write, as far as address, credentials and bucket go.
	err = c.Write(ctx, nil)
	refusal := new(WriteError)
	if errors.As(err, &refusal) && refusal.Kind == Row {
		err = nil
	}
	return version, err
}

// version returns what the server says it is, such as 1.8.10 or v2.7.12, or "".
func (c *Influx) version(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	resp, err := c.get(ctx, "/ping", nil)
	if err != nil {
		return "", fmt.Errorf("ping InfluxDB: %w", err)
	}
	if err := resp.Body.Close(); err != nil {
		return "", fmt.Errorf("ping InfluxDB: %w", err)
	}
	return resp.Header.Get("X-Influxdb-Version"), nil
}

// Close lets go of idle connections.
func (c *Influx) Close() { c.http.client.CloseIdleConnections() }

// get asks for path; the caller closes the body of an answer without error.
func (c *Influx) get(ctx context.Context, path string, params url.Values) (*http.Response, error) {
	return c.request(ctx, http.MethodGet, path, params)
}

func (c *Influx) request(ctx context.Context, method, path string, params url.Values) (*http.Response, error) {
	u := c.base.JoinPath(path)
	u.RawQuery = params.Encode()
	req, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
	if err != nil {
		return nil, err
	}
	return c.http.roundTrip(req)
}
