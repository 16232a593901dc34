package copying

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"pingline"
	"pingline/sink/store"
)

// mostCopies is how often a unit that differs is copied again.
const mostCopies = 3

// Verify compares the units of a plan, and copies again, up to three times, those of which a
// target lacks something. Counts are compared of all units, and checksums over all rows of a
// share of them, [0, 1], and of those whose counts differ or cannot be asked for. found is called
// for differences that stay, and count is how many there are, of which at most 20 of some units
// are named. Without again nothing is copied.
func (c *Copier) Verify(ctx context.Context, plan []Planned, share float64, again bool, found func(d *Difference)) (count int, err error) {
	c.begin("compare", plan)
	for _, part := range days(plan) {
		streamed, err := c.unequal(ctx, part, share)
		if err != nil {
			return count, err
		}
		c.passed(part[:len(part)-len(streamed)])
		for _, g := range c.comparedTogether(streamed) {
			n, err := c.verify(ctx, g, again, found)
			if err != nil {
				return count, err
			}
			count += n
			c.passed(g.units)
		}
	}
	return count, nil
}

// days cuts a plan into parts of the same time and name.
func days(plan []Planned) (parts [][]Planned) {
	for i := 0; i < len(plan); {
		j := i
		for j < len(plan) && plan[j].From == plan[i].From && plan[j].To == plan[i].To && plan[j].Name == plan[i].Name {
			j++
		}
		parts, i = append(parts, plan[i:j]), j
	}
	return parts
}

// unequal returns the units of a day that are to be streamed: a share of them, and those of which
// counts differ.
func (c *Copier) unequal(ctx context.Context, day []Planned, share float64) (list []Planned, err error) {
	byCell := true
	for _, to := range c.cfg.To {
		_, ok := to.Store.(store.CellReader)
		byCell = byCell && ok
	}
	u := day[0]
	if share >= 1 || c.cfg.Rider != "" || c.cfg.Own || c.cfg.Shared && !byCell && u.Name == "" {
		return day, nil // the count of a day is of rows of others, too
	}
	has, err := c.counts(ctx, u.Unit, c.cfg.From)
	in := make([]map[Unit]uint64, len(c.cfg.To))
	sum := make(map[Unit]uint64)
	for i := 0; i < len(c.cfg.To) && err == nil; i++ {
		in[i], err = c.counts(ctx, u.Unit, c.cfg.To[i].Store)
		for of, n := range in[i] {
			sum[of] += n
		}
	}
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		c.cfg.Logger.Info("rows are compared, since counts are not told", "unit", u.Unit, "error", err)
		return day, nil //nolint:nilerr // the comparison of rows meets the same trouble, and waits for its end
	}
	if !byCell && u.Name == "" {
		if total(has) == total(sum) && !sampled(store.Unit{Name: u.Name, From: u.From}, share) {
			return nil, nil
		}
		return day, nil
	}
	for _, u := range day {
		of := u.Unit
		same := sum[of] == has[of]
		if to := c.ownerOf(of); same && c.cfg.Shared {
			same = to >= 0 && in[to][of] == has[of] // rows of others in another target are none of the source
		}
		if !same || sampled(of, share) {
			list = append(list, u)
		}
	}
	return list, nil
}

// ownerOf returns the target of a unit's rows, or a number below 0.
func (c *Copier) ownerOf(u Unit) int {
	e := pingline.Entry{Cell: u.Cell}
	if u.Name != "" {
		e.Point = &pingline.Point{Name: u.Name}
	}
	to := c.cfg.Owner(&e)
	if to < 0 {
		e.Event = "e" // pings may be routed, and these be not
		to = c.cfg.Owner(&e)
	}
	return to
}

// counts returns the rows of a unit's time by unit.
func (c *Copier) counts(ctx context.Context, of Unit, in store.Store) (map[Unit]uint64, error) {
	lister, ok := in.(store.Lister)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	counts := make(map[Unit]uint64)
	err := lister.Units(ctx, of.Name, of.From, of.To, func(u store.Unit, rows uint64) error { counts[u] += rows; return nil })
	return counts, err
}

func total(counts map[Unit]uint64) (n uint64) {
	for _, rows := range counts {
		n += rows
	}
	return n
}

