package copying

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"pingline"
	"pingline/sink/store"
)

// Touched returns the units of a plan of the source's that lie in units which a copy has touched.
// Where the source lists days, and the copy was of cells, it is the cells.
func Touched(plan []Planned, touched []store.Unit) (list []Planned) {
	type day struct {
		name     string
		from, to int64
	}
	of := func(u *store.Unit) day { return day{u.Name, u.From, u.To} }
	whole, cells := make(map[day]bool), make(map[day]map[uint64]bool)
	for i := range touched {
		switch u := &touched[i]; {
		case !u.InCell:
			whole[of(u)] = true
		case cells[of(u)] == nil:
			cells[of(u)] = map[uint64]bool{u.Cell: true}
		default:
			cells[of(u)][u.Cell] = true
		}
	}
	for _, u := range plan {
		d := of(&u.Unit)
		switch {
		case whole[d], u.InCell && cells[d][u.Cell]:
			list = append(list, u)
		case !u.InCell:
			for cell := range cells[d] {
				part := u
				part.InCell, part.Cell, part.Rows = true, cell, u.Rows/uint64(len(cells[d]))
				list = append(list, part)
			}
		}
	}
	slices.SortFunc(list, inOrder)
	return list
}

// Clean deletes the units of a plan from the source of which each row is in one of the targets,
// the same in all its fields, and of which Owner has none stay. kept is called for each other unit,
// with the reason. Rows that come to the source meanwhile are looked for, too, if there is a Latch.
func (c *Copier) Clean(ctx context.Context, plan []Planned, kept func(u Unit, why string)) error {
	c.begin("clean", plan)
	eraser, ok := c.cfg.From.(store.UnitEraser)
	if !ok {
		return errors.New("clean: the store cannot delete units")
	}
	for _, g := range c.groups(plan, groupRows, groupCells) {
		if err := c.cleanGroup(ctx, eraser, g, kept); err != nil {
			return err
		}
		c.passed(g.units)
	}
	return nil
}

func (c *Copier) cleanGroup(ctx context.Context, eraser store.UnitEraser, g *unitGroup, kept func(u Unit, why string)) error {
	if c.cfg.Latch != nil {
		c.cfg.Latch.Watch()
	}
	var found []unitRows
	err := c.insist(ctx, ofComparison, func() (err error) {
		if err := c.clear(ctx); err != nil {
			return err
		}
		found, err = c.lone(ctx, g)
		return err
	})
	if err != nil {
		return err
	}
	for i, u := range g.units {
		n := &found[i]
		switch {
		case n.stay > 0:
			kept(u.Unit, fmt.Sprintf("%d of its rows belong there", n.stay))
			continue
		case n.lone > 0:
			kept(u.Unit, fmt.Sprintf("%d of its rows are nowhere else", n.lone))
			continue
		case n.all == 0:
			continue
		}
		err := c.erase(ctx, eraser, u, func(part Planned) error {
			one := &unitGroup{units: []Planned{part}}
			if u.InCell {
				one.index = map[uint64]int{u.Cell: 0}
			}
			came, err := c.lone(ctx, one)
			if err == nil && came[0].lone+came[0].stay > 0 {
				return errCame
			}
			return err
		})
		switch {
		case errors.Is(err, errCame), errors.Is(err, store.ErrBeside):
			kept(u.Unit, err.Error())
		case err != nil:
			return err
		}
	}
	return nil
}

// unitRows counts rows of a unit of the source.
type unitRows struct {
	all  uint64
	stay uint64 // that no target owns
	lone uint64 // that no target has
}

// lone counts the rows of a group, about mostHashes at once.
func (c *Copier) lone(ctx context.Context, g *unitGroup) ([]unitRows, error) {
	rows := uint64(0)
	for _, u := range g.units {
		rows += u.Rows
	}
	list := make([]unitRows, len(g.units))
	var hash rowHasher
	for part, parts := uint64(0), rows/mostHashes+1; part < parts; part++ {
		alone := make(map[differentRow]uint64)
		each := func(do func(row differentRow, e *pingline.Entry)) func(e *pingline.Entry, nano int64) error {
			return func(e *pingline.Entry, nano int64) error {
				i, ok := g.of(e)
				if !ok {
					return nil
				}
				if h, _ := hash.row(e, nano); h%parts == part {
					do(differentRow{i, h}, e)
				}
				return nil
			}
		}
		err := c.read(ctx, c.cfg.From, g.all(), each(func(row differentRow, e *pingline.Entry) {
			n := &list[row.of]
			if n.all++; c.cfg.Owner(e) < 0 {
				n.stay++
			}
			alone[row]++
		}))
		if err != nil {
			return nil, &storeError{"clean " + g.String(), err}
		}
		for _, to := range c.cfg.To {
			if len(alone) == 0 {
				break
			}
			err := c.read(ctx, to.Store, g.all(), each(func(row differentRow, _ *pingline.Entry) { delete(alone, row) }))
			if err != nil {
				return nil, &storeError{"clean " + g.String() + ", " + to.Name, err}
			}
		}
		for row, n := range alone {
			list[row.of].lone += n
		}
	}
	return list, nil
}
