package auth

import (
	"cmp"
	"sync/atomic"
	"time"

	"pingline/ingest/privacy"
	"pingline/ingest/server/rate"
)

// Identity is who sent a request. The zero value is nobody. It does not change, and is safe
// for concurrent use.
type Identity struct {
	Name   string // of the key, or the subject of the token; "" if there are no keys
	Scopes Scope
	Riders RidersOf
	Rider  string         // that the credentials name; "": none, or one of several
	Zones  *privacy.Zones // within which no position that the sender sends is kept; nil: none

	// Friends are riders whose newest position the sender is shown in answers to its own: a right
	// apart from Scopes and Riders, which gives neither tracks nor positions that it asks for.
	Friends []string

	person bool // Name is somebody's, as riders' are, and not chosen by the operator

	until time.Time    // from which on nobody is let in as it; zero: never
	ended *atomic.Bool // nobody is let in as it any more; nil: never

	rates   *rate.Buckets // nil: no rate
	bucket  uint64
	perPing int // tokens of a ping
}

// MaxFriends is the most friends of a key: an answer has them all.
const MaxFriends = 50

// Anyone is who sends each request where there are no keys: everything is allowed.
var Anyone = &Identity{Scopes: allScopes, Riders: Everyone}

// May reports whether the sender has a right. Which riders it has the right for, Riders
// says.
func (id *Identity) May(scope Scope) bool { return id.Scopes.Has(scope) }

// Fleet reports whether the sender may ask for figures made of all riders' pings.
func (id *Identity) Fleet() bool { return id.May(Read) && id.Riders.All() }

// MayRead reports whether the sender may ask for a rider's pings.
func (id *Identity) MayRead(rider string) bool { return id.May(Read) && id.Riders.Has(rider) }

// NewIdentity returns who shows a token that is valid until a time, and until ended is set. The
// name is the token's subject; "" is told as token.
func NewIdentity(name string, scopes Scope, riders RidersOf, until time.Time, ended *atomic.Bool) *Identity {
	return &Identity{Name: cmp.Or(name, "token"), person: name != "", Scopes: scopes, Riders: riders, Rider: riders.Only(), until: until, ended: ended}
}

// Ended reports whether the key or token lets nobody in any more, for answers that take long.
func (id *Identity) Ended(now time.Time) bool {
	return id.ended != nil && id.ended.Load() || !id.until.IsZero() && !now.Before(id.until)
}

// as returns id with the rider that a name beside a password names.
func (id *Identity) as(user []byte) *Identity {
	if len(user) == 0 || id.Rider != "" || !id.Riders.Has(string(user)) {
		return id
	}
	named := *id
	named.Rider = string(user)
	return &named
}

// A rate of keys is in tokens, so that all keys share the memory of their buckets: a ping
// takes the more of them, the lower the rate of its key is.
const (
	tokensPerSecond = 1e6
	rateBurst       = 60      // seconds' worth of pings of a key that may come at once
	mostRate        = 1e6     // pings/s
	leastRate       = 1e-6    // pings/s
	ratesTracked    = 1 << 14 // keys
)

// limited returns id with a rate of pings/s; 0 is no limit. Key tells it from others.
func (id Identity) limited(rates *rate.Buckets, key uint64, perSecond float64) *Identity {
	if perSecond > 0 {
		id.rates, id.bucket, id.perPing = rates, key, int(tokensPerSecond/perSecond)
	}
	return &id
}

// Wait returns how long the sender has to wait until it is within its rate again, or 0.
func (id *Identity) Wait(now time.Time) time.Duration { return id.rates.Take(id.bucket, 0, now) }

// Pay counts pings that the sender has sent or, if there are fewer than 0, that were not
// kept.
func (id *Identity) Pay(pings int) { id.rates.Pay(id.bucket, pings*id.perPing) }
