package influx

import (
	"net/http"
	"testing"
	"time"

	"pingline/sink/store"
)

// The real answers of 1.8 and 2.7 are tested in influx_test.go.
func TestClassify(t *testing.T) {
	const over = "failure writing points to database: partial write: "
	for _, tt := range []struct {
		name    string
		status  int
		message string
		want    store.Kind
		reason  string // of a store.BadRows
	}{
		{"2.x: no token", 401, "unauthorized access", store.Configure, ""},
		{"2.x: no right", 403, "insufficient permissions for write", store.Configure, ""},
		{"2.x: token switched off", 403, "insufficient permissions for write: token is inactive", store.Configure, ""},
		{"2.x: no bucket", 404, `bucket "x" not found`, store.Configure, ""},
		{"2.x: no organization", 404, `organization name "x" not found`, store.Configure, ""},
		{"2.x: no organization named", 400, "Please provide either orgID or org", store.Configure, ""},
		{"2.x: type conflict", 422, over + `field type conflict: input field "v" on measurement "m" is type string, already exists as type float dropped=1`, store.BadRows, "field type conflict"},
		{"2.0: type conflict is called an internal error", 500, "unexpected error writing points to database: partial write: field type conflict: input field dropped=1", store.BadRows, "field type conflict"},
		{"2.x: beyond retention", 422, over + "points beyond retention policy dropped=1", store.BadRows, "beyond retention"},
		{"2.7.12: beyond retention", 422, over + "dropped 1 points outside retention policy of duration 2h0m0s - oldest point m at 1970-01-01T00:00:01Z dropped because it violates a Retention Policy Lower Bound at 2026-11-25T06:00:07.641884895Z, newest point m at 1970-01-01T00:00:01Z dropped because it violates a Retention Policy Lower Bound at 2026-11-25T06:00:07.641884895Z dropped=1 for database: 2213279bd25d8564 for retention policy: autogen", store.BadRows, "beyond retention"},
		{"2.x: unparsable", 400, "unable to parse 'm v= 1': missing field value", store.BadRows, "unable to parse"},
		{"2.x: cache full", 500, "unexpected error writing points to database: engine: cache-max-memory-size exceeded: (80000/1000)", store.Retry, ""},
		{"2.x: timeout", 500, "unexpected error writing points to database: timeout", store.Retry, ""},
		{"2.x: body cut short", 500, "unable to read data: unexpected EOF", store.Retry, ""},
		{"2.x: body damaged", 500, "An internal error has occurred - check server logs", store.Retry, ""},
		{"2.x: too large", 413, "unable to read data: points batch is too large", store.BadRows, "too large"},
		{"2.x: engine trouble", 500, "unexpected error writing points to database: engine is closed", store.Retry, ""},
		{"cloud: rate", 429, "org 1 has exceeded limited_write plan limit exceeded", store.Retry, ""},
		{"1.8: tag values", 400, `partial write: max-values-per-tag limit exceeded (100000/100000): measurement="location" tag="rider" value="x" dropped=1`, store.Configure, ""},
		{"1.8: series", 400, "partial write: max-series-per-database limit exceeded: (1000000) dropped=1", store.Configure, ""},
		{"1.8: no credentials, in the words for a row", 401, "unable to parse authentication credentials", store.Configure, ""},
		{"1.8: no policy", 500, "retention policy not found: week", store.Configure, ""},
		{"1.8: shard going", 400, "partial write: shard 3 is pending deletion dropped=2", store.Retry, ""},
		{"1.8: cache full", 500, "engine: cache-max-memory-size exceeded: (1/1)", store.Retry, ""},
		{"1.8: timeout", 500, "timeout", store.Retry, ""},
		{"body cut short", 400, "unexpected EOF", store.Retry, ""},
		{"body damaged", 400, "gzip: invalid header", store.Retry, ""},
		{"a line that quotes other messages", 400, "unable to parse 'x limit exceeded pending deletion': bad", store.BadRows, "unable to parse"},
		{"a row refused in unknown words", 422, "schema does not allow this", store.BadRows, "other"},
		{"http where TLS is spoken", 400, "Client sent an HTTP request to an HTTPS server.", store.Configure, ""},
		{"proxy: http where TLS is spoken", 400, "<center>The plain HTTP request was sent to HTTPS port</center>", store.Configure, ""},
		{"nginx: no client certificate", 400, "<html>\r\n<head><title>400 No required SSL certificate was sent</title></head>\r\n<body>", store.Configure, ""},
		{"nginx: a client certificate that has expired", 400, "<html>\r\n<head><title>400 The SSL certificate error</title></head>\r\n<body>", store.Configure, ""},
		{"nginx: headers too long", 400, "<html>\r\n<head><title>400 Request Header Or Cookie Too Large</title></head>\r\n<body>", store.Configure, ""},
		{"proxy: bad gateway", 502, "<html>", store.Retry, ""},
		{"proxy: moved", 301, "redirects to https://x/", store.Configure, ""},
		{"proxy: wants a login", 407, "", store.Configure, ""},
		{"slow request", 408, "", store.Retry, ""},
		{"not for us", 405, "method not allowed", store.Configure, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := &AnswerError{Kind: classify(tt.status, tt.message), Status: tt.status, Message: tt.message}
			if e.Kind != tt.want {
				t.Errorf("classify(%d, %q) = %v, want %v", tt.status, tt.message, e.Kind, tt.want)
			}
			if e.Kind == store.BadRows && e.reason() != tt.reason {
				t.Errorf("reason = %q, want %q", e.reason(), tt.reason)
			}
		})
	}
}

