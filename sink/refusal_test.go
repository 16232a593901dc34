package sink

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// What 1.8 and 2.7 really answer is asked in influx_test.go.
func TestClassify(t *testing.T) {
	const over = "failure writing points to database: partial write: "
	for _, tt := range []struct {
		name    string
		status  int
		message string
		want    Kind
		reason  string // of a Row
	}{
		{"2.x: no token", 401, "unauthorized access", Configuration, ""},
		{"2.x: no right", 403, "insufficient permissions for write", Configuration, ""},
		{"2.x: token switched off", 403, "insufficient permissions for write: token is inactive", Configuration, ""},
		{"2.x: no bucket", 404, `bucket "x" not found`, Configuration, ""},
		{"2.x: no organization", 404, `organization name "x" not found`, Configuration, ""},
		{"2.x: no organization named", 400, "Please provide either orgID or org", Configuration, ""},
		{"2.x: type conflict", 422, over + `field type conflict: input field "v" on measurement "m" is type string, already exists as type float dropped=1`, Row, "field type conflict"},
		{"2.0: type conflict is called an internal error", 500, "unexpected error writing points to database: partial write: field type conflict: input field dropped=1", Row, "field type conflict"},
		{"2.x: beyond retention", 422, over + "points beyond retention policy dropped=1", Row, "beyond retention"},
		{"2.7.12: beyond retention", 422, over + "dropped 1 points outside retention policy of duration 2h0m0s - oldest point m at 1970-01-01T00:00:01Z dropped because it violates a Retention Policy Lower Bound at 2026-11-25T06:00:07.641884895Z, newest point m at 1970-01-01T00:00:01Z dropped because it violates a Retention Policy Lower Bound at 2026-11-25T06:00:07.641884895Z dropped=1 for database: 2213279bd25d8564 for retention policy: autogen", Row, "beyond retention"},
		{"2.x: unparsable", 400, "unable to parse 'm v= 1': missing field value", Row, "unable to parse"},
		{"2.x: cache full", 500, "unexpected error writing points to database: engine: cache-max-memory-size exceeded: (80000/1000)", Retry, ""},
		{"2.x: timeout", 500, "unexpected error writing points to database: timeout", Retry, ""},
		{"2.x: body cut short", 500, "unable to read data: unexpected EOF", Retry, ""},
		{"2.x: body damaged", 500, "An internal error has occurred - check server logs", Retry, ""},
		{"2.x: too large", 413, "unable to read data: points batch is too large", Row, "too large"},
		{"2.x: engine trouble", 500, "unexpected error writing points to database: engine is closed", Retry, ""},
		{"cloud: rate", 429, "org 1 has exceeded limited_write plan limit exceeded", Retry, ""},
		{"1.8: tag values", 400, `partial write: max-values-per-tag limit exceeded (100000/100000): measurement="location" tag="rider" value="x" dropped=1`, Configuration, ""},
		{"1.8: series", 400, "partial write: max-series-per-database limit exceeded: (1000000) dropped=1", Configuration, ""},
		{"1.8: no credentials, in the words for a row", 401, "unable to parse authentication credentials", Configuration, ""},
		{"1.8: no policy", 500, "retention policy not found: week", Configuration, ""},
		{"1.8: shard going", 400, "partial write: shard 3 is pending deletion dropped=2", Retry, ""},
		{"1.8: cache full", 500, "engine: cache-max-memory-size exceeded: (1/1)", Retry, ""},
		{"1.8: timeout", 500, "timeout", Retry, ""},
		{"body cut short", 400, "unexpected EOF", Retry, ""},
		{"body damaged", 400, "gzip: invalid header", Retry, ""},
		{"a line that quotes other messages", 400, "unable to parse 'x limit exceeded pending deletion': bad", Row, "unable to parse"},
		{"a row refused in unknown words", 422, "schema does not allow this", Row, "other"},
		{"http where TLS is spoken", 400, "Client sent an HTTP request to an HTTPS server.", Configuration, ""},
		{"proxy: http where TLS is spoken", 400, "<center>The plain HTTP request was sent to HTTPS port</center>", Configuration, ""},
		{"proxy: bad gateway", 502, "<html>", Retry, ""},
		{"proxy: moved", 301, "redirects to https://x/", Configuration, ""},
		{"proxy: wants a login", 407, "", Configuration, ""},
		{"slow request", 408, "", Retry, ""},
		{"not for us", 405, "method not allowed", Configuration, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := &WriteError{Kind: classify(tt.status, tt.message), Status: tt.status, Message: tt.message}
			if e.Kind != tt.want {
				t.Errorf("classify(%d, %q) = %v, want %v", tt.status, tt.message, e.Kind, tt.want)
			}
			if e.Kind == Row && e.reason() != tt.reason {
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
		if got := (&WriteError{Message: tt.message}).refusesAll(tt.n); got != tt.want {
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

func TestClipKeepsBothEnds(t *testing.T) {
	got := clip("partial write: " + strings.Repeat("é", 5000) + " dropped=3")
	if len(got) > maxMessage || !strings.HasPrefix(got, "partial write: é") || !strings.HasSuffix(got, "é dropped=3") {
		t.Errorf("clip gave %d bytes: %.30q … %q", len(got), got, got[len(got)-20:])
	}
	if got := clip("short\xff"); got != "short?" {
		t.Errorf("clip = %q", got)
	}
}
