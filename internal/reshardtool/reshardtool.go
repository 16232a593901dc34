// Package reshardtool is pingline reshard: it changes the shards of a node while it runs, on the
// operations listener of that node.
package reshardtool

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"pingline/internal/command"
	"pingline/internal/operator"
	"pingline/internal/pause"
	"pingline/internal/resharding"
	"pingline/internal/unit"
	"pingline/sink/reshard"
)

// ShardCmds are the commands that change shards.
type ShardCmds struct {
	Plan   PlanCmd   `cmd:"" help:"Show what a change would do, and look whether new shards are fit for it."`
	Start  StartCmd  `cmd:"" help:"Start a change: rows are spread anew from now on; where shards are taken out, both ways."`
	Status StatusCmd `cmd:"" help:"Show how far a change is."`
	Pause  PauseCmd  `cmd:"" help:"Have the moving of history stand, also over a restart."`
	Resume ResumeCmd `cmd:"" help:"Have it go on."`
	Verify VerifyCmd `cmd:"" help:"Compare history that was moved, copy again what differs, and show the result."`
	Cut    CutCmd    `cmd:"" help:"Put the new shards in force, where shards are taken out or history is moved."`
	Finish FinishCmd `cmd:"" help:"End a change: only the new shards are written."`
	Delete ClearCmd  `cmd:"" help:"Delete from the old shards the history that was moved."`
	Abort  AbortCmd  `cmd:"" help:"Put the old shards in force again."`
}

// shardNode names a running node, and how its answer is printed.
type shardNode struct {
	Server string `default:"http://127.0.0.1:9090" placeholder:"URL" help:"Operations listener of the running node."`
	JSON   bool   `name:"json" help:"Print the answer, as JSON."`

	operator.AdminKey `embed:""`
}

// Validate is called by the parser.
func (c *shardNode) Validate() error {
	if err := operator.CheckServer(c.Server); err != nil {
		return err
	}
	return c.Check(c.Server)
}

// setName names a set of shards.
type setName struct {
	Set string `default:"main" placeholder:"NAME" help:"Set of shards that is changed."`
}

// shardChange is a change. One flag may have several values, with spaces or in several flags.
type shardChange struct {
	setName `embed:""`

	Add     []string `sep:" " placeholder:"SHARD" help:"Shard to add: its name, or name=…,url=…,weight=… as in --shard."`
	Remove  []string `sep:" " placeholder:"NAME" help:"Shard to take out."`
	Weight  []string `sep:" " placeholder:"NAME=WEIGHT" help:"New weight of a shard."`
	Replace []string `sep:" " placeholder:"OLD=NEW" help:"Shard to put in the place of another: OLD=NAME, or OLD=name=…,url=…."`

	History string  `enum:"none,move" default:"none" help:"History that the new shards should have: none stays where it is, move copies it there; one of ${enum}."`
	Rate    float64 `default:"20000" placeholder:"ROWS/S" help:"Most rows of history a second, and less while a store answers more slowly than before; 0: as fast as the stores are."`
}

func (w *shardChange) check() error {
	if len(w.Add)+len(w.Remove)+len(w.Weight)+len(w.Replace) == 0 {
		return errors.New("give a change: --add, --remove, --weight or --replace")
	}
	if !(w.Rate >= 0 && w.Rate <= 1e9) {
		return fmt.Errorf("--rate: %v is not in [0, 1000000000]", w.Rate)
	}
	return nil
}

func (w *shardChange) request(force bool) *resharding.ChangeRequest {
	return &resharding.ChangeRequest{Set: w.Set, Add: w.Add, Remove: w.Remove, Weight: w.Weight, Replace: w.Replace, History: w.History, Rate: &w.Rate, Force: force}
}

// ask asks the node for a step, and copies the answer if it is to be printed.
func (c *shardNode) ask(p *command.Program, step string, body *resharding.ChangeRequest, into any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	return c.get(p, http.MethodPost, []string{"v1", "reshard", step}, bytes.NewReader(b), into)
}

