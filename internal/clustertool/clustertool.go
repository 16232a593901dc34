// Package clustertool is pingline cluster: it shows which node has which riders, and has a node give its
// part to another, on the operations listener of that node.
package clustertool

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"pingline/internal/command"
	"pingline/internal/operator"
	"pingline/internal/peers"
	"pingline/internal/unit"
)

// NodeCmds are the commands about nodes that share the riders.
type NodeCmds struct {
	Status OwnersCmd `cmd:"" help:"Show which node has which part of the riders. The exit status is 1 if a part has none."`
	Drain  DrainCmd  `cmd:"" help:"Have a node give its part to one that waits, and end; started again, it takes none."`
	Resume ReturnCmd `cmd:"" help:"Let a node that was drained take a part again."`
}

// clusterNode names a running node, and how its answer is printed.
type clusterNode struct {
	Server string `default:"http://127.0.0.1:9090" placeholder:"URL" help:"Operations listener of the running node."`
	JSON   bool   `name:"json" help:"Print the answer, as JSON."`

	operator.AdminKey `embed:""`
}

// Validate is called by the parser.
func (c *clusterNode) Validate() error {
	if err := operator.CheckServer(c.Server); err != nil {
		return err
	}
	return c.Check(c.Server)
}

// ask asks the node, and prints the answer if that is wanted.
func (c *clusterNode) ask(p *command.Program, method string, path ...string) (s peers.ClusterState, err error) {
	resp, err := c.Ask(p, method, c.Server, path, nil, http.StatusOK, http.StatusNotFound)
	if err != nil {
		return s, err
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return s, err
	}
	if resp.StatusCode == http.StatusNotFound {
		return s, fmt.Errorf("%s shares its riders with no other node (--parts=1), is of an older version, or is no operations listener (--ops-listen)", c.Server)
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return s, fmt.Errorf("%s: %w: is it an operations listener (--ops-listen)?", c.Server, err)
	}
	if c.JSON {
		_, err = p.Stdout.Write(text)
	}
	return s, err
}

// OwnersCmd shows who has the parts.
type OwnersCmd struct {
	Watch       bool `help:"Again every second."`
	clusterNode `embed:""`
}

// Run prints a line a part, and one about the node that was asked.
func (c *OwnersCmd) Run(p *command.Program) error {
	for {
		s, err := c.ask(p, http.MethodGet, "v1", "cluster")
		if err != nil {
			return err
		}
		if !c.JSON {
			show(p.Stdout, &s)
		}
		if !c.Watch {
			return without(&s)
		}
		select {
		case <-p.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}

// without returns an error if a part has no node.
func without(s *peers.ClusterState) error {
	var list []string
	for _, part := range s.Parts {
		if part.Node == "" {
			list = append(list, fmt.Sprint(part.Part))
		}
	}
	if len(list) == 0 {
		return nil
	}
	return fmt.Errorf("no node has part %s: riders of it get 503", strings.Join(list, ", "))
}

func show(w io.Writer, s *peers.ClusterState) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "part\tnode\tpeer\tsince\tlease\tversion\tlevel\twaiting\toldest\tlog")
	for i := range s.Parts {
		part := &s.Parts[i]
		if part.Node == "" {
			fmt.Fprintf(t, "%d\t-\t-\t-\t-\t-\t-\t-\t-\t-\n", part.Part)
			continue
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%v\t%s\n", part.Part, part.Node, part.Peer, part.Since, time.Duration(part.Lease*float64(time.Second)), owner(part.Owner))
	}
	_ = t.Flush() // as any other line
	line := fmt.Sprintf("node %s (%s)", s.Node, s.Version)
	switch {
	case s.Part == nil:
		line += " takes no pings: " + s.Unready
	default:
		line += fmt.Sprintf(" has part %d: level %d, %s for the store, the oldest for %.1f s", *s.Part, s.Level, unit.Plural(s.Queued, "ping waits", "pings wait"), s.QueueAge)
		if s.Unready != "" {
			line += "; " + s.Unready
		}
	}
	fmt.Fprintln(w, line)
	for _, note := range s.Notes {
		fmt.Fprintln(w, "  "+note)
	}
}

// owner returns the columns that an owner tells of itself.
func owner(o *peers.OwnerState) string {
	if o == nil {
		return "-\t-\t-\t-\t-"
	}
	return fmt.Sprintf("%s\t%d\t%d\t%.1f s\t%s of %s", o.Version, o.Level, o.Queued, o.QueueAge, unit.Size(float64(o.LogBytes)), unit.Size(float64(o.LogMost)))
}

// DrainCmd has a node give its part away.
type DrainCmd struct {
	Yes         bool `help:"Do it, without asking."`
	clusterNode `embed:""`
}

// Run asks a person, and drains the node.
func (c *DrainCmd) Run(p *command.Program) error {
	look := c.clusterNode
	look.JSON = false
	s, err := look.ask(p, http.MethodGet, "v1", "cluster")
	if err != nil {
		return err
	}
	if !c.Yes {
		if p.Stdin == nil {
			return command.Unusable(errors.New("--yes is needed where nobody can be asked"))
		}
		show(p.Stderr, &s)
		fmt.Fprintf(p.Stderr, "drain node %s? Unless another node waits, its riders get 503 [y/N] ", s.Node)
		var said string
		_, _ = fmt.Fscanln(p.Stdin, &said) // nothing is a no
		if !strings.HasPrefix(strings.ToLower(said), "y") {
			return errors.New("not done (--yes does it without asking)")
		}
	}
	s, err = c.ask(p, http.MethodPost, "v1", "cluster", "drain")
	if err != nil || c.JSON {
		return err
	}
	if s.Part == nil {
		_, err = fmt.Fprintf(p.Stdout, "node %s takes no part until pingline cluster resume\n", s.Node)
		return err
	}
	_, err = fmt.Fprintf(p.Stdout, "node %s gives part %d away, and ends; started again, it takes none until pingline cluster resume\n", s.Node, *s.Part)
	return err
}

// ReturnCmd undoes DrainCmd.
type ReturnCmd struct {
	clusterNode `embed:""`
}

// Run lets the node take a part.
func (c *ReturnCmd) Run(p *command.Program) error {
	s, err := c.ask(p, http.MethodPost, "v1", "cluster", "resume")
	if err != nil || c.JSON {
		return err
	}
	if s.Part != nil {
		_, err = fmt.Fprintf(p.Stdout, "node %s has part %d\n", s.Node, *s.Part)
		return err
	}
	_, err = fmt.Fprintf(p.Stdout, "node %s takes a part that is free, or waits for one\n", s.Node)
	return err
}
