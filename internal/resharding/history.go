package resharding

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"pingline/queue"
	"pingline/rollup"
	"pingline/sink"
	"pingline/sink/copying"
	"pingline/sink/moving"
	"pingline/sink/reshard"
	"pingline/sink/store"
)

// MoveConfig names the parts that are needed to move history.
type MoveConfig struct {
	Log     *queue.Log
	Points  []string // names of all points
	ByRider bool     // as moving.Config has it
	Level   func() int
	Latency func() map[string]time.Duration // of recent writes, by shard
	Erasing func() bool
}

// Values of --history.
const (
	HistoryNone = "none"
	HistoryMove = "move"
)

// DefaultRate is how many rows of history a second are moved at most.
const DefaultRate = 20_000

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
		m, err := moving.New(moving.Config{
			Set: set.Set, Eras: eras, Dir: c.cfg.Dir, Points: points, ByRider: h.ByRider, Erasing: h.Erasing, Logger: c.cfg.Logger,
			Gauges: copying.Gauges{Breaker: func() string { return troubled(eras) }, Level: h.Level, Log: c.full, Latency: h.Latency},
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

// troubled returns a shard that takes no writes for now, or that others stand in for, and "" if
// there is none.
func troubled(eras *reshard.Eras) string {
	for _, st := range eras.Stats() {
		if st.Breaker != sink.Closed || st.HandedOver {
			return st.Shard
		}
	}
	return ""
}

// Run moves history until ctx is cancelled.
func (c *Changes) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, m := range c.movers {
		g.Go(func() error { return m.Run(ctx) })
	}
	return g.Wait()
}

// Yield stops moving history while a rider is removed: see moving.Mover.Yield.
func (c *Changes) Yield() {
	for _, m := range c.movers {
		m.Yield()
	}
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
}

func (c *Changes) statuses() (list []ChangeStatus) {
	for i, s := range c.cfg.Sinks.Changes() {
		list = append(list, ChangeStatus{s, c.movers[i].Status()})
	}
	return list
}

// statusOf returns that of a set.
func (c *Changes) statusOf(e *reshard.Eras) ChangeStatus {
	s := e.Status()
	return ChangeStatus{s, c.mover(s.Set).Status()}
}

// historyOf reads what a request says of history.
func historyOf(r *ChangeRequest, o *reshard.Order) error {
	rate := float64(DefaultRate)
	if r.Rate != nil {
		rate = *r.Rate
	}
	switch {
	case r.History != "" && r.History != HistoryNone && r.History != HistoryMove:
		return fmt.Errorf("history: %q is neither %s nor %s", r.History, HistoryNone, HistoryMove)
	case !(rate >= 0 && rate <= 1e9):
		return fmt.Errorf("rate: %v is not in [0, 1000000000]", rate)
	case r.History == HistoryMove:
		o.Move = &reshard.Move{Rate: rate}
	}
	return nil
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

// notYetStatus answers a step that will be possible by itself: whoever asks may ask again.
const notYetStatus = http.StatusTooEarly

// waitError says that a step will be possible by itself.
type waitError struct{ error }

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
