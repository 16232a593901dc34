package influx

import (
	"bytes"
	"context"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"pingline"
	"pingline/sink/influx/fields"
	"pingline/sink/store"
)

// refusal turns an answer to a write of rows into a store.Refusal.
func (b *Bucket) refusal(ctx context.Context, e *AnswerError, rows store.Rows) *store.Refusal {
	r := &store.Refusal{Kind: e.Kind, After: e.RetryAfter, Busy: e.Status == http.StatusTooManyRequests, Err: e}
	switch e.Kind {
	case store.Configure:
		r.Reason, r.Advice = e.stop()
	case store.BadRows:
		r.Reason = e.reason()
		r.All = e.refusesAll(rows.N)
		if r.All || rows.N < 2 {
			break
		}
		switch r.Reason {
		case store.Expired:
			r.Suspects = suspects(rows, before(b.retentionEdge(ctx, e)))
		case store.TypeConflict:
			field := e.field()
			r.Suspects = suspects(rows, func(line []byte) bool { return field != "" && fields.Has(line, field) })
			if len(r.Suspects) > rows.N/2 {
				r.Suspects = nil // most rows that have the field are fine: halves are better
			}
		}
	}
	if keep, ok := e.retention(); ok {
		r.Keeps = keep
	}
	return r
}

// suspects returns the numbers of the lines for which meant is true.
func suspects(rows store.Rows, meant func(line []byte) bool) (list []int) {
	i := 0
	for line := range bytes.Lines(rows.Bytes) {
		if meant(line) {
			list = append(list, i)
		}
		i++
	}
	return list
}

// before selects lines with a timestamp before edge, ms; none if edge is 0.
func before(edge int64) func(line []byte) bool {
	return func(line []byte) bool {
		line = bytes.TrimSuffix(line, []byte("\n"))
		ns, err := strconv.ParseInt(string(line[bytes.LastIndexByte(line, ' ')+1:]), 10, 64)
		return edge != 0 && err == nil && ns < edge*pingline.NanosPerMilli
	}
}

// reason names the cause of a refusal of rows.
func (e *AnswerError) reason() string {
	switch {
	case e.Status == http.StatusRequestEntityTooLarge:
		return store.TooLarge
	case strings.Contains(e.head(), "unable to parse"):
		return store.Unparsable
	case strings.Contains(e.head(), "field type conflict"):
		return store.TypeConflict
	case says(e.head(), []string{"beyond retention policy", "outside retention policy"}):
		return store.Expired
	}
	return store.Other
}

// Advice that is about the organization and not the bucket.
const (
	noOrganization    = "name the organization"
	otherOrganization = "name an organization that is there"
)

// stop returns the trouble that an operator must put right, and advice on it.
func (e *AnswerError) stop() (reason, advice string) {
	message := e.head()
	if e.Status == http.StatusNotFound {
		message = e.Message // the whole message: it quotes the bucket, and no rows
	}
	switch {
	case e.advice != "":
		return e.stops, e.advice
	case e.Status == http.StatusUnauthorized, e.Status == 0:
		return store.Credentials, "give a token that is valid, on 1.8 user:password; a token file is read again for each write"
	case e.Status == http.StatusForbidden:
		return store.Rights, "let the token write to the bucket"
	case strings.Contains(message, refusesCertificate):
		return store.Credentials, giveCertificate
	case strings.Contains(message, "max-values-per-tag"):
		return store.Limit, "raise max-values-per-tag in the configuration of InfluxDB, or drop series"
	case strings.Contains(message, "max-series"):
		return store.Limit, "raise max-series-per-database in the configuration of InfluxDB, or drop series"
	case strings.Contains(message, "limit exceeded"):
		return store.Limit, "raise that limit of InfluxDB"
	case strings.Contains(message, "Please provide either orgID or org"):
		return store.Missing, noOrganization
	case strings.Contains(message, "organization name"):
		return store.Missing, otherOrganization
	case strings.Contains(message, "database not found"):
		return store.Missing, "create the database (in InfluxQL CREATE DATABASE), or name another one"
	case strings.Contains(message, "not found"):
		return store.Missing, "create it, or name another one"
	}
	return store.Address, "check the URL of InfluxDB"
}

var conflicting = regexp.MustCompile(`field type conflict: input field "([^"]+)" on measurement`)

// field returns the field of a type conflict, "" if the answer does not name
// it.
func (e *AnswerError) field() string {
	if m := conflicting.FindStringSubmatch(e.Message); m != nil {
		return m[1]
	}
	return ""
}

var droppedCount = regexp.MustCompile(`(?s)partial write: .* dropped=(\d+)`)

// refusesAll reports whether InfluxDB said that it took none of n rows.
func (e *AnswerError) refusesAll(n int) bool {
	m := droppedCount.FindStringSubmatch(e.Message)
	return m != nil && m[1] == strconv.Itoa(n)
}

var namedRetention = regexp.MustCompile(`outside retention policy of duration ([0-9hms.]+) `)

// retention returns how long the bucket keeps points, as 2.7 says in a
// refusal.
func (e *AnswerError) retention() (time.Duration, bool) {
	m := namedRetention.FindStringSubmatch(e.head())
	if m == nil {
		return 0, false
	}
	keep, err := time.ParseDuration(m[1])
	return keep, err == nil && keep > 0
}

// retentionEdge returns the ts in ms before which the bucket keeps nothing, or
// 0 if it cannot be learnt.
func (b *Bucket) retentionEdge(ctx context.Context, e *AnswerError) int64 {
	if at, ok := e.lowerBound(); ok {
		return at.UnixMilli()
	}
	if keep, _ := b.Retention(ctx); keep > 0 {
		return time.Now().Add(-keep).UnixMilli()
	}
	return 0
}

var lowerBound = regexp.MustCompile(`violates a Retention Policy Lower Bound at (\S+?Z)\b`)

// lowerBound returns the earliest time that the bucket keeps, as 2.7 says in a
// refusal.
func (e *AnswerError) lowerBound() (time.Time, bool) {
	m := lowerBound.FindStringSubmatch(e.Message)
	if m == nil {
		return time.Time{}, false
	}
	at, err := time.Parse(time.RFC3339Nano, m[1])
	return at, err == nil
}
