// Package guard asks each request who sends it, before anything else of it is read, and
// refuses it if its sender has no right to it.
//
// Each route says by Need which right it takes; a route that does not is nobody's, and Of
// returns an Identity that may do nothing. A key may come in a header Authorization, in the
// parameter {key} of a path, in the parameter key of a query, in its parameter api_key (of
// Dawarich, whose apps know no other name), in its parameter p (of InfluxDB, on the routes of
// its clients), or in the cookie of a session, in this order: the first that is there counts,
// even if it is wrong. A request that shows none of them is sent
// by whom the client certificate of its connection names.
//
// The package does not limit how much a sender may take.
package guard

import (
	"time"

	"github.com/gofiber/fiber/v2"

	"pingline/ingest/auth"
	"pingline/ingest/server/sender"
)

// Keeper asks requests for keys. It is safe for concurrent use.
type Keeper struct {
	gate     *auth.Gate // nil: everybody may do everything
	senders  *sender.Finder
	sessions sealer // its zero value opens none
}

// New returns a guard by a gate; without a gate everybody may do everything.
func New(gate *auth.Gate, senders *sender.Finder) *Keeper {
	return &Keeper{gate: gate, senders: senders}
}

type identityOf struct{} // key of the value in a request

var nobody = new(auth.Identity)

// Of returns who sends a request. It is nobody if its route has no Need.
func Of(c *fiber.Ctx) *auth.Identity {
	if id, ok := c.Context().UserValue(identityOf{}).(*auth.Identity); ok {
		return id
	}
	return nobody
}

// Need lets requests pass whose sender has a right; with fleet, only if it has the right
// for all riders.
func (r *Keeper) Need(scope auth.Scope, fleet bool) fiber.Handler {
	return r.need(scope, fleet, func(c *fiber.Ctx) auth.Credentials { return r.shown(c, scope) })
}

// NeedWrite is Need for routes of pings. On those for accounts, a name beside a key is of an
// account, and not of a rider.
func (r *Keeper) NeedWrite(accounts bool) fiber.Handler {
	if accounts {
		return r.need(auth.Write, false, account)
	}
	return r.Need(auth.Write, false)
}

func (r *Keeper) need(scope auth.Scope, fleet bool, shown func(c *fiber.Ctx) auth.Credentials) fiber.Handler {
	return func(c *fiber.Ctx) error {
		id := auth.Anyone
		if r.gate != nil {
			var err error
			now := time.Now()
			if id, err = r.enter(c, shown(c), now); err != nil {
				return err
			}
			if !auth.Allowed(id, scope, fleet) {
				return r.gate.NeedScope(id, scope, fleet, r.client(c), now)
			}
		}
		c.Context().SetUserValue(identityOf{}, id)
		return c.Next()
	}
}

// NeedRider returns an error if the sender has no right for a rider.
func (r *Keeper) NeedRider(c *fiber.Ctx, rider string) error {
	if r.gate == nil {
		return nil
	}
	return r.gate.NeedRider(Of(c), rider, r.client(c), time.Now())
}

// Ask returns who sends a request that everybody may send: nobody, if it shows nothing or
// something wrong.
func (r *Keeper) Ask(c *fiber.Ctx) *auth.Identity {
	if r.gate == nil {
		return auth.Anyone
	}
	now := time.Now()
	shown := r.shown(c, auth.Read)
	if !shown.Shown && r.certified(c, now) == nil {
		return nobody
	}
	id, err := r.enter(c, shown, now)
	if err != nil {
		return nobody
	}
	return id
}

// enter returns who sends a request that shows credentials, or an error if nobody does who is
// let in.
func (r *Keeper) enter(c *fiber.Ctx, shown auth.Credentials, now time.Time) (*auth.Identity, error) {
	if !shown.Shown {
		if id := r.certified(c, now); id != nil {
			return id, nil
		}
	}
	id, refusal := r.gate.Known(&shown, now)
	if refusal != nil { // only then is the client looked up
		return nil, r.gate.Refuse(refusal, r.client(c), now)
	}
	return id, nil
}

// certified returns whom the client certificate of a connection names, or nil. A browser shows
// its certificate with every request, as it does a cookie: with those of other pages, too.
func (r *Keeper) certified(c *fiber.Ctx, now time.Time) *auth.Identity {
	conn, ok := c.Context().Conn().(interface{ Identity() *auth.Identity })
	if !ok || ofAnotherPage(c) {
		return nil
	}
	if id := conn.Identity(); id != nil && !id.Ended(now) {
		return id
	}
	return nil
}

// Denied returns the number of requests that were not let in, by cause; nil without a gate.
func (r *Keeper) Denied() map[string]uint64 {
	if r.gate == nil {
		return nil
	}
	return Counts(r.gate.Stats())
}

// Counts returns counts of refusals by the texts of their causes.
func Counts(by map[auth.Cause]uint64) map[string]uint64 {
	counts := make(map[string]uint64, len(by))
	for cause, n := range by {
		counts[string(cause)] = n
	}
	return counts
}

func (r *Keeper) client(c *fiber.Ctx) auth.Client {
	from := r.senders.Of(c.Context().RemoteAddr(), &c.Request().Header)
	return auth.Client{Addr: from.Addr, Key: from.Key}
}

// shown returns the credentials of a request that takes a right, or else the key of its session: some
// phones send by GET, and a session only reads.
func (r *Keeper) shown(c *fiber.Ctx, scope auth.Scope) auth.Credentials {
	if shown := credentials(c); shown.Shown || scope != auth.Read {
		return shown
	}
	return r.cookie(c)
}

func credentials(c *fiber.Ctx) auth.Credentials {
	if header := c.Request().Header.Peek(fiber.HeaderAuthorization); len(header) > 0 {
		return auth.HeaderCredentials(header)
	}
	if key := c.Params("key"); key != "" {
		return auth.PlainCredentials([]byte(key))
	}
	if len(c.Request().URI().QueryString()) > 0 {
		args := c.Request().URI().QueryArgs()
		if key := args.Peek("key"); len(key) > 0 {
			return auth.PlainCredentials(key)
		}
		return auth.PlainCredentials(args.Peek("api_key"))
	}
	return auth.Credentials{}
}

// account returns the credentials of a client of InfluxDB, without the name of its account.
func account(c *fiber.Ctx) auth.Credentials {
	shown := credentials(c)
	if !shown.Shown && len(c.Request().URI().QueryString()) > 0 {
		shown = auth.PlainCredentials(c.Request().URI().QueryArgs().Peek("p"))
	}
	shown.User = nil
	return shown
}

// Status sets the header of the refusal e, and returns its status.
func Status(c *fiber.Ctx, e *auth.Denied) int {
	if name, value := e.Header(); name != "" {
		c.Set(name, value)
	}
	return e.Status()
}
