// Package clickhouse keeps pings and points in tables of a ClickHouse, and reads
// them back.
//
// A write is a block of columns for each table, sent over HTTP. The tables are
// ReplacingMergeTrees whose order is the identity of a row and whose version grows
// with each write: of a row that was written twice the last content is read, and a
// merge drops the others at a time of ClickHouse's choice. The package makes tables
// that are missing, if it may, and never changes or drops one.
//
// It retries nothing. It does not promise that a row outlives a loss of power of the
// server's machine: that is a setting of the tables, which old servers do not know.
package clickhouse

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"pingline"
	"pingline/sink/store"
)

// Config says where a ClickHouse is and how to get in. URL is required.
type Config struct {
	// URL is clickhouse://user@host:8123/database, or clickhouses://… for TLS, with
	// the port of ClickHouse's HTTP interface. Without a user it is default. An
	// option keep=2160h has new tables delete rows of that age; without it they keep them.
	URL string

	PasswordFile string        // file with the password, read for each request; "" means no password
	Timeout      time.Duration // of a question, and of a silence within an answer; 0 means 10 s
	CreateSchema bool          // make the database and tables that are missing
	Compress     bool          // compress writes also to a server on this machine

	CAFile            string       // PEM, authorities that may sign the server's certificate; "" means the system's
	CertFile, KeyFile string       // PEM, our client certificate; "" means without
	Logger            *slog.Logger // nil means slog.Default()
}

// Tables are the tables of Pingline in a database of a ClickHouse. Safe for concurrent
// use. No error of it contains the password.
type Tables struct {
	cfg      Config
	base     *url.URL // of the HTTP interface, without user and path
	user     string
	database string
	keep     time.Duration // of new tables; 0: for ever
	local    bool          // on this machine: nothing is compressed
	client   *http.Client
	blocks   sync.Pool // of *columnBlock

	id      uint64 // tells our blocks from blocks of others
	version atomic.Int64

	asking chan struct{}         // held by the only one that finds out known
	known  atomic.Pointer[facts] // nil until it is

	mu     sync.Mutex          // guards the fields below
	misfit string              // why the tables do not fit, as found last; "" if they do or nobody looked
	tried  map[[2]uint64]int64 // versions of writes whose end is not known, by a hash of their rows
}

var (
	_ store.Store       = (*Tables)(nil)
	_ store.Reader      = (*Tables)(nil)
	_ store.PointReader = (*Tables)(nil)
	_ store.Eraser      = (*Tables)(nil)
	_ store.Checker     = (*Tables)(nil)
	_ store.Noter       = (*Tables)(nil)
	_ store.Retainer    = (*Tables)(nil)
)

// FieldFault names a field of a Config that is not valid, and says why. It quotes no
// credentials.
type FieldFault struct {
	Field string // such as URL
	Err   error
}

func (e *FieldFault) Error() string { return "clickhouse: " + e.Field + ": " + e.Err.Error() }

func (e *FieldFault) Unwrap() error { return e.Err }

// The schemes of a URL.
const (
	Scheme       = "clickhouse"
	SchemeSecure = "clickhouses"
)

// New returns the tables cfg names, or a *FieldFault; it does not connect.
func New(cfg Config) (*Tables, error) {
	cfg.Timeout = cmp.Or(cfg.Timeout, 10*time.Second)
	cfg.Logger = cmp.Or(cfg.Logger, slog.Default())
	t := &Tables{cfg: cfg, id: rand.Uint64(), asking: make(chan struct{}, 1), tried: make(map[[2]uint64]int64)}
	t.blocks.New = func() any { return newBlock() }
	if err := t.parse(cfg.URL); err != nil {
		return nil, &FieldFault{"URL", err}
	}
	wrong := func(field, text string) (*Tables, error) { return nil, &FieldFault{field, errors.New(text)} }
	switch {
	case cfg.Timeout < 0:
		return wrong("Timeout", fmt.Sprintf("%v is negative", cfg.Timeout))
	case cfg.CertFile != "" && cfg.KeyFile == "":
		return wrong("CertFile", "a certificate needs its key")
	case cfg.CertFile == "" && cfg.KeyFile != "":
		return wrong("KeyFile", "a key needs its certificate")
	}
	t.local = !cfg.Compress && isLocal(t.base.Hostname())
	t.client = newClient(&t.cfg, t.base.Hostname())
	return t, nil
}