func (c *shardNode) get(p *command.Program, method string, path []string, body io.Reader, into any) error {
	resp, err := c.Send(p, method, c.Server, path, nil, body, http.StatusOK)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return err
	}
	if c.JSON {
		_, err = p.Stdout.Write(text)
		return err
	}
	return json.Unmarshal(text, into)
}

// yes is the consent to a change.
type yes struct {
	Yes bool `help:"Do it, without asking."`
}

// agreed asks a person, and returns an error unless there is one who agrees.
func (y *yes) agreed(p *command.Program, question string) error {
	if y.Yes {
		return nil
	}
	if p.Stdin == nil {
		return command.Unusable(errors.New("--yes is needed where nobody can be asked"))
	}
	fmt.Fprintf(p.Stderr, "%s [y/N] ", question)
	var answer string
	_, _ = fmt.Fscanln(p.Stdin, &answer) // nothing is a no
	if !strings.HasPrefix(strings.ToLower(answer), "y") {
		return errors.New("not done (--yes does it without asking)")
	}
	return nil
}

// PlanCmd shows a plan.
type PlanCmd struct {
	shardChange `embed:""`
	shardNode   `embed:""`
}

// Validate is called by the parser.
func (c *PlanCmd) Validate() error { return errors.Join(c.check(), c.shardNode.Validate()) }

// Run prints the plan.
func (c *PlanCmd) Run(p *command.Program) error {
	var plan resharding.ChangePlan
	if err := c.ask(p, "plan", c.request(false), &plan); err != nil || c.JSON {
		return err
	}
	show(p.Stdout, &plan)
	return nil
}

// show prints a plan.
func show(w io.Writer, plan *resharding.ChangePlan) {
	fmt.Fprintf(w, "%s: %s\n", plan.ID, plan.Do)
	fmt.Fprintf(w, "  in force  %v\n  then      %v\n", plan.Old, plan.New)
	of := "keys of all"
	if plan.Cells {
		of = "cells in which riders are"
	}
	fmt.Fprintf(w, "  moves %.1f %% of keys (%d of %d %s)\n", 100*float64(plan.Moved)/float64(max(plan.Of, 1)), plan.Moved, plan.Of, of)
	if plan.Mirrored {
		fmt.Fprintln(w, "  both are written until cut and finish")
	}
	if plan.History != nil {
		showWeight(w, plan.History)
	}
	for _, f := range plan.Shards {
		for _, one := range f.Findings {
			fmt.Fprintf(w, "  %s: %s: %s\n", f.Shard, one.What, one.Found)
			if one.Remedy != "" {
				fmt.Fprintf(w, "    to do: %s\n", one.Remedy)
			}
		}
	}
	for _, note := range plan.Notes {
		fmt.Fprintf(w, "  %s\n", note)
	}
}

// StartCmd starts a change.
type StartCmd struct {
	shardChange `embed:""`
	yes         `embed:""`
	Force       bool `help:"Also where a new shard is not as it should be."`
	shardNode   `embed:""`
}

// Validate is called by the parser.
func (c *StartCmd) Validate() error { return errors.Join(c.check(), c.shardNode.Validate()) }

// Run shows the plan, and starts the change.
func (c *StartCmd) Run(p *command.Program) error {
	var plan resharding.ChangePlan
	if !c.Yes {
		look := *c
		look.JSON = false
		if err := look.ask(p, "plan", c.request(false), &plan); err != nil {
			return err
		}
		show(p.Stderr, &plan)
	}
	if err := c.agreed(p, "start?"); err != nil {
		return err
	}
	if err := c.ask(p, "start", c.request(c.Force), &plan); err != nil || c.JSON {
		return err
	}
	show(p.Stdout, &plan)
	fmt.Fprintf(p.Stdout, "started, from commit %d of the log\n", plan.From)
	switch {
	case plan.Move != nil:
		fmt.Fprintln(p.Stdout, "next: pingline reshard status --watch, then pingline reshard cut, or abort")
	case plan.Mirrored:
		fmt.Fprintln(p.Stdout, "next: pingline reshard cut, or abort")
	default:
		fmt.Fprintln(p.Stdout, "next: pingline reshard finish, or abort")
	}
	return nil
}

