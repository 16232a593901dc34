// Package manners gives clients of a protocol the things they expect besides replies: answers to
// the requests by which they look for it, a place for the rest of a request, and the status of one that comes too soon.
package manners

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"

	"github.com/gofiber/fiber/v2"

	"pingline/ingest/phone"
	"pingline/ingest/server/refusal"
)

// params matches the parameters in a path of a route of Fiber.
var params = regexp.MustCompile(`:([a-z]+)`)

// Route returns the route of GET of a path of Fiber.
func Route(path string) string { return "GET " + params.ReplaceAllString(path, "{$1}") }

// Check returns an error if a protocol would take requests that are GET of one of the paths in
// own.
func Check(p *phone.Protocol, own []string) error {
	for _, route := range p.AllRoutes() {
		for _, path := range own {
			if phone.Overlap(route, Route(path)) {
				return fmt.Errorf("protocol %s: route %s takes requests of the server's own %s", p.Name, route, Route(path))
			}
		}
	}
	return nil
}

// Greet serves the greetings of a protocol, for which no key is needed, and returns their routes.
func Greet(app *fiber.App, p *phone.Protocol) (routes []string) {
	for i := range p.Greetings {
		g := &p.Greetings[i]
		app.Get(g.Path, func(c *fiber.Ctx) error {
			for name, value := range g.Header {
				c.Set(name, value)
			}
			c.Status(cmp.Or(g.Status, fiber.StatusOK))
			if g.Reply != "" {
				c.Set(fiber.HeaderContentType, fiber.MIMEApplicationJSON)
				return c.SendString(g.Reply)
			}
			return nil
		})
		routes = append(routes, "GET "+g.Path)
	}
	return routes
}

// PassOn has the protocol pass on what a request holds besides pings, and returns an error if the
// request has to come again.
func PassOn(p *phone.Protocol, pings *phone.Pings) error {
	if len(pings.Others.Ends) == 0 || p.PassOn == nil {
		return nil
	}
	return p.PassOn(&pings.Others)
}

// Later returns the refusal of a request that has to come again, with the status that clients of
// its protocol know.
func Later(p *phone.Protocol, r *phone.Request, err error) error {
	over := new(refusal.OverRate)
	if p.OverRate == nil || !errors.As(err, &over) {
		return err
	}
	worded := *over
	worded.Status = p.OverRate(r)
	return &worded
}
