package server

import (
	_ "embed"
	"errors"
	"fmt"
	"html"
	"strings"

	"github.com/gofiber/fiber/v2"
)

// index answers GET / with the version, the state and the routes, so that a person or
// a program that has only the address finds the rest. State returns why no pings are
// taken, or "", and the shed level.
func index(version string, routes []string, state func() (reason string, level int)) fiber.Handler {
	return func(c *fiber.Ctx) error {
		c.Vary(fiber.HeaderAccept)
		reason, level := state()
		if strings.Contains(c.Get(fiber.HeaderAccept), fiber.MIMETextHTML) {
			c.Type("html", "utf-8")
			return c.SendString(page(version, routes, reason, level))
		}
		said := fiber.Map{"name": "pingline", "version": version, "ready": reason == "", "level": level, "routes": routes}
		if reason != "" {
			said["reason"] = reason
		}
		return c.JSON(said)
	}
}

// page returns the answer of index for people, in HTML.
func page(version string, routes []string, reason string, level int) string {
	state := "taking pings"
	switch {
	case reason != "":
		state = "not taking pings: " + reason
	case level > 0:
		state = fmt.Sprintf("taking pings, and giving up what level %d says", level)
	}
	var b strings.Builder
	fmt.Fprintf(&b, pageHead, html.EscapeString(version), html.EscapeString(state))
	for _, route := range routes {
		method, path, _ := strings.Cut(route, " ")
		text := html.EscapeString(route)
		if method == fiber.MethodGet && !strings.Contains(path, "{") && path != "/v1/cells" { // /v1/cells needs a box
			text = fmt.Sprintf(`%s <a href="%s">%s</a>`, method, html.EscapeString(path), html.EscapeString(path))
		}
		fmt.Fprintf(&b, "<li><code>%s</code></li>\n", text)
	}
	b.WriteString("</ul>\n<p>The live map is not in this binary: <code>make livemap</code>, with Node and npm, and then <code>make build</code> put it here; so does <code>make phone</code> with /phone, the page that sends.</p>\n")
	return b.String()
}

//go:embed index.html
var pageHead string // with the version and the state to be filled in

// noRoute adds to the refusal of a request that no route takes how to send it.
func noRoute(c *fiber.Ctx) error {
	err := c.Next()
	var refusal *fiber.Error
	if !errors.As(err, &refusal) {
		return err
	}
	method, path := c.Method(), fmt.Sprintf("%.200s", c.Path())
	switch refusal.Code {
	case fiber.StatusMethodNotAllowed:
		text := fmt.Sprintf("%s is not for %s: use %s", method, path, c.Response().Header.Peek(fiber.HeaderAllow))
		if method == fiber.MethodOptions {
			text += "; --cors-origins says which pages in browsers may"
		}
		return fiber.NewError(refusal.Code, text)
	case fiber.StatusNotFound:
		if strings.Contains(path, "//") {
			path += ": it has two slashes in a row"
		}
		return fiber.NewError(refusal.Code, fmt.Sprintf("there is no %s; GET / lists what is there", path))
	}
	return err
}