// StatusCmd shows how far changes are.
type StatusCmd struct {
	Watch     bool `help:"Again every second."`
	shardNode `embed:""`
}

// Run prints a line a set.
func (c *StatusCmd) Run(p *command.Program) error {
	for {
		var list []resharding.ChangeStatus
		if err := c.get(p, http.MethodGet, []string{"v1", "reshard"}, nil, &list); err != nil {
			return err
		}
		for i := range list {
			showStatus(p.Stdout, &list[i])
		}
		if !c.Watch {
			return nil
		}
		select {
		case <-p.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}

// Line describes a change in a line.
func Line(s *reshard.SetStatus) string {
	text := fmt.Sprintf("set %s · %v", s.Set, s.InForce)
	if s.ID != "" {
		text = fmt.Sprintf("set %s · %s %s · %s · %v", s.Set, s.ID, s.Do, s.Phase, s.InForce)
	}
	if s.Remaining > 0 {
		text += fmt.Sprintf(" · %s of before wait", unit.Plural(s.Remaining, "row", "rows"))
	}
	if s.Mirror {
		text += fmt.Sprintf(" · mirror %.1f s behind (%s)", s.MirrorSeconds, unit.Plural(s.MirrorQueued, "row", "rows"))
	}
	if s.MirrorLetters > 0 {
		text += fmt.Sprintf(" · %s of the mirror", unit.Plural(s.MirrorLetters, "dead letter", "dead letters"))
	}
	if len(s.LetGo) > 0 {
		text += " · the mirror gave up rows of " + strings.Join(s.LetGo, ", ")
	}
	if len(s.ReadOnly) > 0 {
		text += " · read only: " + strings.Join(s.ReadOnly, ", ")
	}
	if len(s.Idle) > 0 {
		text += " · idle: " + strings.Join(s.Idle, ", ")
	}
	return text
}

// stepCmd is a step that takes nothing but a set.
type stepCmd struct {
	setName   `embed:""`
	yes       `embed:""`
	shardNode `embed:""`
}

// run asks for a step, if a person agrees.
func (c *stepCmd) run(p *command.Program, name string, body resharding.ChangeRequest) error {
	if err := c.agreed(p, name+"?"); err != nil {
		return err
	}
	return c.send(p, name, body)
}

// send asks for a step; a harmless one needs no consent. While the node says that it is too
// early it is asked again.
func (c *stepCmd) send(p *command.Program, name string, body resharding.ChangeRequest) error {
	body.Set = c.Set
	var s resharding.ChangeStatus
	for said := ""; ; {
		err := c.ask(p, name, &body, &s)
		_, why, early := strings.Cut(fmt.Sprint(err), fmt.Sprintf(": %d %s: ", http.StatusTooEarly, http.StatusText(http.StatusTooEarly)))
		switch {
		case err == nil && !c.JSON:
			showStatus(p.Stdout, &s)
			return nil
		case err == nil || !early:
			return err
		case why != said:
			fmt.Fprintln(p.Stderr, "waits:", why)
			said = why
		}
		if err := pause.For(p, time.Second); err != nil {
			return err
		}
	}
}

// CutCmd puts the new shards in force.
type CutCmd struct {
	Force   bool `help:"Also where the new shards lack rows, or are behind: readers ask both."`
	stepCmd `embed:""`
}

// Run cuts over.
func (c *CutCmd) Run(p *command.Program) error {
	return c.run(p, "cut", resharding.ChangeRequest{Force: c.Force})
}

// FinishCmd ends a change.
type FinishCmd struct {
	stepCmd `embed:""`
}

// Run ends it.
func (c *FinishCmd) Run(p *command.Program) error {
	return c.run(p, "finish", resharding.ChangeRequest{})
}

// AbortCmd goes back.
type AbortCmd struct {
	Clean   bool `help:"Delete from the new shards what was copied there, of which the old ones have every row; before cut only."`
	stepCmd `embed:""`
}

// Run goes back.
func (c *AbortCmd) Run(p *command.Program) error {
	return c.run(p, "abort", resharding.ChangeRequest{Clean: c.Clean})
}
