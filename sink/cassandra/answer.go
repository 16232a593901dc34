package cassandra

import (
	"crypto/tls"
	"errors"
	"fmt"
	"regexp"
	"strings"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"pingline/sink/store"
)

const (
	adviceUser   = "check the user in the url and the password in the token file, which is read for each connection"
	adviceGrants = "grant the role SELECT and MODIFY on the keyspace, and CREATE on all keyspaces, or make the keyspace and the tables yourself"
	adviceTTL    = "the tables keep rows for longer than this server can count: ALTER TABLE … WITH default_time_to_live to less, of each table"
)

// codeMeaning is how to go on after an error of a code of the native protocol. Codes that are not
// in the table mean that the same write is tried again: nothing is lost by it.
type codeMeaning struct {
	reason, advice string // of Configure
	busy           bool   // of Retry
}

var codes = map[int]codeMeaning{
	gocql.ErrCodeCredentials:  {reason: store.Credentials, advice: adviceUser},
	gocql.ErrCodeUnauthorized: {reason: store.Rights, advice: adviceGrants},
	gocql.ErrCodeProtocol:     {reason: store.Address, advice: "name nodes in the url that speak version 4 of the native protocol, at their port of CQL, 9042"},
	gocql.ErrCodeSyntax:       {reason: store.Missing, advice: adviceAlter},
	gocql.ErrCodeConfig:       {reason: store.Missing, advice: "make the keyspace with a replication that this cluster knows; datacenter= names a data centre of it"},
	gocql.ErrCodeOverloaded:   {busy: true},
}

// rowFaults are texts of error Invalid that the rows are the cause of; all other texts of it are
// no reason to put rows aside.
var rowFaults = []struct {
	reason string
	text   *regexp.Regexp
}{
	{store.TooLarge, regexp.MustCompile(`(?i)guardrail (column_value|column_\w+_value|collection|item)_?\w* violated|key length of|mutation of .* is too large|rejected .* exceed\w* max|value is too large`)},
	{store.Other, regexp.MustCompile(`(?i)\bconstraint\b|does not satisfy`)},
	{store.Unparsable, regexp.MustCompile(`(?i)not a valid|invalid (utf|byte|date|timestamp|\w+ constant)|expected \d+ .*bytes|string didn't validate`)},
}

// beyondTTL is the text of a refusal of rows whose end would lie behind the last second that the
// server can count: in January 2038, but for a Cassandra 5 that is not compatible with 4.
var beyondTTL = regexp.MustCompile(`(?i)maximum supported expiration date`)

func said(err error) (gocql.RequestError, bool) {
	var e gocql.RequestError
	ok := errors.As(err, &e)
	return e, ok
}

// faultOfRows returns the reason why rows of a request are refused, "" if they are not.
func faultOfRows(err error) string {
	e, ok := said(err)
	if !ok || e.Code() != gocql.ErrCodeInvalid {
		return ""
	}
	for _, f := range rowFaults {
		if f.text.MatchString(e.Message()) {
			return f.reason
		}
	}
	return ""
}

// doubtful reports whether an error may be about tables that are not what they were.
func doubtful(err error) bool {
	e, ok := said(err)
	if !ok {
		return false
	}
	switch e.Code() {
	case gocql.ErrCodeInvalid, gocql.ErrCodeSyntax, gocql.ErrCodeConfig, gocql.ErrCodeServer:
		return faultOfRows(err) == ""
	}
	return false
}

// lost reports whether the session has no node left: another one finds out why.
func lost(err error) bool {
	return errors.Is(err, gocql.ErrNoConnections) || errors.Is(err, gocql.ErrSessionClosed)
}

// refusal turns any error into a refusal. Its text is the server's or the driver's, neither of
// which has the password.
func refusal(err error) *store.Refusal {
	if r := new(store.Refusal); errors.As(err, &r) {
		return r
	}
	r := &store.Refusal{Kind: store.Retry, Err: errors.New(store.Clip(strings.Join(strings.Fields(err.Error()), " ")))}
	stop := func(reason, advice string) *store.Refusal {
		r.Kind, r.Reason, r.Advice = store.Configure, reason, advice
		return r
	}
	if m := new(tablesUnfit); errors.As(err, &m) {
		return stop(store.Missing, m.advice)
	}
	if b := new(badRequest); errors.As(err, &b) {
		r.Kind, r.Reason, r.Suspects = store.BadRows, faultOfRows(b.error), b.rows
		return r
	}
	if e := new(gocql.RequestErrUnavailable); errors.As(err, &e) {
		r.Err = fmt.Errorf("%w: it takes %d of the keyspace's replicas, and %d answer", r.Err, e.Required, e.Alive)
	}
	if e, ok := said(err); ok {
		if beyondTTL.MatchString(e.Message()) {
			return stop(store.Limit, adviceTTL)
		}
		if m, known := codes[e.Code()]; known {
			if r.Busy = m.busy; m.reason != "" {
				return stop(m.reason, m.advice)
			}
		}
		return r
	}
	return ofConnection(err, stop, r)
}

// ofConnection is refusal for an error that no server has sent.
func ofConnection(err error, stop func(reason, advice string) *store.Refusal, r *store.Refusal) *store.Refusal {
	text := err.Error()
	switch {
	case errors.As(err, new(*loginFileFault)):
		return stop(store.Credentials, "correct the file; it is read for each connection")
	case errors.As(err, new(*tls.CertificateVerificationError)):
		return stop(store.Address, "name the authority of the certificate with ca-file; it must be for the node's address or for a host of the url")
	case errors.As(err, new(tls.RecordHeaderError)):
		return stop(store.Address, "the port speaks no TLS: write "+Scheme+":// for "+SchemeSecure+"://")
	case strings.Contains(text, "remote error: tls: "):
		return stop(store.Credentials, "give a certificate that the servers accept with cert-file and key-file")
	case strings.Contains(text, "authentication required"):
		return stop(store.Credentials, "name a user in the url and its password in a token file")
	}
	return r
}
