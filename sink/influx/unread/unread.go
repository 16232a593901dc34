// Package unread keeps pings and points in servers that take the writes of InfluxDB and answer
// none of its queries: VictoriaMetrics and QuestDB. Rows, writes and refusals are those of package
// influx; Pingline reads nothing back.
//
// A row that is written twice is one row only where the server is told so: a QuestDB by the tables
// that the package makes before it writes, a VictoriaMetrics by its flag -dedup.minScrapeInterval.
//
// A VictoriaMetrics answers before a row is on its disk, seconds later. So the package has it make
// a snapshot behind each write, which writes all rows to disk, and removes that at once.
//
// The package removes no rider: VictoriaMetrics and QuestDB have no such request that is quick.
package unread

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"pingline"
	"pingline/sink/influx"
	"pingline/sink/store"
)

// Kinds of server, which are schemes of their URLs. A scheme with +https speaks TLS.
const (
	VictoriaMetrics = "victoriametrics"
	QuestDB         = "questdb"
)

// Schemes returns the schemes of a kind.
func Schemes(kind string) []string { return []string{kind, kind + "+https"} }

// LineServer is a server of a kind. It is safe for concurrent use.
type LineServer struct {
	to     *influx.Bucket
	kind   string
	create bool        // make tables that are missing
	flush  bool        // have rows written to disk
	made   atomic.Bool // the tables are there
}

var (
	_ store.Store   = (*LineServer)(nil)
	_ store.Checker = (*LineServer)(nil)
	_ store.Noter   = (*LineServer)(nil)
)

// Address returns the URL of InfluxDB's interface of a server, and its options.
func Address(of string) (plain string, options url.Values, err error) {
	scheme, rest, _ := strings.Cut(of, "://")
	rest, query, _ := strings.Cut(rest, "?")
	plain = "http"
	if strings.HasSuffix(strings.ToLower(scheme), "+https") {
		plain = "https"
	}
	options, err = url.ParseQuery(query)
	for key := range options {
		if key != "flush" || options.Get(key) != "false" || len(options[key]) != 1 || !strings.HasPrefix(strings.ToLower(scheme), VictoriaMetrics) {
			err = fmt.Errorf("%q is no option: flush=false, of %s, is the only one", key, VictoriaMetrics)
		}
	}
	return plain + "://" + rest, options, err
}

// New returns the server whose InfluxDB interface is to, at a URL of which Address made to's.
// Create says whether tables that are missing are made.
func New(to *influx.Bucket, of string, options url.Values, create bool) *LineServer {
	kind := VictoriaMetrics
	if strings.HasPrefix(strings.ToLower(of), QuestDB) {
		kind = QuestDB
	}
	return &LineServer{to: to, kind: kind, create: create && kind == QuestDB, flush: kind == VictoriaMetrics && options.Get("flush") == ""}
}

// URL returns where the server is.
func (s *LineServer) URL() string { return s.to.URL() }

// AppendRow appends e as a line.
func (s *LineServer) AppendRow(dst []byte, e *pingline.Entry) []byte { return s.to.AppendRow(dst, e) }

// Close lets go of idle connections.
func (s *LineServer) Close() error { return s.to.Close() }

// Write makes an attempt to write lines, as store.Store wants it.
func (s *LineServer) Write(ctx context.Context, rows store.Rows) error {
	if s.create && rows.N > 0 && !s.made.Load() {
		for _, statement := range Schema() {
			if _, err := s.ask(ctx, "/exec", url.Values{"query": {statement}}); err != nil {
				return trouble(ctx, "make tables", err)
			}
		}
		s.made.Store(true)
	}
	if err := s.to.Write(ctx, rows); err != nil {
		return s.worded(err, rows.N)
	}
	if s.flush && rows.N > 0 {
		if err := s.keep(ctx); err != nil {
			return trouble(ctx, "have the rows written to disk", err)
		}
	}
	return nil
}

// keep has a VictoriaMetrics write to its disk all that it has taken.
func (s *LineServer) keep(ctx context.Context) error {
	var made struct{ Status, Snapshot string }
	text, err := s.ask(ctx, "/snapshot/create", nil)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &made); err != nil || made.Status != "ok" {
		return fmt.Errorf("snapshot: %s", store.Clip(string(text)))
	}
	_, err = s.ask(ctx, "/snapshot/delete", url.Values{"snapshot": {made.Snapshot}})
	return err
}

// ask returns the answer to GET of a path.
func (s *LineServer) ask(ctx context.Context, path string, params url.Values) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	resp, err := s.to.Get(ctx, path, params)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	return io.ReadAll(io.LimitReader(resp.Body, 1<<20))
}

// askTime bounds a request besides writes.
const askTime = 30 * time.Second

// trouble turns the error of a request besides a write into that of a write, which is tried again.
func trouble(ctx context.Context, doing string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", doing, ctx.Err())
	}
	r := &store.Refusal{Kind: store.Retry, Err: fmt.Errorf("%s: %w", doing, err)}
	answer := new(influx.AnswerError)
	if errors.As(err, &answer) && answer.Status >= 400 && answer.Status < 500 && answer.Status != http.StatusTooManyRequests {
		r.Kind, r.Reason, r.Advice = store.Configure, store.Rights, "let this node make and delete snapshots, or tables; on a VictoriaMetrics ?flush=false behind the url does without, and its last seconds are lost when it is killed"
	}
	return r
}

// lineOf finds the number of the line that QuestDB names.
var lineOf = regexp.MustCompile(`error in line (\d+)`)

// worded adds to a refusal of n rows what the words of these servers tell.
func (s *LineServer) worded(err error, n int) error {
	r := new(store.Refusal)
	if !errors.As(err, &r) || r.Kind != store.BadRows {
		return err
	}
	text := r.Err.Error()
	switch {
	case strings.Contains(text, "cast error"):
		r.Reason = store.TypeConflict
	case strings.Contains(text, "incorrect influx line"), strings.Contains(text, "failed to parse line protocol"):
		r.Reason = store.Unparsable
	}
	if m := lineOf.FindStringSubmatch(text); m != nil && n > 1 {
		if line, err := strconv.Atoi(m[1]); err == nil && line >= 1 && line <= n {
			r.Suspects = []int{line - 1}
		}
	}
	return err
}

// Notes says that nothing is read from here.
func (s *LineServer) Notes() []string {
	return []string{"reads are off: pings are written to " + s.to.URL() + " and not read: ask " + s.name() + " itself"}
}