// sampled reports whether a unit is of a share, always the same.
func sampled(u Unit, share float64) bool {
	h := hashBytes(mixA^u.Cell, fmt.Appendf(nil, "%s %d", u.Name, u.From))
	return float64(h>>11)/(1<<53) < share
}

// verify compares a group, and copies what differs.
func (c *Copier) verify(ctx context.Context, g *unitGroup, again bool, found func(d *Difference)) (count int, err error) {
	for copies := 0; ; copies++ {
		v, err := c.judge(ctx, g)
		if err != nil {
			return 0, err
		}
		var missing []Planned
		for _, d := range v.differ {
			x, _ := c.cfg.Keep.Get(d.unit.Unit)
			if d.missing && x.Refused == 0 && !c.refused[d.unit.Unit] { // else it would be refused again
				missing = append(missing, d.unit)
			}
		}
		if len(missing) == 0 || !again || copies == mostCopies {
			for i := range v.list {
				found(&v.list[i])
			}
			c.count(func(s *Status) { s.Differ += len(v.differ) })
			return v.count, c.compared(g, v.differ)
		}
		for _, some := range c.groups(missing, groupRows, groupCells) {
			if err := c.copyGroup(ctx, some); err != nil {
				return 0, err
			}
		}
	}
}

// compared makes durable how a group was found.
func (c *Copier) compared(g *unitGroup, differ []differing) error {
	if c.cfg.Keep == nil {
		return nil
	}
	bad := make(map[Unit]bool)
	for _, d := range differ {
		bad[d.unit.Unit] = true
	}
	var list []Done
	for _, u := range g.units {
		x, ok := c.cfg.Keep.Get(u.Unit)
		state := UnitSame
		if bad[u.Unit] {
			state = UnitDiffers
		}
		if ok && x.State != state && x.State != UnitDeleted {
			x.State = state
			list = append(list, x)
		}
	}
	return c.cfg.Keep.Append(c.cfg.Keep.RefusedBytes(), list...)
}

// Delete deletes the units of a plan from the source, each after a fresh comparison of all its
// rows. kept is called for each unit that is not deleted, with the reason: a target lacks
// something of it, some of its rows stay on the source, or they could not be deleted alone. Rows
// that come to the source meanwhile are copied before they are deleted if there is a Latch;
// without one a row that comes between the comparison and the deletion is lost.
func (c *Copier) Delete(ctx context.Context, plan []Planned, kept func(u Unit, why string)) error {
	c.begin("delete", plan)
	eraser, ok := c.cfg.From.(store.UnitEraser)
	if !ok {
		return errors.New("delete: the source cannot delete units")
	}
	var open []Planned
	for _, u := range plan {
		if x, _ := c.cfg.Keep.Get(u.Unit); x.State == UnitDeleted {
			c.passed([]Planned{u})
		} else {
			open = append(open, u)
		}
	}
	for _, g := range c.comparedTogether(open) {
		again, err := c.deleteGroup(ctx, eraser, g, kept)
		for tries := 0; err == nil && len(again) > 0 && tries < mostCopies; tries++ {
			again, err = c.deleteAgain(ctx, eraser, again, kept)
		}
		if err != nil {
			return err
		}
		for _, u := range again {
			kept(u.Unit, "rows still come to it")
		}
		c.passed(g.units)
	}
	return nil
}

// deleteAgain copies rows that came to units since they were compared, and tries again.
func (c *Copier) deleteAgain(ctx context.Context, eraser store.UnitEraser, plan []Planned, kept func(u Unit, why string)) (again []Planned, err error) {
	for _, g := range c.comparedTogether(plan) {
		if _, err := c.verify(ctx, g, true, func(*Difference) {}); err != nil {
			return nil, err
		}
		some, err := c.deleteGroup(ctx, eraser, g, kept)
		if err != nil {
			return nil, err
		}
		again = append(again, some...)
	}
	return again, nil
}

