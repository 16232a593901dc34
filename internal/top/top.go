// Package top is pingline top: how an ingester does, on a screen that is drawn anew every
// second, for somebody who is on a server by ssh.
//
// All it shows comes from GET /v1/status of the ingester. A number that is not of now is
// shown as one that was, with its age, or not at all.
package top

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pingline/internal/command"
	"pingline/internal/dial"
	"pingline/internal/terminal"
)

// PanelCmd shows how an ingester does.
type PanelCmd struct {
	Target string                  `default:"http://localhost:8080" placeholder:"URL" help:"URL of the ingester."`
	Every  time.Duration           `default:"1s" help:"Time between two looks, 1s to 1m."`
	Once   bool                    `help:"Print one screen of plain text; the exit status is 0 if pings are taken, and 1 if not."`
	JSON   bool                    `name:"json" help:"Print the answer of GET /v1/status to each look, a line each."`
	Header []command.RequestHeader `sep:"none" placeholder:"NAME: VALUE" help:"Sent with each request, such as one with a password for a proxy. Repeated."`

	dial.Flags `embed:""`
}

// Help also describes top without a terminal.
func (*PanelCmd) Help() string {
	return "q or Ctrl-C ends it. In a pipe or a file it prints a line each look."
}

// Validate is called by the parser.
func (c *PanelCmd) Validate() error {
	if c.Every < time.Second || c.Every > time.Minute {
		return fmt.Errorf("--every: %v is not in [1s, 1m]", c.Every)
	}
	if err := command.CheckTarget(c.Target); err != nil {
		return err
	}
	return c.Check(c.Target)
}

// Run shows the ingester until the user has seen enough, or once.
func (c *PanelCmd) Run(p *command.Program) error {
	s, err := newSource(c.Target, c.Header, &c.Flags)
	if err != nil {
		return command.Unusable(err)
	}
	switch {
	case c.Once:
		return c.once(p, s)
	case c.JSON || !terminal.Is(p.Stdout):
		return c.lines(p, s)
	}
	return c.interactive(p, s)
}

// once prints one screen, or one answer.
func (c *PanelCmd) once(p *command.Program, s *source) error {
	a, err := s.get(p)
	if err != nil {
		return err
	}
	l := newLookout(s.name, c.Every)
	l.took(time.Now(), a, nil)
	if c.JSON {
		_, err = fmt.Fprintf(p.Stdout, "%s\n", a.text)
	} else {
		_, err = fmt.Fprint(p.Stdout, plain(l.page(time.Now(), terminal.MaxWidth, 0)))
	}
	if err == nil && !a.Ready {
		err = fmt.Errorf("the ingester takes no pings: %s", printable(a.Reason))
	}
	return err
}

// lines prints a line each look until the program's context ends. It fails if the first
// answer is not one of Pingline.
func (c *PanelCmd) lines(p *command.Program, s *source) error {
	l := newLookout(s.name, c.Every)
	tick := time.NewTicker(c.Every)
	defer tick.Stop()
	for first := true; ; first = false {
		a, err := s.get(p)
		if p.Err() != nil {
			return nil
		}
		if failure := new(lookError); first && errors.As(err, &failure) && failure.unfit {
			return err
		}
		told := l.away
		now := time.Now()
		l.took(now, a, err)
		if first && !c.JSON {
			_, _ = fmt.Fprintln(p.Stdout, lineHead)
		}
		switch {
		case !c.JSON:
			_, err = fmt.Fprintln(p.Stdout, l.line(now))
		case err == nil:
			_, err = fmt.Fprintf(p.Stdout, "%s\n", a.text)
		default:
			if err = nil; told.IsZero() {
				fmt.Fprintln(p.Stderr, "pingline:", l.why())
			}
		}
		if err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-p.Done():
			return nil
		}
	}
}

// get asks for the status, and ends with ctx.
func (s *source) get(ctx context.Context) (*look, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return s.ask(ctx)
}
