package sink

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Kind says what to do about a write that InfluxDB did not take.
type Kind uint8

// The kinds of refusal.
const (
	Retry         Kind = iota + 1 // its trouble: try the same again
	Configuration                 // ours to fix: keep everything, say so, keep trying
	Row                           // of these rows: write the good ones, put the bad ones aside
)

func (k Kind) String() string {
	switch k {
	case Retry:
		return "retry"
	case Configuration:
		return "configuration"
	case Row:
		return "row"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// WriteError says why InfluxDB did not take a write.
type WriteError struct {
	Kind       Kind
	Status     int           // HTTP status; 0 if there was no answer
	Message    string        // what InfluxDB said, at most 1 KiB
	RetryAfter time.Duration // how long it asked to be left alone; 0 if it did not
	err        error         // cause, if there was no answer
	by         *shard        // that was written to; nil outside of lanes
	aside      []int         // rows that nobody refuses, but that do not wait any longer; in order
}

func (e *WriteError) Error() string {
	if e.Status == 0 {
		return e.Message
	}
	return fmt.Sprintf("status %d: %s", e.Status, e.Message)
}

func (e *WriteError) Unwrap() error { return e.err }

// What InfluxDB answers to a write it does not take, and what that means. 1.8
// and 2.x were asked (1.8.10, 2.7.12, and the tests do it again); what is in
// parentheses was read. Where 1.8 says {"error":M}, 2.x says
// {"code":C,"message":M}.
//
//	cause                  1.8                                2.x                                        kind
//	bad or no credentials  401                                401                                        Configuration
//	no right to write      403                                403                                        Configuration
//	no database, bucket    404                                404                                        Configuration
//	no organization        -                                  404; 400 Please provide either orgID or    Configuration
//	                                                          org, if none was named
//	no retention policy    500 retention policy not found     -                                          Configuration
//	http where TLS is      400 Client sent an HTTP request    the same                                   Configuration
//	spoken                 to an HTTPS server.
//	max-values-per-tag,    400 partial write: … limit         -                                          Configuration
//	max-series             exceeded …
//	field type conflict    400 partial write: field type      422 failure writing points to database:    Row
//	                       conflict: … dropped=N              partial write: … (2.0: 500 unexpected
//	                                                          error …: partial write: …)
//	beyond retention       400 partial write: points beyond   422 …: partial write: dropped N points     Row
//	                       retention policy dropped=N         outside retention policy … dropped=N …
//	unparsable line        400 unable to parse …; with other  400 unable to parse …; nothing is stored   Row
//	                       rows, which are stored, partial
//	                       write: unable to parse … dropped=0
//	too large              413, by length as sent             - (Cloud: 413, by length inflated)         Row
//	shard being deleted    (400 partial write: … pending      (422 likewise)                             Retry
//	                       deletion)
//	body cut short         400 unexpected EOF, gzip: …        500 unable to read data: unexpected EOF    Retry
//	overload, fault        500, 503                           500 (503, Cloud: 429)                      Retry
//
// "partial write" promises less than it says: rows in other shards may have
// failed for another reason that is not told. So rows count as stored only if a
// write of them was answered 204.
var (
	saysRow           = []string{"unable to parse", "field type conflict", "beyond retention policy", "outside retention policy"}
	saysConfiguration = []string{"limit exceeded", "retention policy not found", "database not found",
		"Please provide either orgID or org", "HTTP request to an HTTPS server", "HTTP request was sent to HTTPS port"}
	saysRetry = []string{"pending deletion"}
)

// head returns what a message says before it quotes anything: a name or a line
// that it quotes is what a stranger wrote, and decides nothing.
func head(message string) string {
	if i := strings.IndexAny(message, `"'`); i >= 0 {
		return message[:i]
	}
	return message
}

func (e *WriteError) head() string { return head(e.Message) }

// classify follows the table. Where statuses vary messages decide.
func classify(status int, message string) Kind {
	message = head(message)
	switch status {
	case http.StatusTooManyRequests:
		return Retry
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
		return Configuration
	}
	switch {
	case says(message, saysRow):
		return Row
	case says(message, saysConfiguration):
		return Configuration
	case says(message, saysRetry), message == "unexpected EOF", strings.HasPrefix(message, "gzip: "):
		return Retry
	case strings.Contains(message, "partial write"):
		return Row
	}
	switch status {
	case http.StatusBadRequest, http.StatusUnprocessableEntity, http.StatusRequestEntityTooLarge:
		return Row
	case http.StatusRequestTimeout, http.StatusTooEarly:
		return Retry
	}
	if status >= 500 {
		return Retry
	}
	return Configuration // whatever answers here does not take writes
}

func says(message string, any []string) bool {
	for _, s := range any {
		if strings.Contains(message, s) {
			return true
		}
	}
	return false
}

// What a row is refused for, in few words: a label of metrics.
const (
	reasonSize      = "too large"
	reasonSyntax    = "unable to parse"
	reasonType      = "field type conflict"
	reasonRetention = "beyond retention"
	reasonAside     = "set aside"
	reasonOther     = "other"
)

// reason names the cause of a Row refusal.
func (e *WriteError) reason() string {
	switch {
	case strings.HasPrefix(e.Message, asidePrefix):
		return reasonAside
	case e.Status == http.StatusRequestEntityTooLarge:
		return reasonSize
	case strings.Contains(e.head(), "unable to parse"):
		return reasonSyntax
	case strings.Contains(e.head(), "field type conflict"):
		return reasonType
	case says(e.head(), []string{"beyond retention policy", "outside retention policy"}):
		return reasonRetention
	}
	return reasonOther
}

// unbudgeted returns the reason if rows that have it count against no budget of
// refusals, or "".
func (e *WriteError) unbudgeted() string {
	switch r := e.reason(); {
	case len(e.aside) > 0, r == reasonRetention:
		return r
	}
	return ""
}

var conflicting = regexp.MustCompile(`field type conflict: input field "([^"]+)" on measurement`)

// field returns the field that a type conflict is about, "" if it is not told.
func (e *WriteError) field() string {
	if m := conflicting.FindStringSubmatch(e.Message); m != nil {
		return m[1]
	}
	return ""
}

var droppedCount = regexp.MustCompile(`(?s)partial write: .* dropped=(\d+)`)

// refusesAll reports whether InfluxDB said that it took none of n rows.
func (e *WriteError) refusesAll(n int) bool {
	m := droppedCount.FindStringSubmatch(e.Message)
	return m != nil && m[1] == strconv.Itoa(n)
}

// Bounds on what an answer may make us keep or wait.
const (
	maxMessage    = 1 << 10
	maxAnswer     = 64 << 10
	maxRetryAfter = 5 * time.Minute
)

// refusal turns an answer that is not success into a *WriteError. It reads the
// body but does not close it.
func refusal(resp *http.Response) *WriteError {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer)) // half a message is better than none
	e := &WriteError{
		Status:     resp.StatusCode,
		Message:    message(resp, body),
		RetryAfter: retryAfter(resp.Header.Get("Retry-After"), time.Now()),
	}
	e.Kind = classify(e.Status, e.Message)
	return e
}

