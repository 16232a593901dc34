// Package schema is pingline schema: it prints the statements that make the tables of a kind
// of store. It connects to nothing.
package schema

import (
	"fmt"
	"strings"

	"pingline/internal/command"
	"pingline/internal/node"
)

// PrintCmd prints statements.
type PrintCmd struct {
	Kind string `arg:"" help:"Kind of store: cassandra, clickhouse or postgres."`

	ServerVersion string `placeholder:"VERSION" env:"-" help:"Version of a ClickHouse, such as 18.16 (default: the newest)."`
}

// Run prints the statements, each with a semicolon.
func (c *PrintCmd) Run(p *command.Program) error {
	statements, err := node.Schema(c.Kind, c.ServerVersion)
	if err != nil {
		return command.Unusable(err)
	}
	_, err = fmt.Fprintln(p.Stdout, strings.Join(statements, ";\n\n")+";")
	return err
}
