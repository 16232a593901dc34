package moving

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"pingline"
	"pingline/partition"
	"pingline/sink/copying"
	"pingline/sink/reshard"
	"pingline/sink/store"
)

// Cleanable returns nil if what was copied by a change that is aborted can be deleted again.
func (m *Mover) Cleanable() error {
	rec := m.cfg.Eras.Record()
	for _, sh := range m.cfg.Eras.Shards() {
		if _, erases := sh.Store.(store.UnitEraser); !erases && slices.Contains(rec.New.Names(), sh.Name) && rec.Phase != reshard.Settled {
			return refuse("--clean: shard %s cannot delete days or cells: abort without it", sh.Name)
		}
	}
	return nil
}

// Look takes a step of the change up at once.
func (m *Mover) Look() {
	_, _ = m.next() // what fails is tried again, and told of, by Run
}

// Again has the rows be deleted that were kept when a change was aborted, and reports whether
// there is such a change.
func (m *Mover) Again() (is bool, err error) {
	m.mu.Lock()
	is = m.job != nil && m.job.Stage.Undone()
	m.mu.Unlock()
	if !is {
		return false, nil
	}
	return true, m.change(func(j *moveJob) error {
		j.Stage, j.Paused = Cleaning, false
		return nil
	})
}

// clean has what was copied by a change that was aborted be deleted. The caller holds mu.
func (m *Mover) clean() error {
	if m.job.Stage.Undone() {
		return nil
	}
	j := *m.job
	j.Stage, j.Paused, j.Share, j.Compared, j.Differ, j.Differences = Cleaning, false, 0, false, 0, nil
	if err := m.save(&j); err != nil {
		return err
	}
	m.job = &j
	m.cfg.Logger.Info("history that was copied is deleted from the new shards", "set", m.cfg.Set, "change", j.ID)
	return nil
}

// cleaned plans all shards that rows were copied to: the units that were touched. An old shard
// must have each row of them, and none may be there by the old layout.
func (m *Mover) cleaned(ctx context.Context, job *moveJob) (list []*shardPart, err error) {
	touched := make(map[string][]store.Unit)
	for _, from := range job.Old.Names() {
		keep, err := m.unitsOf(job, from)
		if err != nil {
			return nil, err
		}
		of, err := newPlaces(from, job.Old, job.New, m.cfg.ByRider, m.cfg.Eras.Routed)
		if err != nil {
			return nil, err
		}
		for _, u := range keep.Touched() {
			for _, to := range of.targets(&u, job.New.Names()) {
				touched[to] = append(touched[to], u)
			}
		}
	}
	for _, name := range job.New.Names() {
		p, err := m.cleanedPart(ctx, job, name, touched[name])
		if err != nil {
			return nil, fmt.Errorf("copies in %s: %w", name, err)
		}
		if len(p.plan) > 0 {
			list = append(list, p)
		}
	}
	return list, nil
}

// targets returns the shards to which rows of a unit may go.
func (p *places) targets(u *store.Unit, all []string) []string {
	if u.Name == "" && (!u.InCell || p.byRider) {
		return without(all, p.from)
	}
	e := pingline.Entry{Cell: u.Cell}
	if u.Name != "" {
		e.Point = new(pingline.Point)
	}
	list := []string{p.of(&e)}
	e.Event = "e"
	return without(append(list, p.of(&e)), "")
}

// without returns the names but for one, each once.
func without(names []string, name string) []string {
	list := slices.DeleteFunc(slices.Clone(names), func(is string) bool { return is == name })
	slices.Sort(list)
	return slices.Compact(list)
}

func (m *Mover) cleanedPart(ctx context.Context, job *moveJob, name string, touched []store.Unit) (*shardPart, error) {
	old, err := partition.NewShards(job.Old...)
	if err != nil {
		return nil, err
	}
	// Nothing is written but by the latch's leave, so Wait, Gauges and the latch are as in a copy.
	cfg := copying.Config{Names: m.cfg.Points, Gauges: m.cfg.Gauges, Wait: true, Latch: m.latch(name), MostHeld: m.cfg.Held, Logger: m.cfg.Logger}
	for _, sh := range m.cfg.Eras.Shards() {
		switch {
		case sh.Name == name:
			cfg.From = sh.Store
		case slices.Contains(job.Old.Names(), sh.Name):
			cfg.To = append(cfg.To, copying.Target{Name: sh.Name, Store: sh.Store})
		}
	}
	p := &shardPart{places: &places{from: name}}
	if len(cfg.To) == 0 {
		return p, nil // it is the only one
	}
	if cfg.From == nil {
		return nil, errors.New("no --shard names it: start the node with it, or start another change")
	}
	cfg.Owner = func(e *pingline.Entry) int {
		owner := old.At(0).Name
		switch {
		case e.Point != nil:
		case m.cfg.ByRider:
			owner = old.At(old.OfKey(partition.RiderKey(e.Rider))).Name
		default:
			owner = old.At(old.OfKey(partition.CellKey(e.Cell, 0))).Name
		}
		if owner == name {
			return -1
		}
		return 0
	}
	if p.copier, err = copying.New(cfg); err == nil {
		p.plan, err = p.copier.Plan(ctx, math.MinInt64, math.MaxInt64)
		if len(job.Nodes) < 2 { // else another node knows which units it has touched
			p.plan = copying.Touched(p.plan, touched)
		}
	}
	return p, err
}
