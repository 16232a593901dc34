package resharding

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"pingline/sink/reshard"
)

// drive makes a step in all parts. It is the node of part 0 that does.
func (c *Changes) drive(ctx context.Context, e *reshard.Eras, step string, r *ChangeRequest) (any, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	set := orMain(r.Set)
	if step == "pause" || step == "resume" {
		return c.moved(ctx, e, step, r)
	}
	all, err := c.stands(ctx, set)
	if err != nil {
		return nil, err
	}
	switch step {
	case "plan":
		if err := sameBefore(c.cfg.Across.say, all, nil); err != nil {
			return nil, err
		}
		c.steps.Lock()
		defer c.steps.Unlock()
		if r, err = localized(r, e.Shards(), c.known, c.cfg.Place); err != nil {
			return nil, err
		}
		return c.plan(ctx, e, r)
	case "start":
		return c.startAll(ctx, e, r, all)
	case "cut":
		return c.cutAll(ctx, e, r, all)
	case "finish":
		return c.finishAll(ctx, r, all)
	case "abort":
		return c.abortAll(ctx, e, r, all)
	}
	if step == "delete" {
		for part, s := range all {
			if s.ID != all[0].ID || s.Phase != reshard.Settled {
				return nil, &reshard.RefusedError{Why: fmt.Sprintf("%s is in phase %s of %s: pingline reshard finish comes first", c.cfg.Across.say(part), s.Phase, orNone(s.ID))}
			}
		}
	}
	return c.moved(ctx, e, step, r)
}

// moved makes a step that changes nothing but history, which this node moves for all.
func (c *Changes) moved(ctx context.Context, e *reshard.Eras, step string, r *ChangeRequest) (any, error) {
	for _, s := range c.historySteps() {
		if s.step == step {
			if _, err := s.do(ctx, e, r); err != nil {
				return nil, err
			}
			return c.wholeStatus(ctx, e), nil
		}
	}
	return nil, &reshard.RefusedError{Why: fmt.Sprintf("%q is no step that this node knows", step)}
}

// stands returns how far all parts are. The error names the parts without an answer.
func (c *Changes) stands(ctx context.Context, set string) ([]*partStand, error) {
	all := make([]*partStand, c.cfg.Across.Parts)
	errs := c.eachPart(ctx, partQuestion{Do: "stand", Set: set}, quick, func(part int) any {
		all[part] = new(partStand)
		return all[part]
	})
	for _, err := range errs {
		if err != nil {
			return nil, err // one is enough: the rest is in status
		}
	}
	return all, nil
}

func (c *Changes) startAll(ctx context.Context, e *reshard.Eras, r *ChangeRequest, all []*partStand) (*ChangePlan, error) {
	now, say := going(all), c.cfg.Across.say
	if now != nil && !slices.ContainsFunc(all, func(s *partStand) bool { return s.ID != now.ID }) {
		return nil, &reshard.RefusedError{Why: fmt.Sprintf("%s (%s) is going on, in phase %s: finish or abort it first", now.ID, now.Status.Do, now.Phase)}
	}
	if err := sameBefore(say, all, now); err != nil {
		return nil, err
	}
	var p *ChangePlan
	var err error
	c.steps.Lock()
	if now != nil {
		p, err = c.goOn(e, r, now)
	} else {
		p, err = c.begin(ctx, e, r, newest(all)+1)
	}
	c.steps.Unlock()
	if err != nil {
		return nil, err
	}
	q := partQuestion{Set: orMain(r.Set), ID: p.ID, Request: r, Texts: textsOf(r)}
	if err := c.prepareAll(ctx, &q, p); err != nil {
		c.notAhead(ctx, q.Set)
		return nil, err
	}
	q.Do = "start"
	for part := range all {
		var from uint64
		if err := c.askPart(ctx, part, q, slowly, &from); err != nil {
			return nil, later(part, err, "repeat the same start, or abort")
		}
		if part == 0 {
			p.From = from
		}
	}
	c.mover(orMain(r.Set)).Look()
	return p, nil
}

