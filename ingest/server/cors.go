package server

import (
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"
)

const corsExposed = "Retry-After, Pingline-Shed-Level, Date"

// cors lets pages of some origins, or of "*", send and read. A page shows its key in a
// header Authorization that it sets itself. What a browser would add by itself, such as a
// cookie, is never asked for: Access-Control-Allow-Credentials is not sent.
func cors(origins []string) fiber.Handler {
	return func(c *fiber.Ctx) error {
		all := slices.Contains(origins, "*")
		if !all {
			c.Vary(fiber.HeaderOrigin)
		}
		origin := c.Get(fiber.HeaderOrigin)
		asks := c.Method() == fiber.MethodOptions && c.Get(fiber.HeaderAccessControlRequestMethod) != ""
		if origin == "" || !all && !slices.ContainsFunc(origins, func(o string) bool { return strings.EqualFold(o, origin) }) {
			return c.Next()
		}
		if all {
			origin = "*"
		}
		c.Set(fiber.HeaderAccessControlAllowOrigin, origin)
		c.Set(fiber.HeaderAccessControlExposeHeaders, corsExposed)
		if !asks {
			return c.Next()
		}
		c.Vary(fiber.HeaderAccessControlRequestMethod, fiber.HeaderAccessControlRequestHeaders)
		c.Set(fiber.HeaderAccessControlAllowMethods, "GET, HEAD, POST")
		if names := c.Get(fiber.HeaderAccessControlRequestHeaders); names != "" {
			c.Set(fiber.HeaderAccessControlAllowHeaders, names)
		}
		c.Set(fiber.HeaderAccessControlMaxAge, "7200") // seconds: the longest that browsers keep it
		c.Status(fiber.StatusNoContent)
		return nil
	}
}
