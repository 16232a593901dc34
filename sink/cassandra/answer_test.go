package cassandra

import (
	"context"
	"errors"
	"fmt"
	"testing"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"pingline/sink/store"
)

// answered is an error as a server sends it.
type answered struct {
	code int
	text string
}

func (e *answered) Code() int       { return e.code }
func (e *answered) Message() string { return e.text }
func (e *answered) Error() string   { return e.text }

func TestCodesOfCassandra(t *testing.T) {
	for _, tt := range []struct {
		code   int
		text   string
		kind   store.Kind
		reason string
		busy   bool
	}{
		{gocql.ErrCodeServer, "java.lang.RuntimeException", store.Retry, "", false},
		{gocql.ErrCodeProtocol, "Invalid or unsupported protocol version (4)", store.Configure, store.Address, false},
		{gocql.ErrCodeCredentials, "Provided username and/or password are incorrect", store.Configure, store.Credentials, false},
		{gocql.ErrCodeUnavailable, "Cannot achieve consistency level QUORUM", store.Retry, "", false},
		{gocql.ErrCodeOverloaded, "overloaded", store.Retry, "", true},
		{gocql.ErrCodeBootstrapping, "bootstrapping", store.Retry, "", false},
		{gocql.ErrCodeWriteTimeout, "Operation timed out - received only 1 responses.", store.Retry, "", false},
		{gocql.ErrCodeWriteFailure, "Operation failed", store.Retry, "", false},
		{gocql.ErrCodeCDCWriteFailure, "CDC is full", store.Retry, "", false},
		{gocql.ErrCodeSyntax, "no viable alternative", store.Configure, store.Missing, false},
		{gocql.ErrCodeUnauthorized, "User x has no MODIFY permission", store.Configure, store.Rights, false},
		{gocql.ErrCodeConfig, "Unrecognized strategy option", store.Configure, store.Missing, false},
		{gocql.ErrCodeUnprepared, "Prepared query not found", store.Retry, "", false},
		{gocql.ErrCodeInvalid, "table pings does not exist", store.Retry, "", false},
		{gocql.ErrCodeInvalid, "Guardrail data_disk_usage violated: the disk is full", store.Retry, "", false},
		{gocql.ErrCodeInvalid, "Guardrail column_value_size violated: Value of column 'texts' has size 3.9KiB", store.BadRows, store.TooLarge, false},
		{gocql.ErrCodeInvalid, "Request on table k.pings with default ttl of 473040000 seconds exceeds maximum supported expiration date of 2038-01-19T03:14:06+00:00. In order to avoid this use a lower TTL", store.Configure, store.Limit, false},
		{gocql.ErrCodeInvalid, "Key length of 66000 is longer than maximum of 65535", store.BadRows, store.TooLarge, false},
		{gocql.ErrCodeInvalid, "Column value does not satisfy value constraint for column 'speed'", store.BadRows, store.Other, false},
	} {
		var err error = &answered{tt.code, tt.text}
		if faultOfRows(err) != "" {
			err = &badRequest{err, []int{3, 4}}
		}
		r := refusal(fmt.Errorf("insert: %w", err))
		if r.Kind != tt.kind || r.Reason != tt.reason || r.Busy != tt.busy || (r.Kind == store.Configure) != (r.Advice != "") || (r.Kind == store.BadRows) != (len(r.Suspects) == 2) {
			t.Errorf("%s: %+v", tt.text, r)
		}
	}
	for _, err := range []error{gocql.ErrNoConnections, gocql.ErrTimeoutNoResponse, context.DeadlineExceeded, errors.New("connection refused")} {
		if r := refusal(err); r.Kind != store.Retry {
			t.Errorf("%v: %+v", err, r)
		}
	}
	if (otherNode{}).GetRetryType(&answered{gocql.ErrCodeWriteTimeout, ""}) != gocql.Rethrow || (otherNode{}).GetRetryType(gocql.ErrConnectionClosed) != gocql.RetryNextHost {
		t.Error("an answer is asked for again, or a lost connection is not")
	}
}