// begin plans a change of which no part has begun.
func (c *Changes) begin(ctx context.Context, e *reshard.Eras, r *ChangeRequest, number int) (*ChangePlan, error) {
	for name, text := range textsOf(r) {
		if _, after, _ := strings.Cut(keyIn(text, "url"), "://"); strings.Contains(before(after, "@"), ":") && strings.Contains(after, "@") {
			return nil, &reshard.RefusedError{Why: fmt.Sprintf("shard %s: its url has a password, and would be kept with the logs: give a token-file, or name it in --shard of all nodes", name)}
		}
	}
	o, fresh, err := c.orderHere(e, r)
	if err != nil {
		return nil, err
	}
	defer c.closeAll(fresh) // it is opened again to be kept
	o.ID = fmt.Sprint("r-", number)
	p, err := c.look(ctx, e, r, &o, fresh)
	if err == nil && !r.Force {
		err = unfit(p.Shards)
	}
	if err == nil {
		err = c.ready(r, "another change")
	}
	return p, err
}

// goOn returns the plan of a change that some parts have begun, if it is the one that is asked for.
func (c *Changes) goOn(e *reshard.Eras, r *ChangeRequest, now *partStand) (*ChangePlan, error) {
	o := reshard.Order{}
	if err := historyOf(r, &o); err != nil {
		return nil, &reshard.RefusedError{Why: err.Error()}
	}
	d := reshard.Intent{ID: now.ID, Do: now.Status.Do, Old: now.Old, New: now.New, Mirrored: now.Mirrors, Move: now.Move}
	if asked := doing(r); asked != d.Do || (o.Move == nil) != (d.Move == nil) {
		return nil, &reshard.RefusedError{Why: fmt.Sprintf("%s (%s) is going on, in phase %s: finish or abort it first", d.ID, d.Do, now.Phase)}
	}
	if rec := e.Record(); rec.ID == now.ID && rec.Phase != reshard.Settled && rec.New.String() != d.New.String() {
		return nil, errors.New("parts disagree on the layout of " + d.ID + ": abort it")
	}
	return &ChangePlan{Intent: d}, nil
}

// notAhead takes back prepareAll, as far as parts answer. A part without it reads a shard that is empty.
func (c *Changes) notAhead(ctx context.Context, set string) {
	_ = c.eachPart(ctx, partQuestion{Do: "not ahead", Set: set}, quick, func(int) any { return nil })
}

// prepareAll has all parts know and read new shards before any has rows there.
func (c *Changes) prepareAll(ctx context.Context, q *partQuestion, p *ChangePlan) error {
	ask := *q
	ask.Do = "prepare"
	got := make([]prepared, c.cfg.Across.Parts)
	errs := c.eachPart(ctx, ask, slowly, func(part int) any { return &got[part] })
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	say := c.cfg.Across.say
	for part := range got {
		if got[part].New != p.New.String() {
			return &reshard.RefusedError{Why: fmt.Sprintf("%s would write to %s, and %s to %s", say(part), got[part].New, say(0), p.New)}
		}
		if err := samePlaces(say, p.New.Names(), 0, got[0].Shards, part, got[part].Shards); err != nil {
			return err
		}
	}
	return nil
}

// inStep returns the change that is going on; an error names a part that has not begun it.
func (c *Changes) inStep(all []*partStand, step string) (*partStand, error) {
	now := going(all)
	if now == nil {
		return nil, &reshard.RefusedError{Why: fmt.Sprintf("there is nothing to %s in phase %s", step, reshard.Settled)}
	}
	for part, s := range all {
		if reshard.Number(s.ID) < reshard.Number(now.ID) {
			return nil, &reshard.RefusedError{Why: fmt.Sprintf("%s has not begun %s (%s): repeat its start, or abort", c.cfg.Across.say(part), now.ID, now.Status.Do)}
		}
		if s.ID == now.ID && s.Phase == reshard.Settled && s.InForce.String() == now.Old.String() {
			return nil, &reshard.RefusedError{Why: fmt.Sprintf("%s has aborted %s, and writes to %s alone: abort", c.cfg.Across.say(part), now.ID, now.Old)}
		}
	}
	for part, s := range all {
		if err := samePlaces(c.cfg.Across.say, join(now.Old.Names(), now.New.Names()), 0, all[0].Shards, part, s.Shards); err != nil {
			return nil, err
		}
	}
	return now, nil
}

