package influx

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"pingline/sink/store"
)

// AnswerError is an answer of InfluxDB that is not success.
type AnswerError struct {
	Kind       store.Kind
	Status     int           // HTTP status; 0 if there was no answer
	Message    string        // InfluxDB's text, at most 1 KiB
	RetryAfter time.Duration // how long it asked to be left alone; 0 if it did not
	err        error         // cause, if there was no answer

	stops, advice string // of Configure: reason and advice, if they do not follow from the other fields
}

func (e *AnswerError) Error() string {
	if e.Status == 0 {
		return e.Message
	}
	return fmt.Sprintf("status %d: %s", e.Status, e.Message)
}

func (e *AnswerError) Unwrap() error { return e.err }

// The answers of InfluxDB to a write that it does not take, and the kind of
// refusal that each means. Answers outside parentheses were got from 1.8.10 and
// 2.7.12, and the tests ask again; answers in parentheses are from documentation
// and source. Where 1.8 says {"error":M}, 2.x says {"code":C,"message":M}.
//
//	cause                  1.8                                2.x                                        kind
//	bad or no credentials  401                                401                                        Configure
//	no right to write      403                                403                                        Configure
//	no database, bucket    404                                404                                        Configure
//	no organization        -                                  404; 400 Please provide either orgID or    Configure
//	                                                          org, if none was named
//	no retention policy    500 retention policy not found     -                                          Configure
//	http where TLS is      400 Client sent an HTTP request    the same                                   Configure
//	spoken                 to an HTTPS server.
//	client certificate     (nginx: 400 No required SSL certificate was sent, or The SSL certificate      Configure
//	                       error)
//	headers too long       (nginx: 400 Request Header Or Cookie Too Large)                               Configure
//	max-values-per-tag,    400 partial write: … limit         -                                          Configure
//	max-series             exceeded …
//	field type conflict    400 partial write: field type      422 failure writing points to database:    BadRows
//	                       conflict: … dropped=N              partial write: … (2.0: 500 unexpected
//	                                                          error …: partial write: …)
//	beyond retention       400 partial write: points beyond   422 …: partial write: dropped N points     BadRows
//	                       retention policy dropped=N         outside retention policy … dropped=N …
//	unparsable line        400 unable to parse …; with other  400 unable to parse …; nothing is stored   BadRows
//	                       rows, which are stored, partial
//	                       write: unable to parse … dropped=0
//	too large              413, by length as sent             - (Cloud: 413, by length inflated)         BadRows
//	shard being deleted    (400 partial write: … pending      (422 likewise)                             Retry
//	                       deletion)
//	body cut short         400 unexpected EOF, gzip: …        500 unable to read data: unexpected EOF    Retry
//	overload, fault        500, 503                           500 (503, Cloud: 429)                      Retry
//
// "partial write" does not mean that the rest was stored: rows in other shards
// may have failed for another reason that is not told. So rows count as stored
// only if a write of them was answered 204.
var (
	saysRow       = []string{"unable to parse", "field type conflict", "beyond retention policy", "outside retention policy"}
	saysConfigure = []string{"limit exceeded", "retention policy not found", "database not found",
		"Please provide either orgID or org", "HTTP request to an HTTPS server", "HTTP request was sent to HTTPS port", refusesCertificate, "Request Header Or Cookie Too Large"}
	saysRetry = []string{"pending deletion"}
)

// head returns a message up to its first quote: a quoted name or line comes
// from a client, and must not decide the kind.
func head(message string) string {
	if i := strings.IndexAny(message, `"'`); i >= 0 {
		return message[:i]
	}
	return message
}

func (e *AnswerError) head() string { return head(e.Message) }

// classify follows the table. Where the status of an answer varies, its
// message decides.
func classify(status int, message string) store.Kind {
	message = head(message)
	switch status {
	case http.StatusTooManyRequests:
		return store.Retry
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
		return store.Configure
	}
	switch {
	case says(message, saysRow):
		return store.BadRows
	case says(message, saysConfigure):
		return store.Configure
	case says(message, saysRetry), message == "unexpected EOF", strings.HasPrefix(message, "gzip: "):
		return store.Retry
	case strings.Contains(message, "partial write"):
		return store.BadRows
	}
	switch status {
	case http.StatusBadRequest, http.StatusUnprocessableEntity, http.StatusRequestEntityTooLarge:
		return store.BadRows
	case http.StatusRequestTimeout, http.StatusTooEarly:
		return store.Retry
	}
	if status >= 500 {
		return store.Retry
	}
	return store.Configure // the server at this address does not take writes
}

// refusesCertificate is in nginx's answer to a client certificate that is missing or
// not accepted.
const refusesCertificate = "SSL certificate"

func says(message string, any []string) bool {
	for _, s := range any {
		if strings.Contains(message, s) {
			return true
		}
	}
	return false
}

// Bounds on the bytes of an answer that are kept, and on the wait it asks for.
const (
	maxAnswer     = 64 << 10
	maxRetryAfter = 5 * time.Minute
)

// readAnswer turns an answer that is not success into an *AnswerError. It reads the
// body but does not close it. Hide takes our secrets out of it: a proxy may quote a request.
func readAnswer(resp *http.Response, hide *strings.Replacer) *AnswerError {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer)) // half a message is better than none
	e := &AnswerError{
		Status:     resp.StatusCode,
		Message:    hide.Replace(message(resp, []byte(hide.Replace(string(body))))), // escapes in JSON may hide a secret
		RetryAfter: retryAfter(resp.Header.Get("Retry-After"), time.Now()),
	}
	e.Kind = classify(e.Status, e.Message)
	return e
}

// message returns the text of an answer, or a sentence if it has none.
func message(resp *http.Response, body []byte) string {
	if resp.StatusCode < 300 {
		return fmt.Sprintf("answered %s instead of 204: is this InfluxDB?", resp.Status)
	}
	if to := resp.Header.Get("Location"); resp.StatusCode < 400 && to != "" {
		return "redirects to " + store.Clip(to)
	}
	var said struct {
		Message string // 2.x
		Error   string // 1.x
	}
	if json.Unmarshal(body, &said) == nil {
		if said.Message != "" {
			return store.Clip(said.Message)
		}
		if said.Error != "" {
			return store.Clip(said.Error)
		}
	}
	if text := strings.TrimSpace(string(body)); text != "" {
		return store.Clip(text)
	}
	return http.StatusText(resp.StatusCode)
}

// retryAfter reads the value of a Retry-After header: seconds, or a date.
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
