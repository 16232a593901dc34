package moving

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"pingline"
	"pingline/partition"
	"pingline/sink/copying"
	"pingline/sink/reshard"
	"pingline/sink/store"
)

// places says where a change of layouts has the rows of an old shard.
type places struct {
	from     string
	gone     bool // from is not in the new layout
	old, new *partition.Shards
	byRider  bool
	routed   func(kind string) bool
}

func newPlaces(from string, old, next reshard.Spread, byRider bool, routed func(string) bool) (p *places, err error) {
	p = &places{from: from, gone: !slices.Contains(next.Names(), from), byRider: byRider, routed: routed}
	if p.old, err = partition.NewShards(old...); err == nil {
		p.new, err = partition.NewShards(next...)
	}
	return p, err
}

// of returns the shard to which a row goes, "" if it stays. Sub-keys of hot cells are not in the
// stores: the row of such a cell goes to where the cell's first sub-key is, and a row that is in
// the old shard for another reason than the cell, as in hand-over, stays unless the shard goes.
func (p *places) of(e *pingline.Entry) string {
	if e.Point != nil {
		return p.moved(p.old.At(0).Name, p.new.At(0).Name)
	}
	kind := "location"
	if e.Event != "" {
		kind = "event"
	}
	if p.routed(kind) {
		return ""
	}
	key := partition.CellKey(e.Cell, 0)
	if p.byRider {
		key = partition.RiderKey(e.Rider)
	}
	return p.moved(p.old.At(p.old.OfKey(key)).Name, p.new.At(p.new.OfKey(key)).Name)
}

func (p *places) moved(was, is string) string {
	if is == p.from || was != p.from && !p.gone {
		return ""
	}
	return is
}

// any reports whether something of a unit may move.
func (p *places) any(u *store.Unit) bool {
	switch {
	case u.Name != "":
		return p.of(&pingline.Entry{Point: &pingline.Point{}}) != ""
	case u.InCell && !p.byRider:
		return p.of(&pingline.Entry{Ping: pingline.Ping{}, Cell: u.Cell}) != "" || p.of(&pingline.Entry{Ping: pingline.Ping{Event: "e"}, Cell: u.Cell}) != ""
	}
	return true
}

// shardPart is what an old shard has to give.
type shardPart struct {
	*places
	copier *copying.Copier
	keep   *copying.DoneFile
	plan   []copying.Planned
	all    bool // all of the shard goes
}

func closeParts(list []*shardPart) {
	for _, p := range list {
		_ = p.keep.Close() // each line was synced
	}
}

// parts plans all old shards.
func (m *Mover) parts(ctx context.Context, job *moveJob) (list []*shardPart, err error) {
	for _, from := range job.Old.Names() {
		p, err := m.part(job, from)
		if err == nil && p != nil {
			list = append(list, p)
			err = p.look(ctx)
		}
		if err != nil {
			closeParts(list)
			return nil, fmt.Errorf("history of %s: %w", from, err)
		}
	}
	return list, nil
}

// part returns that of a shard, without a plan.
func (m *Mover) part(job *moveJob, from string) (*shardPart, error) {
	p, cfg, err := m.copierOf(job.Old, job.New, from, nil)
	if err != nil || cfg == nil {
		return nil, err
	}
	keep, err := m.unitsOf(job, from)
	if err == nil {
		err = keep.Begin()
	}
	if err != nil {
		return nil, err
	}
	cfg.Keep, cfg.Rate, cfg.Gauges, cfg.Wait, cfg.Level = keep, job.Rate, m.cfg.Gauges, true, m.level
	cfg.Latch, cfg.MostHeld, cfg.Touches = m.latch(from), m.cfg.Held, true
	cfg.Refused = refused
	cfg.Copied = func([]copying.Done) (int64, error) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.failed = false
		m.standLocked("")
		return 0, nil
	}
	p.keep = keep
	if p.copier, err = copying.New(*cfg); err != nil {
		return nil, errors.Join(err, keep.Close())
	}
	p.all = p.gone && p.copier.CopiesPoints() && !p.routed("location") && !p.routed("event")
	return p, nil
}

// refused has rows be left out that would be deleted where they belong.
func refused(_ *pingline.Entry, why error) error {
	if refusal := new(store.Refusal); errors.As(why, &refusal) && refusal.Reason == store.Expired {
		return nil
	}
	return fmt.Errorf("a row is refused: %w", why)
}

// copierOf returns how the history of a shard is copied; nil if nothing of it moves.
func (m *Mover) copierOf(old, next reshard.Spread, from string, fresh map[string]store.Store) (*shardPart, *copying.Config, error) {
	at, err := newPlaces(from, old, next, m.cfg.ByRider, m.cfg.Eras.Routed)
	if err != nil {
		return nil, nil, err
	}
	stores := maps.Clone(fresh)
	if stores == nil {
		stores = make(map[string]store.Store)
	}
	for _, sh := range m.cfg.Eras.Shards() {
		stores[sh.Name] = sh.Store
	}
	// Small writes, so that pings do not wait for long.
	cfg := &copying.Config{From: stores[from], Names: m.cfg.Points, Shared: true, Own: m.cfg.ByRider, BatchRows: 1000, Logger: m.cfg.Logger}
	index := make(map[string]int)
	for _, name := range next.Names() {
		if to := stores[name]; name != from && to != nil {
			index[name] = len(cfg.To)
			cfg.To = append(cfg.To, copying.Target{Name: name, Store: to})
		}
	}
	if len(cfg.To) == 0 {
		return nil, nil, nil
	}
	if cfg.From == nil {
		return nil, nil, errors.New("no --shard names it")
	}
	cfg.Owner = func(e *pingline.Entry) int {
		if i, ok := index[at.of(e)]; ok {
			return i
		}
		return -1
	}
	return &shardPart{places: at}, cfg, nil
}