func (c *Changes) cutAll(ctx context.Context, e *reshard.Eras, r *ChangeRequest, all []*partStand) (any, error) {
	now, err := c.inStep(all, "cut over")
	if err != nil {
		return nil, err
	}
	dual := false
	for part, s := range all {
		switch {
		case s.Phase == reshard.Settled:
			return nil, &reshard.RefusedError{Why: fmt.Sprintf("%s has finished %s: finish", c.cfg.Across.say(part), now.ID)}
		case s.Phase != reshard.Dual:
			continue
		case s.Unready != "" && !r.Force:
			err := error(&reshard.RefusedError{Why: fmt.Sprintf("%s: %s: wait, or --force", c.cfg.Across.say(part), s.Unready)})
			// History fills what a mirror gave up, as long as part 0 has not cut over.
			if s.Status.MirrorLetters == 0 && (len(s.LetGo) == 0 || now.Move != nil && all[0].Phase == reshard.Dual) {
				err = waitError{err}
			}
			return nil, err
		}
		dual = true
	}
	if !dual {
		return nil, &reshard.RefusedError{Why: fmt.Sprintf("there is nothing to cut over in phase %s", reshard.Cut)}
	}
	if err := c.ready(r, "cut"); err != nil {
		return nil, err
	}
	return c.inTurn(ctx, e, "cut", now.ID, r, all)
}

// inTurn makes a step of all parts, one after the other.
func (c *Changes) inTurn(ctx context.Context, e *reshard.Eras, step, id string, r *ChangeRequest, all []*partStand) (any, error) {
	for part := range all {
		if err := c.askPart(ctx, part, partQuestion{Do: step, Set: orMain(r.Set), ID: id, Request: r}, slowly, nil); err != nil {
			return nil, later(part, err, "repeat it")
		}
	}
	return c.wholeStatus(ctx, e), nil
}

func (c *Changes) finishAll(ctx context.Context, r *ChangeRequest, all []*partStand) (any, error) {
	now, err := c.inStep(all, "finish")
	if err != nil {
		return nil, err
	}
	for part, s := range all {
		if s.Phase == reshard.Dual {
			return nil, &reshard.RefusedError{Why: fmt.Sprintf("%s is in phase %s: cut over first", c.cfg.Across.say(part), reshard.Dual)}
		}
	}
	return c.toEnd(ctx, "finish", now, r, all)
}

func (c *Changes) abortAll(ctx context.Context, e *reshard.Eras, r *ChangeRequest, all []*partStand) (any, error) {
	m := c.mover(orMain(r.Set))
	if now := going(all); now == nil && r.Clean {
		if again, err := m.Again(); again {
			if err != nil {
				return nil, err
			}
			return c.wholeStatus(ctx, e), nil
		}
	}
	now := going(all)
	if now == nil {
		c.notAhead(ctx, orMain(r.Set))
		return nil, &reshard.RefusedError{Why: fmt.Sprintf("there is nothing to abort in phase %s", reshard.Settled)}
	}
	for part, s := range all {
		switch {
		case s.ID == now.ID && s.Phase == reshard.Settled && s.InForce.String() == now.New.String():
			return nil, &reshard.RefusedError{Why: fmt.Sprintf("%s has finished %s, and writes to %s alone: finish", c.cfg.Across.say(part), now.ID, now.New)}
		case r.Clean && s.Phase == reshard.Cut:
			return nil, &reshard.RefusedError{Why: fmt.Sprintf("--clean: since the cut, rows of %s are written to the new shards in the first place, and they are kept: abort without it", c.cfg.Across.say(part))}
		case r.Clean && now.Move == nil:
			return nil, &reshard.RefusedError{Why: fmt.Sprintf("--clean: %s copies no history: abort without it", now.ID)}
		}
	}
	if r.Clean {
		if err := m.Cleanable(); err != nil {
			return nil, err
		}
	}
	return c.toEnd(ctx, "abort", now, r, all)
}

// toEnd ends a change in all parts, and has each read what any of them has to read.
func (c *Changes) toEnd(ctx context.Context, step string, now *partStand, r *ChangeRequest, all []*partStand) (any, error) {
	e := c.cfg.Sinks.Of(orMain(r.Set))
	got, err := c.inTurn(ctx, e, step, now.ID, r, all)
	if err != nil {
		return nil, err
	}
	ended, err := c.stands(ctx, orMain(r.Set))
	if err != nil {
		return got, nil //nolint:nilerr // the step is made; nodes tell each other what they read
	}
	var names []string
	for _, s := range ended {
		for _, name := range s.Read {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	_ = c.eachPart(ctx, partQuestion{Do: "read", Set: orMain(r.Set), Names: names}, quick, func(int) any { return nil })
	return c.wholeStatus(ctx, e), nil
}