// parse reads the address of the server.
func (t *Tables) parse(text string) error {
	u, err := url.Parse(text)
	if err != nil {
		return errors.New("cannot be parsed: the form is clickhouse://user@host:8123/database") // the cause would quote it, password and all
	}
	if _, set := u.User.Password(); set {
		return fmt.Errorf("%s: a password belongs into the token file", u.Redacted())
	}
	plain := map[string]string{Scheme: "http", SchemeSecure: "https"}[u.Scheme]
	t.database = strings.TrimPrefix(u.Path, "/")
	if plain == "" || u.Hostname() == "" || u.Fragment != "" || t.database == "" || strings.ContainsAny(t.database, "/\x00") {
		return fmt.Errorf("%q is not of the form clickhouse://user@host:8123/database", text)
	}
	for key, values := range u.Query() {
		if key != "keep" || len(values) != 1 {
			return fmt.Errorf("option %q: the only option is keep, such as keep=2160h", key)
		}
		if t.keep, err = time.ParseDuration(values[0]); err != nil || t.keep < time.Hour || t.keep%time.Second != 0 {
			return fmt.Errorf("keep: %q is no duration of at least 1h in whole seconds, such as 2160h", values[0])
		}
	}
	host := u.Host
	if u.Port() == "" {
		host += map[string]string{"http": ":8123", "https": ":8443"}[plain]
	}
	t.user, t.base = cmp.Or(u.User.Username(), "default"), &url.URL{Scheme: plain, Host: host, Path: "/"}
	return nil
}

// URL returns where the server is, without a user.
func (t *Tables) URL() string { return t.base.String() + t.database }

// password reads the file each time: that costs microseconds, and a changed password is
// used at once.
func (t *Tables) password() (string, error) {
	if t.cfg.PasswordFile == "" {
		return "", nil
	}
	text, err := os.ReadFile(t.cfg.PasswordFile)
	if err != nil {
		return "", &saidError{kind: store.Configure, stop: store.Credentials, text: fmt.Sprintf("token file: %v", err), advice: "correct the file; it is read again for each request"}
	}
	return strings.TrimSpace(string(text)), nil
}

// Close lets go of idle connections.
func (t *Tables) Close() error {
	t.client.CloseIdleConnections()
	return nil
}

// AppendRow appends e in a form of its own: see row.go.
func (t *Tables) AppendRow(dst []byte, e *pingline.Entry) []byte { return appendRow(dst, e) }

// DropsAttrs says why the table of pings has no attributes, as store.AttrsDropper wants it.
func (t *Tables) DropsAttrs() string {
	if f := t.known.Load(); f != nil {
		return f.bare
	}
	return ""
}

// Write makes an attempt to write rows, as store.Store wants it.
func (t *Tables) Write(ctx context.Context, rows store.Rows) error {
	if err := t.write(ctx, rows); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("write to ClickHouse database %q: %w", t.database, ctx.Err())
		}
		return fmt.Errorf("write to ClickHouse database %q: %w", t.database, refusal(err, rows.N))
	}
	return nil
}

func (t *Tables) write(ctx context.Context, rows store.Rows) error {
	known, err := t.facts(ctx, true)
	if err != nil {
		return err
	}
	b := t.blocks.Get().(*columnBlock)
	key, version := t.begin(rows.Bytes)
	if err := b.fill(rows.Bytes, uint64(version)); err != nil {
		return err
	}
	if len(b.lines) > 0 {
		return &saidError{kind: store.BadRows, reason: store.Unparsable, text: fmt.Sprintf("%d rows of an earlier version have no place in these tables", len(b.lines)), suspects: b.lines}
	}
	err = nil
	if b.pings.Rows() > 0 || rows.N == 0 {
		err = t.insert(ctx, known, tablePings, b.pings.columns(known.bare != ""), b, version)
	}
	if err == nil && b.points.Rows() > 0 {
		err = t.insert(ctx, known, tablePoints, b.points.columns(), b, version)
	}
	t.end(key, version, err)
	if err == nil {
		t.blocks.Put(b) // else its bytes may still be on their way
	}
	return err
}

// maxTried bounds how many writes of unknown end are remembered.
const maxTried = 1 << 10

// begin returns the version of a write. A write whose end was not learnt is made again
// with the version that it had: a server that drops blocks it has seen drops its
// second copy, and a merge need not do it.
func (t *Tables) begin(rows []byte) (key [2]uint64, version int64) {
	key = [2]uint64{hashOf(rows), uint64(len(rows))}
	t.mu.Lock()
	defer t.mu.Unlock()
	if version, again := t.tried[key]; again {
		return key, version
	}
	for {
		last := t.version.Load()
		if version = max(time.Now().UnixMicro(), last+1); t.version.CompareAndSwap(last, version) {
			return key, version
		}
	}
}

// end remembers a write whose end is not known, and forgets all others: the same rows
// may be written again later, with other content in between.
func (t *Tables) end(key [2]uint64, version int64, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	said := new(saidError)
	if err == nil || errors.As(err, &said) && said.kind == store.BadRows {
		delete(t.tried, key)
		return
	}
	if len(t.tried) >= maxTried {
		clear(t.tried)
	}
	t.tried[key] = version
	if said.kind == store.Configure || said.code == codeUnknownSetting {
		t.known.Store(nil) // the tables, or the server, are other than we knew
	}
}
