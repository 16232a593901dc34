package resharding

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"pingline/sink/reshard"
)

// Tell returns the function that answers the questions of other nodes, of which those for others go to
// next.
func (c *Changes) Tell(next func(question, dst []byte) ([]byte, error)) func(question, dst []byte) ([]byte, error) {
	return func(question, dst []byte) ([]byte, error) {
		if len(question) == 0 || question[0] != partMark {
			return next(question, dst)
		}
		var q partQuestion
		err := json.Unmarshal(question[1:], &q)
		switch {
		case err != nil:
			return nil, fmt.Errorf("a question about shards: %w", err)
		case q.Form != partForm:
			return nil, fmt.Errorf("a question about shards of form %d, this node knows %d", q.Form, partForm)
		}
		got, err := c.told(context.Background(), &q)
		a := partAnswer{Status: http.StatusOK}
		if err == nil {
			a.Body, err = json.Marshal(got)
		}
		if err != nil {
			a = partAnswer{Status: statusFor(err), Error: err.Error()}
		}
		text, err := json.Marshal(&a)
		return append(dst, text...), err
	}
}

// askPart asks the node of a part, which may be this one. The error names the part.
func (c *Changes) askPart(ctx context.Context, part int, q partQuestion, patience time.Duration, into any) error {
	q.Form = partForm
	a := &c.cfg.Across
	name := func(err error) error {
		if strings.HasPrefix(q.Do, "drive ") {
			return err // of all parts
		}
		return named(a.say(part), err)
	}
	if part == a.Own {
		got, err := c.told(ctx, &q)
		if err != nil {
			return name(err)
		}
		return again(got, into)
	}
	if a.Name(part) == "" {
		return waitError{&reshard.RefusedError{Why: a.say(part) + ", " + holdsBack}}
	}
	text, err := json.Marshal(&q)
	if err != nil {
		return err
	}
	text, err = a.Ask(part, append([]byte{partMark}, text...), patience)
	if err != nil {
		return waitError{&reshard.RefusedError{Why: a.say(part) + " " + holdsBack + ": " + err.Error()}}
	}
	var got partAnswer
	if err := json.Unmarshal(text, &got); err != nil {
		return fmt.Errorf("%s: an answer that is none: %w", a.say(part), err)
	}
	switch got.Status {
	case http.StatusOK:
		if into == nil {
			return nil
		}
		return json.Unmarshal(got.Body, into)
	case notYetStatus:
		return name(waitError{&reshard.RefusedError{Why: got.Error}})
	case http.StatusConflict:
		return name(&reshard.RefusedError{Why: got.Error})
	}
	return name(errors.New(got.Error))
}

// eachPart asks the nodes of all parts at once. errs has an error for each part without an answer.
func (c *Changes) eachPart(ctx context.Context, q partQuestion, patience time.Duration, into func(part int) any) (errs []error) {
	errs = make([]error, c.cfg.Across.Parts)
	var all sync.WaitGroup
	for part := range errs {
		all.Go(func() { errs[part] = c.askPart(ctx, part, q, patience, into(part)) })
	}
	all.Wait()
	return errs
}

// told answers a question, of another node or of this one.
func (c *Changes) told(ctx context.Context, q *partQuestion) (any, error) {
	if q.Request == nil {
		q.Request = &ChangeRequest{Set: q.Set}
	}
	e := c.cfg.Sinks.Of(orMain(q.Set))
	if e == nil {
		return nil, &reshard.RefusedError{Why: fmt.Sprintf("the set %s is not known here: give all nodes the same --shard", orMain(q.Set))}
	}
	if step, drives := strings.CutPrefix(q.Do, "drive "); drives {
		if !c.cfg.Across.first() {
			return nil, waitError{&reshard.RefusedError{Why: "it is not the node of part 0"}}
		}
		return c.drive(ctx, e, step, q.Request)
	}
	switch q.Do {
	case "stand":
		return c.stand(e), nil
	case "yield":
		c.yield(q.Part)
		return nil, nil //nolint:nilnil // that is all
	case "watch", "hold", "release":
		return c.latch(e, q)
	}
	c.steps.Lock()
	defer c.steps.Unlock()
	switch q.Do {
	case "prepare":
		return c.prepareHere(ctx, e, q)
	case "start":
		return c.startHere(ctx, e, q)
	case "cut", "finish", "abort":
		return c.stepHere(ctx, e, q)
	case "not ahead":
		return nil, e.NotAhead()
	case "read":
		return nil, e.ReadToo(q.Names...)
	case "unread":
		return nil, e.Unread(q.ID, q.Names...)
	case "filled":
		return nil, e.Filled(q.Names)
	}
	return nil, &reshard.RefusedError{Why: fmt.Sprintf("%q is no step that this node knows", q.Do)}
}

// pass has the node of part 0 make a step.
func (c *Changes) pass(w http.ResponseWriter, step string, r *ChangeRequest) {
	var body json.RawMessage
	err := c.askPart(context.Background(), 0, partQuestion{Do: "drive " + step, Set: orMain(r.Set), Request: r}, 2*slowly, &body)
	if err != nil {
		say(w, statusFor(err), err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(body, '\n')) // a client that is gone does not matter
}