// deleteGroup deletes the units of a group, and returns those to which rows came that no target has.
func (c *Copier) deleteGroup(ctx context.Context, eraser store.UnitEraser, g *unitGroup, kept func(u Unit, why string)) (again []Planned, err error) {
	if c.cfg.Latch != nil {
		c.cfg.Latch.Watch()
	}
	v, err := c.judge(ctx, g)
	if err != nil {
		return nil, err
	}
	missing := make(map[Unit]bool)
	for _, d := range v.differ {
		missing[d.unit.Unit] = d.missing
	}
	for i, u := range g.units {
		switch {
		case missing[u.Unit]:
			kept(u.Unit, "a target lacks rows of it")
			continue
		case v.stay[i] > 0:
			kept(u.Unit, fmt.Sprintf("%d of its rows stay on the source", v.stay[i]))
			continue
		}
		began := time.Now()
		err := c.erase(ctx, eraser, u, func(part Planned) error { return c.hasAll(ctx, g, part) })
		switch {
		case errors.Is(err, errCame):
			again = append(again, u)
			continue
		case errors.Is(err, store.ErrBeside):
			kept(u.Unit, err.Error())
			continue
		case err != nil:
			return nil, err
		}
		n := v.rows(u.Cell, g.index == nil)
		x := Done{Unit: u.Unit, State: UnitDeleted, Copied: Copied{Rows: n.Rows}, Hash: n.Hash, Took: time.Since(began).Milliseconds()}
		if c.cfg.Keep != nil {
			if err := c.cfg.Keep.Append(c.cfg.Keep.RefusedBytes(), x); err != nil {
				return nil, err
			}
		}
	}
	return again, nil
}

var errCame = errors.New("rows came that no target has")

// erasing is how long a deletion that was begun may take once it is to be broken off: a store
// might go on with it while rows come again.
const erasing = 10 * time.Second

// erase deletes a unit. hasAll returns errCame if rows that came to a part of it are nowhere else.
func (c *Copier) erase(ctx context.Context, eraser store.UnitEraser, u Planned, hasAll func(part Planned) error) error {
	return c.insist(ctx, ofDeletion, func() error {
		if err := c.clear(ctx); err != nil {
			return err
		}
		began := time.Now() // before any node holds
		if c.cfg.Latch != nil {
			came, release, err := c.cfg.Latch.Hold(u.From, u.To)
			if err != nil {
				return err
			}
			defer release()
			for _, span := range came {
				part := u
				part.From, part.To = span[0], span[1]
				if err := hasAll(part); err != nil {
					return err
				}
			}
		}
		whole, end := context.WithCancel(context.WithoutCancel(ctx))
		defer end()
		defer context.AfterFunc(ctx, func() { time.AfterFunc(erasing, end) })()
		if c.cfg.MostHeld > 0 {
			whole, end = context.WithDeadline(whole, began.Add(c.cfg.MostHeld*2/3))
			defer end()
			if err := whole.Err(); err != nil {
				return &storeError{"the source", fmt.Errorf("rows did not wait for long enough: %w", err)}
			}
		}
		err := eraser.EraseUnit(whole, u.Unit)
		if err == nil || errors.Is(err, store.ErrBeside) {
			return err
		}
		if c.cfg.MostHeld > 0 && whole.Err() != nil {
			time.Sleep(time.Until(began.Add(c.cfg.MostHeld))) // rows wait meanwhile
		}
		return &storeError{"the source", err}
	})
}

// hasAll returns errCame if a part of a unit has rows that the targets lack, or that stay. It waits
// for nothing but the stores, since writes wait for it.
func (c *Copier) hasAll(ctx context.Context, g *unitGroup, part Planned) error {
	one := &unitGroup{units: []Planned{part}}
	if g.index != nil {
		one.index = map[uint64]int{part.Cell: 0}
	}
	k, places, err := c.compare(ctx, one)
	if err != nil || len(places) == 0 && k.stay[0] == 0 {
		return err
	}
	list, all, err := k.name(ctx, places)
	lacks := func(d Difference) bool { return d.OnlyInFrom > 0 }
	if err == nil && (!all || k.stay[0] > 0 || slices.ContainsFunc(list, lacks)) {
		return errCame
	}
	return err
}

// rows returns the sum of a cell, or of all, over all targets, as the source has it.
func (k *comparison) rows(cell uint64, all bool) (n RowSum) {
	for at, s := range k.sides[0] {
		if all || at.cell == cell {
			n.Rows, n.Hash = n.Rows+s.Rows, n.Hash+s.Hash
		}
	}
	return n
}
