package main

import (
	"errors"
	"fmt"
	"strings"

	"pingline/internal/node"
	"pingline/internal/unit"
)

// check tells that the settings are fine, and with --connect what serve would find.
func (c *serveCmd) check(p *program) error {
	if !c.Connect {
		_, err := fmt.Fprintln(p.stdout, "configuration is fine")
		return err
	}
	cfg := c.config()
	findings, err := node.Try(p, &cfg)
	if err != nil {
		return err
	}
	failed := 0
	for _, f := range findings {
		state, remedy := "ok", ""
		if f.Remedy != "" {
			failed++
			state, remedy = "failed", "; "+f.Remedy
		}
		line := strings.Join(strings.Fields(f.Found+remedy), " ") // a store's words may have line breaks
		if _, err := fmt.Fprintf(p.stdout, "%-6s  %s: %s: %s\n", state, f.Of, f.What, line); err != nil {
			return err
		}
	}
	if failed == 0 {
		return nil
	}
	return errors.New(unit.Plural(failed, "check failed", "checks failed"))
}
