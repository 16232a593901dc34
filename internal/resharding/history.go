package resharding

import (
	"context"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"pingline/rollup"
	"pingline/sink"
	"pingline/sink/copying"
	"pingline/sink/moving"
	"pingline/sink/reshard"
	"pingline/sink/store"
)

// open makes the movers of all sets.
func (c *Changes) open() error {
	h := &c.cfg.History
	for _, set := range c.cfg.Sinks.Changes() {
		eras := c.cfg.Sinks.Of(set.Set)
		points := slices.DeleteFunc(slices.Clone(h.Points), func(name string) bool {
			kind := "self"
			if name == rollup.Measurement {
				kind = "activity"
			}
			return eras.Routed(kind)
		})
		held := time.Duration(0)
		if c.cfg.Across.on() {
			held = mostHeld
		}
		m, err := moving.New(moving.Config{
			Set: set.Set, Eras: eras, Dir: c.cfg.Dir, Points: points, ByRider: h.ByRider, Erasing: h.Erasing, Logger: c.cfg.Logger,
			Others: c.othersOf(set.Set), Held: held, Idle: c.cfg.Across.on() && !c.cfg.Across.first(),
			Gauges: copying.Gauges{Breaker: func() string { return c.troubledAnywhere(set.Set, eras) }, Level: h.Level, Log: c.full, Latency: h.Latency, Held: h.Log.HeldFor},
		})
		if err != nil {
			return err
		}
		c.movers = append(c.movers, m)
	}
	return nil
}

func (c *Changes) full() float64 {
	return float64(c.cfg.History.Log.Bytes()) / float64(max(c.cfg.History.Log.Limit(), 1))
}

// Run moves history until ctx is cancelled.
func (c *Changes) Run(ctx context.Context) error {
	defer close(c.ended)
	g, ctx := errgroup.WithContext(ctx)
	for _, m := range c.movers {
		g.Go(func() error { return m.Run(ctx) })
	}
	if c.cfg.Across.on() {
		g.Go(func() error { return c.follow(ctx) })
	}
	return g.Wait()
}

// Yield stops moving history while a rider is removed: see moving.Mover.Yield.
func (c *Changes) Yield() {
	for _, m := range c.movers {
		m.Yield()
	}
	c.yieldThere()
}

// Histories returns how far the history of sets is that is being moved.
func (c *Changes) Histories() (list []moving.MoveStatus) {
	for _, m := range c.movers {
		if s := m.Status(); s != nil {
			list = append(list, *s)
		}
	}
	return list
}

// mover returns that of a set.
func (c *Changes) mover(set string) *moving.Mover {
	for i, s := range c.cfg.Sinks.Changes() {
		if s.Set == set {
			return c.movers[i]
		}
	}
	return nil
}

// ChangeStatus is how far the change of a set is, and its history if that is moved.
type ChangeStatus struct {
	reshard.SetStatus
	History *moving.MoveStatus `json:"history,omitempty"`
	Parts   []PartChange       `json:"parts,omitempty"` // where nodes share the riders; the figures above are of all parts together
}

func (c *Changes) statuses() (list []ChangeStatus) {
	for i, s := range c.cfg.Sinks.Changes() {
		if c.cfg.Across.on() {
			list = append(list, c.wholeStatus(context.Background(), c.cfg.Sinks.Of(s.Set)))
			continue
		}
		list = append(list, ChangeStatus{SetStatus: s, History: c.movers[i].Status()})
	}
	return list
}

// statusOf returns that of a set.
func (c *Changes) statusOf(e *reshard.Eras) ChangeStatus {
	s := e.Status()
	return ChangeStatus{SetStatus: s, History: c.mover(s.Set).Status()}
}

// weigh looks how much history a plan moves.
func (c *Changes) weigh(ctx context.Context, set string, d *reshard.Intent, fresh []sink.ShardStore) (*moving.Weight, error) {
	if d.Move == nil {
		return nil, nil //nolint:nilnil // nothing moves
	}
	stores := make(map[string]store.Store)
	for _, sh := range fresh {
		stores[sh.Name] = sh.Store
	}
	return c.mover(set).Weigh(ctx, d, stores)
}

// historySteps are the steps that change nothing but history.
func (c *Changes) historySteps() []changeStep {
	of := func(step string, do func(m *moving.Mover, r *ChangeRequest) error) func(context.Context, *reshard.Eras, *ChangeRequest) (any, error) {
		return func(ctx context.Context, e *reshard.Eras, r *ChangeRequest) (any, error) {
			return c.done(ctx, e, step, 0, do(c.mover(orMain(r.Set)), r))
		}
	}
	return []changeStep{
		{"pause", "has history that is moved stand", of("pause", func(m *moving.Mover, _ *ChangeRequest) error { return m.Pause() })},
		{"resume", "has it go on", of("resume", func(m *moving.Mover, _ *ChangeRequest) error { return m.Resume() })},
		{"verify", "compares history that was moved", of("verify", func(m *moving.Mover, r *ChangeRequest) error { return m.Verify(r.Full) })},
		{"delete", "deletes from the old shards what was moved", of("delete", func(m *moving.Mover, _ *ChangeRequest) error { return m.Delete() })},
	}
}

// changeStep is a step of a change.
type changeStep struct {
	step, about string
	do          func(ctx context.Context, e *reshard.Eras, r *ChangeRequest) (any, error)
}

// ready returns an error if history keeps a step from being made.
func (c *Changes) ready(r *ChangeRequest, before string) error {
	why, wait := c.mover(orMain(r.Set)).Unready()
	switch {
	case why == "" || r.Force:
		return nil
	case wait:
		return waitError{&reshard.RefusedError{Why: why + ": wait before " + before + ", or --force"}}
	}
	return &reshard.RefusedError{Why: why + " (or --force)"}
}