// look plans a part: units of which nothing moves are left out.
func (p *shardPart) look(ctx context.Context) (err error) {
	p.plan, err = p.copier.Plan(ctx, math.MinInt64, math.MaxInt64)
	p.plan = slices.DeleteFunc(p.plan, func(u copying.Planned) bool { return !p.any(&u.Unit) })
	return err
}

// compare compares a part. The job takes the differences.
func (m *Mover) compare(ctx context.Context, p *shardPart, job *moveJob) error {
	_, err := p.copier.Verify(ctx, p.plan, job.Share, true, func(d *copying.Difference) {
		if x, _ := p.keep.Get(d.Unit); x.Refused > 0 {
			return // known: rows that the target would delete
		}
		if job.Differ++; len(job.Differences) < mostTold {
			job.Differences = append(job.Differences, p.from+" and "+d.To+": "+d.String())
		}
	})
	return err
}

// remove deletes from an old shard what the new layout has elsewhere, and copies first what may
// be missing there.
func (m *Mover) remove(ctx context.Context, p *shardPart) error {
	if _, err := p.copier.Verify(ctx, p.plan, 0, true, func(*copying.Difference) {}); err != nil {
		return err
	}
	return p.copier.Delete(ctx, p.plan, m.keeps(p))
}

// keeps returns the function that counts units of a part that are not deleted.
func (m *Mover) keeps(p *shardPart) func(u copying.Unit, why string) {
	return func(u copying.Unit, why string) {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.keptAll++; len(m.kept) < mostTold {
			m.kept = append(m.kept, p.from+", "+u.String()+": "+why)
		}
	}
}

// mostTold is how many differences, or units that were not deleted, are told one by one.
const mostTold = 20

// fill copies the days of which a mirror gave rows up, and notes that.
func (m *Mover) fill(ctx context.Context, job *moveJob, parts []*shardPart) error {
	for {
		st := m.cfg.Eras.Status()
		days, _, err := m.letGo(ctx)
		if err != nil || len(days) == 0 || st.Phase != reshard.Dual {
			return err
		}
		if err := m.level(ctx); err != nil {
			return err
		}
		_, given, err := m.letGo(ctx)
		if err != nil {
			return err
		}
		for _, from := range job.Old.Names() {
			_, cfg, err := m.copierOf(job.Old, job.New, from, nil)
			if err != nil {
				return err
			}
			if cfg == nil {
				continue
			}
			cfg.Rate, cfg.Gauges, cfg.Wait, cfg.Refused = job.Rate, m.cfg.Gauges, true, refused
			c, err := copying.New(*cfg)
			if err != nil {
				return err
			}
			for _, day := range days {
				at, _ := time.Parse(time.DateOnly, day)
				plan, err := c.Plan(ctx, at.UnixMilli(), at.Add(24*time.Hour).UnixMilli())
				for _, p := range parts {
					for i := 0; i < len(plan) && err == nil && p.from == from; i++ {
						err = p.keep.Touch(plan[i].Unit)
					}
				}
				if err == nil {
					err = c.Copy(ctx, plan)
				}
				if err != nil {
					return err
				}
			}
		}
		_, now, err := m.letGo(ctx)
		if err != nil {
			return err
		}
		if now == given {
			return m.filled(ctx, days)
		}
	}
}

// letGo returns the days of which mirrors gave rows up, and how many.
func (m *Mover) letGo(ctx context.Context) (days []string, given uint64, err error) {
	st := m.cfg.Eras.Status()
	days, given = known(st.LetGo), st.MirrorGivenUp
	if m.cfg.Others != nil {
		more, others, err := m.cfg.Others.LetGo(ctx)
		if err != nil {
			return nil, 0, err
		}
		for _, day := range known(more) {
			if !slices.Contains(days, day) {
				days = append(days, day)
			}
		}
		given += others
	}
	return days, given, nil
}

func (m *Mover) filled(ctx context.Context, days []string) error {
	if m.cfg.Others != nil {
		if err := m.cfg.Others.Filled(ctx, days); err != nil {
			return err
		}
	}
	return m.cfg.Eras.Filled(days)
}

// latch returns that of a shard, with the writes of all nodes.
func (m *Mover) latch(shard string) copying.SourceLatch {
	if m.cfg.Others != nil {
		return m.cfg.Others.Latch(shard)
	}
	return m.cfg.Eras.Latch(shard)
}

// known returns the days that are dates.
func known(days []string) []string {
	return slices.DeleteFunc(slices.Clone(days), func(day string) bool { _, err := time.Parse(time.DateOnly, day); return err != nil })
}

// unitsOf reads how far the units of a shard are.
func (m *Mover) unitsOf(job *moveJob, from string) (*copying.DoneFile, error) {
	return copying.OpenDone(m.unitsPath(job.ID, from), copying.CopyJob{From: from + " of " + job.Old.String(), To: job.New.String()})
}

func (m *Mover) unitsPath(id, from string) string {
	return filepath.Join(m.cfg.Dir, fmt.Sprintf("reshard-%s-%s-%s.units", m.cfg.Set, id, strings.ReplaceAll(from, ":", "%3A"))) // no name has a %
}
