package redis

import (
	"crypto/tls"
	"errors"
	"regexp"
	"strings"

	"pingline/sink/store"
)

// operatorMust is an answer to a refusal that an operator must see to.
type operatorMust struct{ reason, advice string }

var (
	givePassword = operatorMust{store.Credentials, "give the user's password in the file that token-file names, and the user in the URL; the file is read for each connection"}
	grantRights  = operatorMust{store.Rights, "let the user run EVAL and EVALSHA, and what the script runs, on the keys of the prefix: see docs/redis.md"}
	otherServer  = operatorMust{store.Address, "name a Redis 5 or later, or a Valkey, that takes scripts"}
	otherKey     = operatorMust{store.Missing, "a key of the prefix is of another type: rename or delete it, or set another prefix="}
	otherDB      = operatorMust{store.Missing, "name a database that the server has: a cluster has 0 only"}
	moreMemory   = operatorMust{store.Limit, "the server is full: raise its maxmemory, or let riders expire"}
)

// stops are the answers to codes, by which an error of Redis begins. A code that is not here
// is the server's trouble, and the write is tried again: LOADING, READONLY, MASTERDOWN,
// CLUSTERDOWN, TRYAGAIN, BUSY, MISCONF, NOREPLICAS, MOVED and ASK are such.
var stops = map[string]operatorMust{
	"NOAUTH":    givePassword,
	"WRONGPASS": givePassword,
	"NOPERM":    grantRights,
	"DENIED":    {store.Rights, "the server is in protected mode: give it a password, or let it listen where only friends reach it"},
	"WRONGTYPE": otherKey,
	"OOM":       moreMemory,
}

// texts are answers to errors that have no code of their own.
var texts = []struct {
	part string
	stop operatorMust
}{
	{"invalid password", givePassword},
	{"invalid username-password pair", givePassword},
	{"without any password configured", operatorMust{store.Credentials, "the server asks for no password: leave token-file out"}},
	{"wrong number of arguments for 'auth' command", operatorMust{store.Credentials, "the server is older than its users: leave the user out of the URL"}},
	{"DB index is out of range", otherDB},
	{"SELECT is not allowed in cluster mode", otherDB},
	{"unauthenticated ", givePassword}, // what is said to a long command
	{"The user executing the script", grantRights},
	{"unknown command", otherServer},
	{"cluster support disabled", otherServer},
}

// within finds the code of an error that a script has met, in the words of servers before
// Redis 7.
var within = regexp.MustCompile(`^ERR Error running script .*: -?([A-Z]+) `)

// codeOf returns the code of an error of the server.
func codeOf(text string) string {
	if m := within.FindStringSubmatch(text); m != nil {
		return m[1]
	}
	code, _, _ := strings.Cut(text, " ")
	return strings.TrimPrefix(code, "-")
}

// refusal turns any error into a refusal. Its text is the server's, without the cause.
func refusal(err error) *store.Refusal {
	if r := new(store.Refusal); errors.As(err, &r) {
		return r
	}
	text := err.Error()
	r := &store.Refusal{Kind: store.Retry, Err: errors.New(oneLine(text))}
	operator := func(s operatorMust) *store.Refusal {
		r.Kind, r.Reason, r.Advice = store.Configure, s.reason, s.advice
		return r
	}
	switch {
	case errors.As(err, new(*fileFault)):
		return operator(operatorMust{store.Credentials, "correct the file; it is read for each connection"})
	case errors.As(err, new(*tls.CertificateVerificationError)):
		return operator(operatorMust{store.Address, "name the authority of its certificate with ca-file"})
	case errors.As(err, new(tls.RecordHeaderError)):
		return operator(operatorMust{store.Address, "let the server take TLS at this port, or write redis://"})
	case strings.Contains(text, "remote error: tls: "):
		return operator(operatorMust{store.Credentials, "give a certificate that the server accepts with cert-file and key-file"})
	}
	for _, prefix := range []string{"failed to authenticate: ", "failed to initialize connection: "} {
		text = strings.TrimPrefix(text, prefix)
	}
	if stop, known := stops[codeOf(text)]; known {
		return operator(stop)
	}
	for _, t := range texts {
		if strings.Contains(text, t.part) {
			return operator(t.stop)
		}
	}
	return r
}

// oneLine bounds a text, and joins its lines. The arguments of a command that the server does not
// know are left out: those of AUTH have the password, and others have riders.
func oneLine(s string) string {
	s, _, _ = strings.Cut(s, ", with args beginning with")
	return store.Clip(strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' || r == '\t' }), " "))
}
