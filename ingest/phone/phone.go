// Package phone is the contract of a protocol, in which clients send pings: a request
// goes in, pings and a reply come out. A protocol knows no HTTP server, no log and no
// other protocol.
//
// The server does the same for all protocols: it limits connections, bytes, pings
// and rates, inflates the body, hands the pings to the writer, and answers 429 and
// 503 itself. A protocol reads a request and writes the reply. It keeps no state.
//
// The server's own answers are JSON, {"error":"…"}: 404 and 405 (no route for the path
// or method), 408 (too slow), 429, 431 (head too large), 503, and 400 for a request that
// is no HTTP or breaks off. Reply writes every other answer: when the pings are judged,
// and when a request is refused for good with 400, 413 or 415, maybe before its body was
// read.
//
// # How to add a protocol
//
// The same steps are in docs/architecture.md.
//
//  1. ingest/phone/phone.go: read Protocol, Request, Outcome and Reply.
//  2. ingest/phone/draft.go: read Draft: a ping as a client sent it, set field by
//     field.
//  3. ingest/phone/NAME/NAME.go: the new package, whose variable is Protocol. It
//     imports this package, the root and, if need be, one foreign library.
//  4. ingest/phone/lenient: reads what apps write in their own ways; use it unless the
//     protocol is ours.
//  5. ingest/phone/NAME/NAME_test.go: a test that calls phonetest.Run, and a fuzz
//     target that calls phonetest.Fuzz.
//  6. ingest/phone/NAME/testdata: requests as real clients send them, and the pings
//     and replies expected, in the form that package phonetest describes.
//  7. internal/node/protocols.go: one line in the table protocols, NAME.Protocol.
//  8. docs/api.md: the route, and an example of a request, behind POST /v1/pings.
//  9. docs/openapi.yaml: the route for machines.
//  10. docs/phones: a page for its users. README.md: a row in the table of packages.
//  11. sim/apps/app.go: in the table All, how its app sends and repeats, for pingline sim run --protocol.
package phone

import (
	"fmt"
	"iter"
	"regexp"
	"slices"
	"strings"
	"time"

	"pingline"
)

// Protocol is a form in which clients send pings over HTTP. Its functions are safe for
// concurrent use.
type Protocol struct {
	// Name is [a-z0-9]+, the same as the folder's.
	Name string

	// Routes are "METHOD /path". The method * is any. A segment {name} of the path
	// is any text without a slash.
	Routes []string

	// Bound returns upper bounds of the number of valid pings in r, and of the bytes that
	// Decode allocates besides them, as for strings without their escapes. The memory is
	// charged before Decode is called, for at most Limits.MaxPings even if the bound is
	// more. Bound is cheap, and may be too high: native counts opening braces, so for
	// {"a":{"b":{}}} it returns 3 pings instead of 1. The bounds are at most a ping for
	// each byte of body, query and path, and 16 bytes for each of these bytes, besides
	// 16 KiB. A nil Bound means a single ping, and as many bytes as the request is long.
	Bound func(r *Request) (pings, bytes int)

	// Decode adds the pings of r to to. It is a pure function of r. Its time and
	// memory are bounded by the size of r, for any r.
	//
	// A request without a position is no error, and adds nothing. Pings rejects an
	// invalid ping alone. An error means that nothing of r is kept, nor would be if r
	// came again. The error wraps ErrMalformed, or was returned by Pings.Add.
	Decode func(r *Request, to *Pings) error

	// Reply writes the answer, once the pings are durable. It is not called when the
	// client has to send again: the server answers 429 or 503. Many phones repeat the
	// first request of their queue until it is answered 2xx, if need be for ever: for
	// them a request that can never succeed is answered 2xx, too.
	Reply func(to *Reply, r *Request, got *Outcome)

	// PassOn has what else is in a request stored, once its pings are durable and before Reply; nil:
	// there is nothing else. It waits for a store. After an error the client has to send the request again.
	PassOn func(o *Others) error

	// Repeats says that the phones repeat a request until 2xx: a request refused for
	// good is then answered 2xx. Otherwise it is answered 4xx, but never 408 or 429.
	Repeats bool

	// Partial says that no client repeats a request that is answered 400, and that Reply
	// answers 400 where some of the pings are kept and others are not.
	Partial bool

	// Unjudged says that Reply tells pings without a verdict (Outcome.Away), which some clients prefer to
	// the refusal of the whole request.
	Unjudged bool

	// OverRate returns the status of a request that is over a rate; nil means 429. Some
	// clients forget the pings of every 4xx.
	OverRate func(r *Request) int

	// Accounts says that a name beside a password is of an account, and names no rider.
	Accounts bool

	// Greetings are requests by which clients find out whether a server is there.
	Greetings []Greeting
}

// Greeting is the answer to GET and HEAD of a path: the same to everybody, with a key or
// without one.
type Greeting struct {
	Path   string
	Status int // 0 means 200
	Header map[string]string
	Reply  string // JSON; "" is none
}

// AllRoutes returns the routes of requests of pings, and those of greetings.
func (p *Protocol) AllRoutes() []string {
	list := slices.Clone(p.Routes)
	for i := range p.Greetings {
		list = append(list, "GET "+p.Greetings[i].Path)
	}
	return list
}

// Request is a client's request. All of it is valid until Reply returns, and no longer;
// the strings of pings may share its memory.
type Request struct {
	Method string // such as "POST"
	Path   string // begins with a slash; without the query
	Query  string // as it was sent, escaped; at most 100 parameters
	Header Header
	Body   []byte // inflated; nil when the request was refused before it was read
	Rider  string // rider whose credentials came with the request, in place of any rider that it names; "" if they are of several riders, or there are none
	Now    time.Time
	Limits Limits

	// Friends are the riders of whom the reply may have the newest position; nil: none. Only Reply
	// asks for them, at most once, because it waits for the writer and is noted.
	Friends iter.Seq[Friend]
}

