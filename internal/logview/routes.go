package logview

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"pingline/internal/ops"
	"pingline/internal/plainjson"
	"pingline/queue"
	"pingline/queue/backup"
)

// Views shows the log of a node that runs. All fields are required. Safe for concurrent use.
type Views struct {
	Log           *queue.Log
	Dir           string // data directory
	Node, Version string
}

// Paths of the routes.
const (
	InspectPath = "/v1/log"
	EntriesPath = "/v1/log/entries"
	BackupPath  = "/v1/log/backup"
)

// Routes returns the routes for administrators.
func (v *Views) Routes() []ops.AdminRoute {
	return []ops.AdminRoute{
		{Pattern: "GET " + InspectPath, Handler: v.inspect, About: "how the log is, and what waits in it"},
		{Pattern: "GET " + EntriesPath, Handler: v.entries, About: "entries of the log, a JSON object a line"},
		{Pattern: "GET " + BackupPath, Handler: v.backup, About: "a backup of log, filter and dead letters"},
	}
}

func (v *Views) inspect(w http.ResponseWriter, req *http.Request) {
	r, err := Inspect(req.Context(), v.Log, v.Dir)
	if err != nil {
		refuse(w, http.StatusServiceUnavailable, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(r) // a client that is gone does not matter
}

// entries answers with lines, and breaks the answer off where it cannot go on.
func (v *Views) entries(w http.ResponseWriter, req *http.Request) {
	s, err := ParseSelection(req.URL.Query())
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	slow := &patient{w, http.NewResponseController(w), time.Time{}}
	out := bufio.NewWriterSize(slow, 64<<10)
	_, err = Entries(req.Context(), v.Log, s,
		func(line []byte) error {
			_, err := out.Write(line)
			return err
		},
		func() error { return errors.Join(out.Flush(), slow.control.Flush()) })
	if err != nil {
		panic(http.ErrAbortHandler) // the answer must not look complete
	}
}

func (v *Views) backup(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Content-Type", "application/x-tar")
	w.Header().Set("Trailer", FailureTrailer)
	slow := &patient{w, http.NewResponseController(w), time.Time{}}
	if _, err := v.Backup(req.Context(), slow); err != nil {
		w.Header().Set(FailureTrailer, err.Error())
	}
}

// FailureTrailer says behind a backup, whose end is missing then, why it was broken off.
const FailureTrailer = "Pingline-Failure"

// Backup writes a backup of the log: see package backup.
func (v *Views) Backup(ctx context.Context, w io.Writer) (backup.Manifest, error) {
	return backup.Write(ctx, w, backup.Original{Log: v.Log, Dir: v.Dir, Node: v.Node, Version: v.Version})
}

// slowest is how long a client may take for what it is sent at once: a backup holds the log
// back meanwhile.
const slowest = 30 * time.Second

// patient gives up on a client that takes nothing.
type patient struct {
	io.Writer
	control *http.ResponseController
	until   time.Time
}

func (p *patient) Write(b []byte) (int, error) {
	if now := time.Now(); p.until.Sub(now) < slowest/2 {
		p.until = now.Add(slowest)
		_ = p.control.SetWriteDeadline(p.until) // where there is none the client may be slow
	}
	return p.Writer.Write(b)
}

// Query returns the parameters by which a route is asked for a selection.
func (s *Selection) Query() url.Values {
	q := make(url.Values)
	for _, p := range s.params() {
		if text := fmt.Sprint(p.value()); text != "0" && text != "false" {
			q.Set(p.name, text)
		}
	}
	return q
}

// selected is a parameter of a selection.
type selected struct {
	name  string
	value func() any
	set   func(text string) error
}

func (s *Selection) params() []selected {
	number := func(name string, at *uint64) selected {
		return selected{name, func() any { return *at }, func(text string) (err error) {
			*at, err = strconv.ParseUint(text, 10, 64)
			return err
		}}
	}
	ms := func(name string, at *int64) selected {
		return selected{name, func() any { return *at }, func(text string) (err error) {
			*at, err = strconv.ParseInt(text, 10, 64)
			return err
		}}
	}
	return []selected{
		number("from", &s.From), number("to", &s.To), ms("since", &s.Since), ms("until", &s.Until),
		{"newest", func() any { return s.Newest }, func(text string) (err error) {
			s.Newest, err = strconv.Atoi(text)
			return err
		}},
		{"follow", func() any { return s.Follow }, func(text string) (err error) {
			s.Follow, err = strconv.ParseBool(text)
			return err
		}},
	}
}

// ParseSelection reads the parameters of a query. An error names the parameter.
func ParseSelection(q url.Values) (s Selection, err error) {
	params := s.params()
	for name, values := range q {
		known := false
		for _, p := range params {
			if known = known || p.name == name; p.name != name {
				continue
			}
			if err := p.set(values[0]); err != nil {
				return s, fmt.Errorf("%s: %q: %w", name, values[0], errors.Unwrap(err))
			}
		}
		if !known {
			return s, fmt.Errorf("%s: there is no such parameter", name)
		}
	}
	return s, s.Check()
}

func refuse(w http.ResponseWriter, status int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(plainjson.Append([]byte(`{"error":`), err.Error()), "}\n"...)) // a client that is gone does not matter
}