// message returns what the answer says in words.
func message(resp *http.Response, body []byte) string {
	if resp.StatusCode < 300 {
		return fmt.Sprintf("answered %s instead of 204: is this InfluxDB?", resp.Status)
	}
	if to := resp.Header.Get("Location"); resp.StatusCode < 400 && to != "" {
		return "redirects to " + clip(to)
	}
	var said struct {
		Message string // 2.x
		Error   string // 1.x
	}
	if json.Unmarshal(body, &said) == nil {
		if said.Message != "" {
			return clip(said.Message)
		}
		if said.Error != "" {
			return clip(said.Error)
		}
	}
	if text := strings.TrimSpace(string(body)); text != "" {
		return clip(text)
	}
	return http.StatusText(resp.StatusCode)
}

// clip bounds a message, keeping its end: a count of dropped rows stands there.
func clip(s string) string {
	s = strings.ToValidUTF8(s, "?")
	if len(s) <= maxMessage {
		return s
	}
	const half = maxMessage/2 - 2
	return strings.ToValidUTF8(s[:half]+"…"+s[len(s)-half:], "")
}

// retryAfter reads the header of that name: seconds, or a date.
func retryAfter(v string, now time.Time) time.Duration {
	if v == "" {
		return 0
	}
	var d time.Duration
	if sec, err := strconv.ParseUint(v, 10, 32); err == nil {
		d = time.Duration(sec) * time.Second
	} else if at, err := http.ParseTime(v); err == nil {
		d = at.Sub(now)
	}
	return min(max(d, 0), maxRetryAfter)
}
