package main

import (
	"errors"
	"fmt"
	"strings"

	"pingline/internal/node"
	"pingline/internal/unit"
)

// check prints that the settings are valid, and with --connect the result of each
// check of stores, disk and files.
func (c *serveCmd) check(p *program) error {
	if !c.Connect {
		_, err := fmt.Fprintln(p.Stdout, "configuration is fine")
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
		line := strings.Join(strings.Fields(f.Found+remedy), " ") // a store's text may have line breaks
		if _, err := fmt.Fprintf(p.Stdout, "%-6s  %s: %s: %s\n", state, f.Of, f.What, line); err != nil {
			return err
		}
	}
	if failed == 0 {
		return nil
	}
	return errors.New(unit.Plural(failed, "check failed", "checks failed"))
}