// Friend is where a rider is whom a sender may be shown.
type Friend struct {
	Rider, Device string       // Device is "" if it has none
	Known         bool         // a position is known; such as are not are there for what tells friends apart
	Fix           pingline.Fix // time and position; the numbers may be unknown although they were sent
}

// Others are lines of a request that are no pings, for a store that takes them as they are.
type Others struct {
	Bytes []byte // each line with a line break at its end; a text in it may have others
	Ends  []int  // where each line ends in Bytes, behind its line break

	// The result of PassOn.
	Refused int    // lines that the store refuses for good
	Why     string // the store's words about the first of them, for the client
}

// Header is the header of a request. Get returns the first value of a name in any
// case, or "".
type Header interface{ Get(name string) string }

// Reply is an answer. Body is memory to be used again: Protocol.Reply appends to it.
type Reply struct {
	Status      int    // 200 if it is not set
	ContentType string // "" sends none
	Body        []byte
}

// Outcome is the result of a request. Each verdict in it is final, even Shed and
// Rejected: a phone forgets the pings, and sends none of them again. The verdict 0
// is none.
type Outcome struct {
	Err   error  // why the whole request was refused: wraps ErrMalformed, ErrTooLarge or ErrEncoding
	Pings *Pings // empty if Err is set

	Judged []pingline.Verdict // verdict of each ping of Pings.List; 0: none, because of Away
	Away   error              // why pings have no verdict, and are to come again; nil unless Protocol.Unjudged
	Shed   []int32            // positions in the request of pings not judged because their rider is over its rate
	Over   []int32            // positions in Pings.List, in order, of pings shed because their tracks would be too many new tracks

	MaxError    float64 // metres, the bound in force
	AccuracyCap float64 // metres

	verdicts []pingline.Verdict // memory of Verdicts
}

// Counts returns how many pings of the request have each verdict.
func (o *Outcome) Counts() (n [pingline.Verdicts]int) {
	for _, v := range o.Judged {
		n[v]++
	}
	n[pingline.Shed] += len(o.Shed)
	n[pingline.Rejected] = o.Pings.Received - len(o.Judged) - len(o.Shed)
	return n
}

// Verdicts returns the verdict of each ping of the request, in its order, 0 for none. It is
// valid until the next call.
func (o *Outcome) Verdicts() []pingline.Verdict {
	o.verdicts = o.verdicts[:0]
	for range o.Pings.Received {
		o.verdicts = append(o.verdicts, pingline.Rejected)
	}
	for i, at := range o.Pings.Index {
		o.verdicts[at] = o.Judged[i]
	}
	for _, at := range o.Shed {
		o.verdicts[at] = pingline.Shed
	}
	return o.verdicts
}

// Memory returns the bytes that o has allocated itself.
func (o *Outcome) Memory() int64 { return int64(cap(o.verdicts)) }

var (
	nameForm  = regexp.MustCompile(`^[a-z0-9]+$`)
	routeForm = regexp.MustCompile(`^(\*|GET|POST|PUT|PATCH) (/([A-Za-z0-9._-]+|\{[a-z]+\}))+$`)
)

// Check returns an error unless each protocol of a table is complete, and no two
// have a name or a request in common.
func Check(table []Protocol) error {
	names, routes := make(map[string]bool), make(map[string]string)
	for i := range table {
		p := &table[i]
		switch {
		case !nameForm.MatchString(p.Name):
			return fmt.Errorf("protocol %q: the name is not [a-z0-9]+", p.Name)
		case names[p.Name]:
			return fmt.Errorf("protocol %s is there twice", p.Name)
		case p.Decode == nil || p.Reply == nil || len(p.Routes) == 0:
			return fmt.Errorf("protocol %s lacks routes, Decode or Reply", p.Name)
		}
		names[p.Name] = true
		for _, route := range p.AllRoutes() {
			if !routeForm.MatchString(route) {
				return fmt.Errorf("protocol %s: route %q is not of the form METHOD /path", p.Name, route)
			}
			for taken, other := range routes {
				if route == taken || other != p.Name && Overlap(route, taken) {
					return fmt.Errorf("protocols %s and %s: a request by route %s is of both, by %s", other, p.Name, route, taken)
				}
			}
			routes[route] = p.Name
		}
	}
	return nil
}

// Most returns the bounds of Bound, or its defaults if Bound is nil.
func (p *Protocol) Most(r *Request) (pings, bytes int) {
	if p.Bound == nil {
		return 1, len(r.Body) + len(r.Query) + len(r.Path)
	}
	return p.Bound(r)
}

// Read empties to, and fills it by Decode. After an error it is empty.
func (p *Protocol) Read(r *Request, to *Pings) error {
	to.Reset(r.Limits, r.Now)
	err := p.Decode(r, to)
	if err != nil {
		to.Clear()
	}
	return err
}

// Route splits a route into method and path.
func Route(route string) (method, path string) {
	method, path, _ = strings.Cut(route, " ")
	return method, path
}

// Overlap reports whether a request can match both routes.
func Overlap(a, b string) bool {
	am, ap := Route(a)
	bm, bp := Route(b)
	if am != bm && am != "*" && bm != "*" {
		return false
	}
	as, bs := strings.Split(ap, "/"), strings.Split(bp, "/")
	if len(as) != len(bs) {
		return false
	}
	for i := range as {
		if !strings.HasPrefix(as[i], "{") && !strings.HasPrefix(bs[i], "{") && !strings.EqualFold(as[i], bs[i]) {
			return false
		}
	}
	return true
}
