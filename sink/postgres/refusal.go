package postgres

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"pingline/sink/store"
)

// operatorStop is an answer to a refusal that an operator must see to.
type operatorStop struct{ reason, advice string }

var (
	givePassword = operatorStop{store.Credentials, "give the role's password in the file that token-file names; it is read for each connection"}
	letIn        = operatorStop{store.Credentials, "let a line of pg_hba.conf take the role as it connects; a certificate that it asks for is named with cert-file and key-file"}
	grantRights  = operatorStop{store.Rights, "let the role own the tables, or, with --create-schema=false, grant it SELECT, INSERT, UPDATE and DELETE on them; grant it CREATE on their schema and TEMPORARY on the database"}
	makeDatabase = operatorStop{store.Missing, "create the database, or name another one in the URL"}
	fitSchema    = operatorStop{store.Missing, adviceSchema}
	otherServer  = operatorStop{store.Address, "name a server in the URL that takes writes, without a pooler of transactions in between; of several servers target_session_attrs=read-write finds it"}
	raiseLimit   = operatorStop{store.Limit, "raise that limit of PostgreSQL"}
)

// answer is the remedy for a SQLSTATE. A row's fault has a reason, an operator's a
// stop; all other trouble is the server's, and the write is tried again.
type answer struct {
	bad  string // element of store.Reasons
	stop operatorStop
}

// answers to codes, and to classes of codes, which are listed in
// https://www.postgresql.org/docs/current/errcodes-appendix.html. A class that is not here
// is the server's trouble: of connections (08), transactions (25, 40), resources (53),
// locks (55), operators (57), the system (58), and within the server (XX).
var answers = map[string]answer{
	"08004": {stop: otherServer}, // the server rejects the connection
	"08P01": {stop: otherServer}, // protocol violation: a pooler that does not take our settings
	"09":    {bad: store.Other},  // triggered action
	"0A":    {stop: otherServer}, // feature not supported
	"0L":    {stop: grantRights},
	"0P":    {stop: grantRights},
	"21":    {bad: store.Other}, // a row twice in one command
	"22":    {bad: store.Unparsable},
	"23":    {bad: store.Other}, // a constraint
	"25006": {stop: otherServer},
	"27":    {bad: store.Other}, // triggered data change
	"28":    {stop: givePassword},
	"28000": {stop: letIn},
	"2B":    {stop: grantRights},
	"2F":    {bad: store.Other}, // functions of a trigger
	"38":    {bad: store.Other},
	"39":    {bad: store.Other},
	"3D":    {stop: makeDatabase},
	"3F":    {stop: fitSchema},
	"42":    {stop: fitSchema},
	"42501": {stop: grantRights},
	"42P07": {}, // made by another at the same time
	"42710": {}, // the same
	"44":    {bad: store.Other},
	"53400": {stop: raiseLimit},
	"54":    {stop: raiseLimit},
	"54000": {bad: store.TooLarge}, // a key longer than an index takes
	"54001": {},                    // the stack is too deep
	"57P04": {stop: makeDatabase},  // dropped
	"F0":    {stop: otherServer},   // a fault in the server's configuration
	"P0":    {bad: store.Other},    // raised by a trigger
}

// answerTo returns the answer to a SQLSTATE.
func answerTo(code string) answer {
	if a, ok := answers[code]; ok {
		return a
	}
	return answers[code[:min(2, len(code))]]
}

// refusal turns any error into a refusal. Its text is the server's, without the detail
// that quotes rows, and without the cause, which may hold the password.
func refusal(err error) *store.Refusal {
	if r := new(store.Refusal); errors.As(err, &r) {
		return r
	}
	if m := new(misfit); errors.As(err, &m) {
		return m.refusal()
	}
	r := &store.Refusal{Kind: store.Retry, Err: errors.New(oneLine(err.Error()))}
	operator := func(s operatorStop) *store.Refusal {
		r.Kind, r.Reason, r.Advice = store.Configure, s.reason, s.advice
		return r
	}
	said := new(pgconn.PgError)
	switch {
	case errors.As(err, &said):
	case errors.As(err, new(*fileError)):
		return operator(operatorStop{store.Credentials, "correct the file; it is read for each connection"})
	case errors.As(err, new(x509.HostnameError)):
		return operator(operatorStop{store.Address, "name the server in the URL by a name that its certificate has"})
	case errors.As(err, new(*tls.CertificateVerificationError)), errors.As(err, new(x509.UnknownAuthorityError)), errors.As(err, new(x509.CertificateInvalidError)):
		return operator(operatorStop{store.Address, "name the authority of its certificate with ca-file"})
	case strings.Contains(err.Error(), "\n"): // several attempts, each with a cause of its own
		return r
	case strings.Contains(err.Error(), "server refused TLS connection"):
		return operator(operatorStop{store.Address, "let the server take TLS (ssl = on), or leave out sslmode, ca-file and cert-file"})
	case strings.Contains(err.Error(), "remote error: tls: "):
		return operator(operatorStop{store.Credentials, "give a certificate that the server accepts with cert-file and key-file"})
	default:
		return r
	}
	a := answerTo(said.Code)
	switch {
	case said.Code == "23514" && said.ConstraintName == "":
		return operator(operatorStop{store.Missing, "make a partition for that day, or let Pingline make them"})
	case a.bad != "":
		r.Kind, r.Reason = store.BadRows, a.bad
		if at := new(located); errors.As(err, &at) {
			r.Suspects = []int{at.row}
		}
	case a.stop != operatorStop{}:
		return operator(a.stop)
	}
	return r
}

// oneLine bounds a text, and joins its lines.
func oneLine(s string) string {
	return store.Clip(strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\t' }), " "))
}
