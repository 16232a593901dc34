package auth

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"pingline/ingest/privacy"
	"pingline/ingest/server/rate"
)

// Denied is the refusal of a request. Its text is for the client.
type Denied struct {
	Cause  Cause
	Name   string        // of the key, if it is known
	Wait   time.Duration // for TooMany: until a wrong key is answered again
	Text   string
	Detail string // for the log alone
}

func (e *Denied) Error() string { return e.Text }

// Forbidden reports whether the sender is known, and lacks a right.
func (e *Denied) Forbidden() bool { return e.Cause == NoScope || e.Cause == NotRider }

// Challenge returns the header WWW-Authenticate of the answer 401 (RFC 6750, 3). There is
// no Basic in it: browsers would ask for a password by themselves.
func (e *Denied) Challenge() string {
	if e.Cause == Missing {
		return `Bearer realm="pingline"`
	}
	return `Bearer realm="pingline", error="invalid_token"`
}

// Status returns the status of the answer.
func (e *Denied) Status() int {
	switch {
	case e.Cause == TooMany:
		return http.StatusTooManyRequests
	case e.Forbidden():
		return http.StatusForbidden
	}
	return http.StatusUnauthorized
}

// Header returns the header that the answer has by its status, and its value.
func (e *Denied) Header() (name, value string) {
	switch e.Status() {
	case http.StatusTooManyRequests:
		return "Retry-After", strconv.Itoa(int(math.Ceil(e.Wait.Seconds())))
	case http.StatusUnauthorized:
		return "WWW-Authenticate", e.Challenge()
	}
	return "", ""
}

// Tokens checks signed tokens.
type Tokens interface {
	// Cached returns who a token is of, if the token was checked lately.
	Cached(token []byte, now time.Time) *Identity
	// Check returns who a token is of, or why it lets nobody in. It may take long.
	Check(token []byte, now time.Time) (*Identity, Cause)
	Notes() []string
	Run(ctx context.Context) error
}

// Config sets up a Gate. Without Keys and Tokens nobody is let in by credentials.
type Config struct {
	Keys   *KeyRing            // nil: none
	Tokens Tokens              // nil: none
	Names  *privacy.Pseudonyms // by which riders are stored and told; nil: by their own names
	Logger *slog.Logger

	// Failed, if set, is told each refusal, and the client.
	Failed func(e *Denied, client netip.Addr)
	// Read, if set, is told whose pings are shown to whom: by the name of the key, and by
	// the name under which the rider is stored.
	Read func(key, rider string, client netip.Addr)
	// Removed, if set, is told who has asked for the removal of a rider, and its ID.
	Removed func(key, removal string, client netip.Addr)
}

// A client may show so many wrong keys; further wrong keys are answered 429.
const (
	failureRate     = 1 // a second
	failureBurst    = 60
	failuresTracked = 1 << 14 // clients
)

// Gate lets requests in. It is safe for concurrent use.
type Gate struct {
	cfg   Config
	wrong *rate.Buckets // wrong keys of a client
	told  *Failures
}

// NewGate returns a gate.
func NewGate(cfg Config) *Gate {
	return &Gate{cfg: cfg, wrong: rate.New(failureRate, failureBurst, failuresTracked), told: NewFailures(cfg.Logger, cfg.Failed)}
}

// Failures returns the refusals of the gate, to which others may add theirs.
func (g *Gate) Failures() *Failures { return g.told }

// Run keeps keys and tokens as they are outside, until ctx is cancelled.
func (g *Gate) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	if g.cfg.Keys != nil {
		wg.Go(func() { _ = g.cfg.Keys.Run(ctx) }) // returns nil
	}
	var err error
	if g.cfg.Tokens != nil {
		err = g.cfg.Tokens.Run(ctx)
	}
	wg.Wait()
	return err
}

// Notes returns a sentence for each trouble that an operator must know of.
func (g *Gate) Notes() (notes []string) {
	if g.cfg.Keys != nil {
		notes = g.cfg.Keys.Notes()
	}
	if g.cfg.Tokens != nil {
		notes = append(notes, g.cfg.Tokens.Notes()...)
	}
	return notes
}

// Stats returns the number of refusals by reason since the start.
func (g *Gate) Stats() map[Cause]uint64 { return g.told.Stats() }

// Client is where a request comes from.
type Client struct {
	Addr netip.Addr
	Key  uint64 // tells clients apart, as in rates
}

// Enter returns who sent a request, or a *Denied.
func (g *Gate) Enter(c *Credentials, from Client, now time.Time) (*Identity, error) {
	id, e := g.Known(c, now)
	if e == nil {
		return id, nil
	}
	return nil, g.Refuse(e, from, now)
}

// Refuse counts and logs a refusal of Known, and returns the *Denied for the client: another
// one, if it has shown too many wrong keys.
func (g *Gate) Refuse(e *Denied, from Client, now time.Time) error {
	if e.Cause != Missing && e.Cause != TooMany {
		if wait := g.wrong.Take(from.Key, 1, now); wait > 0 {
			e = &Denied{Cause: TooMany, Name: e.Name, Wait: wait, Text: "this client has shown too many wrong keys: wait, and look at the key"}
		}
	}
	g.told.Tell(e, from.Addr, now)
	return e
}

