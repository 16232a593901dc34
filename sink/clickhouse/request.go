package clickhouse

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	"pingline/sink/store"
	"pingline/sink/store/secure"
)

// newClient returns a client that follows no redirects, so that a password goes to the
// configured server alone.
func newClient(c *Config, host string) *http.Client {
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			TLSHandshakeTimeout: 5 * time.Second,
			TLSClientConfig:     c.tls(host),
			DisableCompression:  true,
			MaxIdleConnsPerHost: 8,
			// Less than the 3 s for which a new ClickHouse keeps a connection: a write on a
			// connection that it is closing would fail.
			IdleConnTimeout: 2 * time.Second,
		},
	}
}

// isLocal reports whether a host is this machine, where to compress costs more than to
// send more bytes.
func isLocal(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// tls returns the TLS settings of connections to host.
func (c *Config) tls(host string) *tls.Config {
	return secure.Files{CA: c.CAFile, Cert: c.CertFile, Key: c.KeyFile}.Client(faultyFile, host)
}

func faultyFile(err error) error {
	return &saidError{kind: store.Configure, stop: store.Credentials, text: err.Error(), advice: "correct the file; it is read again for each connection", err: err}
}

// send makes a request with a statement and returns an answer that is not an error. The
// caller closes its body.
func (t *Tables) send(ctx context.Context, params url.Values, statement string, body []byte) (*http.Response, error) {
	password, err := t.password()
	if err != nil {
		return nil, err
	}
	u := *t.base
	if body == nil {
		body = []byte(statement)
	} else {
		params.Set("query", statement)
	}
	u.RawQuery = params.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.SetBasicAuth(t.user, password)
	resp, err := t.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", t.base.Host, explain(err))
	}
	if resp.StatusCode == http.StatusOK && resp.Header.Get("X-ClickHouse-Exception-Code") == "" {
		return resp, nil
	}
	defer func() { _ = resp.Body.Close() }() // it was read as far as needed
	return nil, readFault(resp, password)
}

// ask makes a request whose answer is short, and returns its text.
func (t *Tables) ask(ctx context.Context, params url.Values, statement string, body []byte) (string, error) {
	resp, err := t.send(ctx, params, statement, body)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return "", fmt.Errorf("answer breaks off: %w", err)
	}
	return string(text), nil
}

// question is ask for a SELECT or a statement of DDL, with a limit of time.
func (t *Tables) question(ctx context.Context, params url.Values, statement string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, t.cfg.Timeout)
	defer cancel()
	return t.ask(ctx, params, statement, nil)
}

// here returns parameters that name our database.
func (t *Tables) here() url.Values { return url.Values{"database": {t.database}} }

// insert writes columns into a table; without rows it finds out whether they would be
// taken.
func (t *Tables) insert(ctx context.Context, known *facts, table string, columns proto.Input, b *columnBlock, version int64) error {
	data, err := b.encode(columns)
	if err != nil {
		return err
	}
	params := t.here()
	known.set(params, "max_partitions_per_insert_block", "0")
	known.set(params, "wait_for_async_insert", "1")
	known.set(params, "insert_distributed_sync", "1")
	known.set(params, "insert_deduplication_token", strconv.FormatUint(t.id, 36)+"-"+strconv.FormatInt(version, 36))
	if !t.local && len(data) > 0 {
		if data, err = b.compress(data); err != nil {
			return err
		}
		params.Set("decompress", "1")
	}
	if data == nil {
		data = []byte{}
	}
	names := make([]string, len(columns))
	for i := range columns {
		names[i] = columns[i].Name
	}
	text, err := t.ask(ctx, params, "INSERT INTO "+table+" ("+strings.Join(names, ", ")+") FORMAT Native", data)
	if err == nil && strings.HasPrefix(text, "Code: ") {
		err = newFault(http.StatusOK, text, "")
	}
	return err
}

// silence ends a context if it is not reset in time.
type silence struct {
	timer *time.Timer
	limit time.Duration
}

func (t *Tables) listen(ctx context.Context) (context.Context, *silence, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	s := &silence{limit: t.cfg.Timeout}
	s.timer = time.AfterFunc(s.limit, func() { cancel(fmt.Errorf("no answer within %v", s.limit)) })
	return ctx, s, func() {
		s.timer.Stop()
		cancel(nil)
	}
}

// selectRows makes a query and calls each after each block of its answer was read into
// columns.
func (t *Tables) selectRows(parent context.Context, statement string, columns proto.Results, each func(rows int) error) error {
	known, err := t.facts(parent, false)
	if errors.Is(err, errNoTables) && t.cfg.CreateSchema {
		return nil // nothing was written yet
	}
	if err != nil {
		return err
	}
	ctx, quiet, stop := t.listen(parent)
	defer stop()
	params := t.here()
	known.set(params, "max_bytes_before_external_sort", strconv.Itoa(sortInMemory))
	// FINAL has a buffer for each column of each part that is not merged yet. Of the default, a
	// megabyte, 60 small parts take more than the memory that a query may have.
	known.set(params, "max_read_buffer_size", strconv.Itoa(128<<10))
	resp, err := t.send(ctx, params, statement+" FORMAT Native", nil)
	if err != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	defer func() { _ = resp.Body.Close() }()
	heard := &recorder{from: resp.Body, quiet: quiet}
	r := proto.NewReader(heard)
	for {
		b := proto.Block{Columns: -1} // until its head is read
		err := b.DecodeRawBlock(r, formVersion, columns)
		switch {
		case err == nil && b.End(), errors.Is(err, io.EOF) && b.Columns < 0:
			return nil
		case err != nil:
			if fault := heard.fault(); fault != nil {
				return fault
			}
			return errors.Join(fmt.Errorf("answer breaks off: %w", err), context.Cause(ctx))
		}
		if err := each(b.Rows); err != nil {
			return err
		}
	}
}

// recorder passes an answer on and remembers its end, where the text of an error may
// stand behind rows.
type recorder struct {
	from  io.Reader
	quiet *silence
	last  []byte
}

const recorded = 8 << 10

func (r *recorder) Read(p []byte) (int, error) {
	r.quiet.timer.Reset(r.quiet.limit)
	n, err := r.from.Read(p)
	r.last = append(r.last, p[max(0, n-recorded):n]...)
	if len(r.last) > 2*recorded {
		r.last = append(r.last[:0], r.last[len(r.last)-recorded:]...)
	}
	return n, err
}

// fault returns the error that the answer ends with, or nil.
func (r *recorder) fault() error {
	_, _ = io.Copy(io.Discard, io.LimitReader(r, maxAnswer)) // as far as it goes
	if i := bytes.LastIndex(r.last, []byte("Code: ")); i >= 0 {
		return newFault(http.StatusOK, string(r.last[i:]), "")
	}
	return nil
}

// sortInMemory is how many bytes ClickHouse sorts in memory, before it takes files.
const sortInMemory = 256 << 20
