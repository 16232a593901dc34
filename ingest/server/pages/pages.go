// Package pages has browsers answered by the pages of the binary, and leaves all else to the
// routes behind it. It knows no page: who sets the server up gives it a function that answers.
package pages

import (
	"io"
	"strings"

	"github.com/gofiber/fiber/v2"
)

// Responder answers GET of a path, given the header of the request: status, header, and a body of
// size bytes. Its status is 404, and the rest empty, for what it does not have.
type Responder func(path string, request func(name string) string) (status int, header map[string]string, body io.Reader, size int)

// Serve has app answer GET of / to browsers, and GET of the paths of pages to all.
func Serve(app *fiber.App, answer Responder) {
	for _, path := range []string{"/", "/map/*", "/phone", "/phone/*"} {
		app.Get(path, answer.serve)
	}
}

func (answer Responder) serve(c *fiber.Ctx) error {
	if c.Path() == "/" {
		c.Vary(fiber.HeaderAccept)
		if !strings.Contains(c.Get(fiber.HeaderAccept), fiber.MIMETextHTML) {
			return c.Next()
		}
	}
	status, header, body, size := answer(c.Path(), func(name string) string { return c.Get(name) })
	if status == fiber.StatusNotFound {
		return c.Next()
	}
	for name, value := range header {
		if name == fiber.HeaderVary {
			c.Vary(value)
			continue
		}
		c.Set(name, value)
	}
	c.Status(status)
	if body == nil {
		return nil
	}
	return c.SendStream(body, size)
}