// Known returns who shows credentials, or why they let nobody in, which is told to nobody
// until Refuse.
func (g *Gate) Known(c *Credentials, now time.Time) (*Identity, *Denied) {
	if !c.Shown {
		return nil, &Denied{Cause: Missing, Text: g.asksFor()}
	}
	if g.cfg.Tokens != nil && isToken(c.Secret) {
		return g.token(c, now)
	}
	if g.cfg.Keys == nil {
		return nil, &Denied{Cause: Unknown, Text: g.asksFor()}
	}
	id, key, why := g.cfg.Keys.find(c.Secret, now)
	if why != "" {
		return nil, &Denied{Cause: why, Name: g.toldName(key), Text: wrongKey[why]}
	}
	return id.as(c.User), nil
}

// asksFor returns the credentials that a request has to show.
func (g *Gate) asksFor() string {
	switch {
	case g.cfg.Keys == nil && g.cfg.Tokens == nil:
		return "this takes a client certificate"
	case g.cfg.Keys == nil:
		return "this takes a signed token: send the header Authorization: Bearer TOKEN"
	}
	return "this takes a key: send the header Authorization: Bearer KEY"
}

var wrongKey = map[Cause]string{
	Unknown: "the key is not known", Expired: "the key has expired", Revoked: "the key was revoked",
}

// isToken reports whether a secret has the form of a signed token: three parts with dots
// between. No key has a dot.
func isToken(secret []byte) bool { return bytes.Count(secret, []byte(".")) == 2 }

func (g *Gate) token(c *Credentials, now time.Time) (*Identity, *Denied) {
	if id := g.cfg.Tokens.Cached(c.Secret, now); id != nil {
		return id.as(c.User), nil
	}
	id, why := g.cfg.Tokens.Check(c.Secret, now)
	switch why {
	case "":
		return id.as(c.User), nil
	case Expired:
		return nil, &Denied{Cause: why, Text: "the token has expired"}
	}
	return nil, &Denied{Cause: why, Text: "the token is not signed by the issuer that is trusted here, or not for this audience, or not valid yet"}
}

// Allowed reports whether NeedScope would return nil.
func Allowed(id *Identity, scope Scope, fleet bool) bool {
	return id.May(scope) && (!fleet || id.Riders.All())
}

// NeedScope returns a *Denied if the sender lacks a right, or has it for some riders only
// and all are asked for.
func (g *Gate) NeedScope(id *Identity, scope Scope, fleet bool, from Client, now time.Time) error {
	switch {
	case Allowed(id, scope, fleet):
		return nil
	case !id.May(scope):
		return g.forbid(&Denied{Cause: NoScope, Name: g.toldName(id), Text: fmt.Sprintf("this key may not: it lacks the scope %v", scope)}, from, now)
	}
	return g.forbid(&Denied{Cause: NotRider, Name: g.toldName(id), Text: "this key is for some riders only, and this tells of all"}, from, now)
}

// NeedRider returns a *Denied if a rider, whose pings are asked for, is none of the
// sender's. It is the same whether there is such a rider or not.
func (g *Gate) NeedRider(id *Identity, rider string, from Client, now time.Time) error {
	if g.reads(id, rider) {
		g.Read(id, rider, from.Addr)
		return nil
	}
	return g.forbid(&Denied{Cause: NotRider, Name: g.toldName(id), Text: "this key is not for this rider"}, from, now)
}

// NotRider returns and tells that a sender names a rider who is none of its own.
func (g *Gate) NotRider(id *Identity, text string, from Client, now time.Time) error {
	return g.forbid(&Denied{Cause: NotRider, Name: g.toldName(id), Text: text}, from, now)
}

// reads reports whether a rider, or a pseudonym, is one of the sender's. Whose a pseudonym is
// shows only from the names of the sender's riders, not from prefixes of names.
func (g *Gate) reads(id *Identity, rider string) bool {
	if g.cfg.Names == nil || !privacy.IsPseudonym(rider) || id.Riders.All() {
		return id.Riders.Has(rider)
	}
	for name := range id.Riders.exact {
		if g.cfg.Names.Of(name) == rider {
			return true
		}
	}
	return false
}

// toldName returns the name by which log and trail tell a key: that of a rider's key is often the
// rider's own, and the subject of a token is a person, whichever claim has the rider.
func (g *Gate) toldName(id *Identity) string {
	if _, rider := id.Riders.exact[id.Name]; rider || id.person {
		return g.cfg.Names.Of(id.Name)
	}
	return id.Name
}

// Read tells that a rider's pings are shown.
func (g *Gate) Read(id *Identity, rider string, client netip.Addr) {
	if g.cfg.Read != nil {
		g.cfg.Read(g.toldName(id), g.cfg.Names.Stored(rider), client)
	}
}

// Removed tells that a rider's removal was asked for.
func (g *Gate) Removed(id *Identity, removal string, client netip.Addr) {
	if g.cfg.Removed != nil {
		g.cfg.Removed(g.toldName(id), removal, client)
	}
}

func (g *Gate) forbid(e *Denied, from Client, now time.Time) error {
	g.told.Tell(e, from.Addr, now)
	return e
}
