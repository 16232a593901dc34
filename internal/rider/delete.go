package rider

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"time"

	"pingline/internal/command"
	"pingline/internal/node"
	"pingline/internal/operator"
	"pingline/internal/pause"
	"pingline/internal/peers"
	"pingline/internal/rights"
)

// DeleteCmd has a rider removed.
type DeleteCmd struct {
	ID `embed:""`

	Server            string `default:"http://127.0.0.1:9090" placeholder:"URL" help:"Operations listener of the running server."`
	operator.AdminKey `embed:""`

	DataDir string        `placeholder:"DIR" help:"Leave the request in the data directory of a server that does not run: it removes the rider when it starts."`
	Wait    time.Duration `default:"15m" help:"How long to wait until all is removed; the server goes on afterwards. 0: not at all."`
}

// Validate is called by the parser.
func (c *DeleteCmd) Validate() error {
	if err := c.check(); err != nil {
		return err
	}
	if c.Wait < 0 {
		return fmt.Errorf("--wait: %v is below 0", c.Wait)
	}
	if err := operator.CheckServer(c.Server); err != nil {
		return err
	}
	return c.Check(c.Server)
}

// Run asks for the removal, waits, and writes its report to stdout, as JSON.
func (c *DeleteCmd) Run(p *command.Program) error {
	if c.DataDir != "" {
		if err := c.ofParts(); err != nil {
			return err
		}
		m, err := rights.Leave(filepath.Join(c.DataDir, node.RemovalDir), c.ID.ID)
		if err != nil {
			return command.Unusable(fmt.Errorf("--data-dir: %w", err))
		}
		_, err = fmt.Fprintf(p.Stdout, "removal %s is done when the server of %s runs\n", m.ID, c.DataDir)
		return err
	}
	m, err := c.removal(p, http.MethodDelete, []string{"v1", "riders", c.ID.ID}, http.StatusAccepted)
	if err != nil {
		return fmt.Errorf("the server is not asked to remove rider %s: %w", c.ID.ID, err)
	}
	fmt.Fprintf(p.Stderr, "removal %s has begun, and survives a crash of the server\n", m.ID)
	ctx, cancel := context.WithTimeout(p, c.Wait)
	defer cancel()
	if err := c.await(ctx, p, m); err != nil || m.Also == "" {
		return err
	}
	// By the rider's own name: pings from before there were pseudonyms.
	if m, err = c.removal(p, http.MethodGet, []string{"v1", "removals", m.Also}, http.StatusOK); err != nil {
		return err
	}
	return c.await(ctx, p, m)
}

// ofParts returns an error if the directory is of a node with --parts, or of a part: only a node
// that runs knows of which part a rider is.
func (c *DeleteCmd) ofParts() error {
	path, err := filepath.Abs(c.DataDir)
	if err != nil {
		return command.Unusable(fmt.Errorf("--data-dir: %w", err))
	}
	if len(peers.PartsIn(path)) == 0 && !peers.IsPart(path) {
		return nil
	}
	return command.Unusable(fmt.Errorf("--data-dir: %s is of a node with --parts: ask a running node, by --server; it names the node that has the rider", c.DataDir))
}

// await waits until a removal is done, and writes its report.
func (c *DeleteCmd) await(ctx context.Context, p *command.Program, m rights.Removal) error {
	said := ""
	for m.Step != rights.Finished {
		if m.Waits != "" && m.Waits != said {
			said = m.Waits
			fmt.Fprintf(p.Stderr, "done: %s; now: %s\n", m.Step, said)
		}
		if err := pause.For(ctx, 500*time.Millisecond); err != nil {
			return fmt.Errorf("removal %s goes on, %s/v1/removals/%s tells how far it is: %s", m.ID, c.Server, m.ID, said)
		}
		now, err := c.removal(p, http.MethodGet, []string{"v1", "removals", m.ID}, http.StatusOK)
		if err != nil { // the server may be restarting
			said = err.Error()
			continue
		}
		m = now
	}
	enc := json.NewEncoder(p.Stdout)
	enc.SetIndent("", "  ")
	return enc.Encode(m)
}

// removal sends a request, and returns the removal of its answer.
func (c *DeleteCmd) removal(ctx context.Context, method string, path []string, status int) (m rights.Removal, err error) {
	resp, err := c.Ask(ctx, method, c.Server, path, nil, status)
	if err != nil {
		return m, err
	}
	text, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return m, err
	}
	return m, json.Unmarshal(text, &m)
}