func TestRefusesAll(t *testing.T) {
	for _, tt := range []struct {
		message string
		n       int
		want    bool
	}{
		{"partial write: points beyond retention policy dropped=12", 12, true},
		{"partial write: points beyond retention policy dropped=12", 13, false},
		{"partial write: points beyond retention policy dropped=12", 1, false},
		{"partial write: x dropped=1 y dropped=4 for database: d", 4, true},
		{"failure writing points to database: partial write: dropped 7 points outside retention policy dropped=7 for database: d for retention policy: autogen", 7, true},
		{"failure writing points to database: partial write: dropped 7 points outside retention policy dropped=7 for database: d for retention policy: autogen", 8, false},
		{"unable to parse 'm dropped=1'", 1, false},
	} {
		if got := (&AnswerError{Message: tt.message}).refusesAll(tt.n); got != tt.want {
			t.Errorf("refusesAll(%d) of %q = %v, want %v", tt.n, tt.message, got, tt.want)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for v, want := range map[string]time.Duration{
		"":                     0,
		"7":                    7 * time.Second,
		"-7":                   0,
		"soon":                 0,
		"999999":               maxRetryAfter,
		"99999999999999999999": 0,
		now.Add(9 * time.Second).Format(http.TimeFormat): 9 * time.Second,
		now.Add(-time.Hour).Format(http.TimeFormat):      0,
		now.Add(time.Hour).Format(http.TimeFormat):       maxRetryAfter,
	} {
		if got := retryAfter(v, now); got != want {
			t.Errorf("retryAfter(%q) = %v, want %v", v, got, want)
		}
	}
}

// A name or line that a message quotes comes from a client, and must not
// decide the kind.
func TestQuotedNamesDecideNothing(t *testing.T) {
	limit := `partial write: max-values-per-tag limit exceeded (100000/100000): measurement="location" tag="rider" value="unable to parse beyond retention policy" dropped=1`
	if kind := classify(400, limit); kind != store.Configure {
		t.Errorf("a rider's name makes a limit of the database a %v", kind)
	}
	e := &AnswerError{Kind: store.BadRows, Status: 400, Message: `partial write: unable to parse 'location,rider=beyond retention policy': bad timestamp dropped=0`}
	if e.reason() != store.Unparsable || classify(e.Status, e.Message) != store.BadRows {
		t.Errorf("a rider's name makes it %q", e.reason())
	}
}

func TestIsLocal(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "127.0.0.1": true, "127.1.2.3": true, "::1": true, "10.0.0.1": false, "influxdb": false, "localhost.example.com": false, "0.0.0.0": false, "": false,
	} {
		if isLocal(host) != want {
			t.Errorf("%q is local: %v", host, !want)
		}
	}
}
