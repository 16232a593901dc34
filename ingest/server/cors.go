package server

import (
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"
)

const (
	corsMethods = "GET, HEAD, POST"
	corsExposed = "Retry-After, Pingline-Shed-Level, Date"
	corsMaxAge  = "7200" // seconds: browsers keep it no longer
)

// cors lets pages of the origins in the configuration send and read. A page sends no
// credentials of its own: there are none.
func (s *Server) cors(c *fiber.Ctx) error {
	all := slices.Contains(s.cfg.CORSOrigins, "*")
	if !all {
		c.Vary(fiber.HeaderOrigin)
	}
	origin := c.Get(fiber.HeaderOrigin)
	asks := c.Method() == fiber.MethodOptions && c.Get(fiber.HeaderAccessControlRequestMethod) != ""
	if origin == "" || !all && !slices.ContainsFunc(s.cfg.CORSOrigins, func(o string) bool { return strings.EqualFold(o, origin) }) {
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
	c.Set(fiber.HeaderAccessControlAllowMethods, corsMethods)
	if names := c.Get(fiber.HeaderAccessControlRequestHeaders); names != "" {
		c.Set(fiber.HeaderAccessControlAllowHeaders, names)
	}
	c.Set(fiber.HeaderAccessControlMaxAge, corsMaxAge)
	c.Status(fiber.StatusNoContent)
	return nil
}
