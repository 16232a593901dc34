package resharding

import (
	"context"
	"fmt"

	"pingline/sink"
	"pingline/sink/reshard"
)

func (c *Changes) stand(e *reshard.Eras) *partStand {
	s := &partStand{Stand: e.Stand(), Status: e.Status(), Shards: make(map[string]string), Trouble: troubled(e), Erasing: c.cfg.History.Erasing()}
	for _, sh := range e.Shards() {
		s.Shards[sh.Name] = c.known(sh.Name)
	}
	s.History = c.mover(s.Status.Set).Status()
	return s
}

// known returns the place of a shard that was known once.
func (c *Changes) known(name string) string {
	at, _ := c.where.Load(name)
	place, _ := at.(string)
	return place
}

// orderHere is order, of a request that is sent to all parts, some of which may know its new shards.
func (c *Changes) orderHere(e *reshard.Eras, r *ChangeRequest) (o reshard.Order, fresh []sink.ShardStore, err error) {
	if r, err = localized(r, e.Shards(), c.known, c.cfg.Place); err != nil {
		return o, nil, err
	}
	return c.order(e, r)
}

// prepared is what a part would do.
type prepared struct {
	New    string            `json:"new"`
	Shards map[string]string `json:"shards"`
}

// prepareHere has a part know and read the shards of a change that is not begun here.
func (c *Changes) prepareHere(ctx context.Context, e *reshard.Eras, q *partQuestion) (_ *prepared, err error) {
	rec := e.Record()
	if rec.Phase != reshard.Settled && rec.ID == q.ID {
		return &prepared{rec.New.String(), c.stand(e).Shards}, nil
	}
	o, fresh, err := c.orderHere(e, q.Request)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			c.closeAll(fresh)
		}
	}()
	o.ID = q.ID
	d, err := e.Plan(o)
	if err == nil {
		err = e.Fits(d, fresh)
	}
	if err == nil && !q.Request.Force {
		err = unfit(c.findings(ctx, e, d, fresh))
	}
	if err == nil {
		err = e.Ahead(d, fresh, q.Texts)
	}
	if err != nil {
		return nil, err
	}
	return &prepared{d.New.String(), c.stand(e).Shards}, nil
}

// startHere starts a change of this part; its shards are known.
func (c *Changes) startHere(ctx context.Context, e *reshard.Eras, q *partQuestion) (from uint64, err error) {
	if rec := e.Record(); rec.Phase != reshard.Settled && rec.ID == q.ID {
		return 0, nil
	}
	o, fresh, err := c.orderHere(e, q.Request)
	if err != nil {
		return 0, err
	}
	o.ID = q.ID
	if _, from, err = e.Start(o, fresh); err != nil {
		c.closeAll(fresh)
		return 0, err
	}
	c.record(ctx, e, "start", from)
	return from, nil
}

// stepHere makes a step of this part, unless it is made.
func (c *Changes) stepHere(ctx context.Context, e *reshard.Eras, q *partQuestion) (any, error) {
	rec := e.Record()
	var from uint64
	var err error
	in := rec.Phase != reshard.Settled && rec.ID == q.ID
	switch {
	case q.Do == "cut" && in && rec.Phase == reshard.Cut, q.Do != "cut" && rec.Phase == reshard.Settled && rec.ID == q.ID:
		return nil, nil //nolint:nilnil // it is made
	case q.Do == "abort" && rec.Phase == reshard.Settled:
		return nil, e.Pass(q.ID)
	case !in:
		return nil, &reshard.RefusedError{Why: fmt.Sprintf("%s is not begun here: the last is %s, %s", q.ID, orNone(rec.ID), rec.Phase)}
	case q.Do == "cut":
		from, err = e.Cut(q.Request.Force)
	case q.Do == "finish":
		err = e.Finish()
	default:
		err = e.Abort(q.Request.Clean)
	}
	if err == nil {
		c.mover(orMain(q.Set)).Look()
		c.record(ctx, e, q.Do, from)
	}
	return nil, err
}
