package auth

import (
	"cmp"
	"log/slog"
	"net/netip"
	"sync"
	"time"
)

// Cause says why a request or a connection was not let in. It is a label of metrics.
type Cause string

// The reasons.
const (
	Missing  Cause = "missing" // the request shows nothing
	Unknown  Cause = "unknown" // the key is not in the file, or no key can be read
	Expired  Cause = "expired" // of a key or a token
	Revoked  Cause = "revoked" // of a key
	BadToken Cause = "token"   // the token is not signed as it must be, or not for us
	TooMany  Cause = "rate"    // the client has shown too many wrong keys, and is answered 429
	NoScope  Cause = "scope"   // the key lacks the right
	NotRider Cause = "rider"   // the key has the right for other riders

	Handshake     Cause = "handshake"      // the connection does not speak TLS, or not as we do, or broke off
	CertMissing   Cause = "cert_missing"   // the connection has no client certificate, and needs one
	CertExpired   Cause = "cert_expired"   // of a client certificate, as are the causes below
	CertEarly     Cause = "cert_early"     // it is not valid yet
	CertAuthority Cause = "cert_authority" // no authority that we know vouches for it
	CertUsage     Cause = "cert_usage"     // it is for other uses, such as that of a server
	CertRevoked   Cause = "cert_revoked"
	CertName      Cause = "cert_name" // its name is no rider's
)

// Causes are all reasons.
var Causes = []Cause{
	Missing, Unknown, Expired, Revoked, BadToken, TooMany, NoScope, NotRider,
	Handshake, CertMissing, CertExpired, CertEarly, CertAuthority, CertUsage, CertRevoked, CertName,
}

// Failures counts refusals by cause, and logs a line a second at most for each: many of one
// cause do not hide another. It is safe for concurrent use.
type Failures struct {
	logger *slog.Logger
	also   func(e *Denied, client netip.Addr) // nil: nobody

	mu sync.Mutex // guards of; nothing else is locked under it
	of map[Cause]*failuresOf
}

type failuresOf struct {
	count   uint64
	next    time.Time // from which on another line is logged
	leftOut int       // refusals since the last line
}

// NewFailures returns Failures of which also, if it is set, is told each. A nil logger logs
// nothing.
func NewFailures(logger *slog.Logger, also func(e *Denied, client netip.Addr)) *Failures {
	return &Failures{logger: cmp.Or(logger, slog.New(slog.DiscardHandler)), also: also, of: make(map[Cause]*failuresOf)}
}

// Tell counts a refusal, and logs it unless another of its cause was logged within a second.
func (f *Failures) Tell(e *Denied, client netip.Addr, now time.Time) {
	if f.also != nil {
		f.also(e, client)
	}
	f.mu.Lock()
	of := f.of[e.Cause]
	if of == nil {
		of = new(failuresOf)
		f.of[e.Cause] = of
	}
	of.count++
	if now.Before(of.next) {
		of.leftOut++
		f.mu.Unlock()
		return
	}
	leftOut := of.leftOut
	of.next, of.leftOut = now.Add(time.Second), 0
	f.mu.Unlock()
	if e.Detail != "" {
		f.logger.Info("a connection was not let in", "client", client, "reason", string(e.Cause), "detail", e.Detail, "left_out", leftOut)
		return
	}
	f.logger.Info("a request was not let in", "client", client, "reason", string(e.Cause), "key", e.Name, "left_out", leftOut)
}

// Stats returns the number of refusals by reason since the start.
func (f *Failures) Stats() map[Cause]uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	stats := make(map[Cause]uint64, len(Causes))
	for _, r := range Causes {
		if of := f.of[r]; of != nil {
			stats[r] = of.count
		} else {
			stats[r] = 0
		}
	}
	return stats
}
