package server

import (
	"cmp"
	"time"

	"github.com/gofiber/fiber/v2"

	"pingline/ingest/server/share"
)

// Leave makes /readyz refuse, so that a load balancer sends its clients elsewhere. All
// else goes on.
func (s *Server) Leave() { s.leaves.Store(true) }

// Unready returns why no pings should be sent to this server, or "".
func (s *Server) Unready() string {
	if s.leaves.Load() {
		return "about to stop"
	}
	return s.cfg.Writer.Unready()
}

// readiness is the answer of /readyz. There are no notes for whoever may not ask for all.
type readiness struct {
	Ready  bool     `json:"ready"`
	Reason string   `json:"reason,omitempty"`
	Level  int      `json:"level"`
	Notes  []string `json:"notes"`
}

func (s *Server) health(c *fiber.Ctx) error {
	return c.SendString("ok\n")
}

// ready answers 200 while pings are being accepted.
func (s *Server) ready(c *fiber.Ctx) error {
	notes := append([]string{}, s.over.Notes()...)
	if note := s.bringers.Most(int(60*cmp.Or(s.cfg.NewRidersRate, usualNewRiders)), share.IfProxy, time.Now()); note != "" {
		notes = append(notes, note)
	}
	notes = append(notes, s.held.Notes(time.Now())...)
	if s.over.Level() > 0 {
		notes = append(notes, s.top.Notes(time.Now())...)
	}
	if s.cfg.Notes != nil {
		notes = append(notes, s.cfg.Notes()...)
	}
	if !s.guard.Ask(c).Fleet() { // they name clients and stores
		notes = []string{}
	}
	state := readiness{Ready: true, Level: s.over.Level(), Notes: notes}
	if reason := s.Unready(); reason != "" {
		state.Ready, state.Reason = false, reason
		c.Status(fiber.StatusServiceUnavailable)
		c.Set(fiber.HeaderRetryAfter, retryAfter())
	}
	return c.JSON(state)
}
