// Package copying copies stored pings and points from one store into others, unit by unit, and
// compares both sides.
//
// A unit may be copied again at any time: a row written twice is one row. A row that a target
// refuses for its content is handed to the caller, and the others are written; a store in trouble
// is waited for. Memory does not grow with a unit: rows are read, encoded and written as they
// come. Rows that are stored while their unit is copied may be missed, unless they go to the
// target as well.
//
// It keeps no state but that of a [DoneFile].
package copying

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	"pingline"
	"pingline/sink/store"
)

// Unit is a piece of history.
type Unit = store.Unit

// Target is a store that is copied into.
type Target struct {
	Name  string // in errors and reasons; "" is "the target"
	Store store.Store
}

// SourceLatch is that of a source to which rows come: see limit.Latch. After an error nothing waits.
type SourceLatch interface {
	Watch()
	Hold(from, to int64) (came [][2]int64, release func(), err error)
}

// Config says which history is copied, and how. From and To are required.
type Config struct {
	From  store.Store // a Reader, as the targets are; points are copied if all are PointReaders
	To    []Target    // at most 64
	Rider string      // "" means all riders, and points
	Names []string    // of points to copy
	Keep  *DoneFile   // nil: nothing is remembered

	// Touches has Keep remember a unit before a row of it is written, for Clean.
	Touches bool

	Logger *slog.Logger

	// Owner returns the index in To of a row's target; a row with a negative one stays where it
	// is. It depends on cell, rider and device alone, or on the name and tags of a point. nil
	// means the first.
	Owner func(e *pingline.Entry) int

	// Whole says that the targets hold nothing but the copy: a row of which the source has
	// nothing is a difference. Otherwise a target's own series (cell, device, late, corrected,
	// rider) do not count.
	Whole bool

	// Shared says that rows come to the targets as well, of themselves, as to the source: a row
	// that a target alone has is no difference.
	Shared bool

	// Own says that the targets have rows of their own in the units of the source, so that counts
	// of units tell nothing.
	Own bool

	// Level returns once the targets have all rows that the source had when it was called. It is
	// asked where rows differ, between the reading of both sides; nil if no rows come meanwhile.
	Level func(ctx context.Context) error

	// Latch tells which rows came to the source since it was compared, and has none come while a
	// unit is deleted; nil: nothing writes to the source.
	Latch SourceLatch

	// MostHeld is how long the Latch has rows wait at most; 0: for as long as a deletion takes. After two
	// thirds of it a deletion is broken off, and rows wait for the rest: a store may go on with it.
	MostHeld time.Duration

	// Growing says that rows come to the source alone meanwhile: a unit that has not ended
	// when its copy begins is copied again.
	Growing bool

	Rate   float64 // most rows a second; 0: as fast as the stores are, however slow that makes them for others
	Gauges Gauges

	// Wait makes the copy stand, and go on by itself, also where an operator must act: wrong
	// credentials, a missing database. Without it such an error ends the copy.
	Wait bool

	// Refused is called for each row that a target refused for its content, by one goroutine
	// at a time; the entry is valid during the call. Once Again was called, rows that were handed
	// over since the last call of Copied come once more. A nil Refused makes the copy stand or end
	// instead, as after wrong credentials.
	Refused func(e *pingline.Entry, why error) error
	Again   func() error

	// Copied is called when units are copied, before they are noted as done; it returns how
	// long the file of refused rows is. nil: nobody is told.
	Copied func(list []Done) (refusedBytes int64, err error)

	Readers   int // of the source at once; 0 means 2
	Writers   int // at once; 0 means 3
	BatchRows int // of a write; 0 means 5,000
}

const (
	mostTargets = 64
	theTarget   = "the target" // name of a target without one
	maxString   = 255          // bytes of a name in an entry

	// Bounds on units that are copied by one query: a query for each would take longer than its
	// few rows, and what is under way at a crash is copied again.
	groupRows  = 250_000
	groupCells = 128
)

// Planned is a unit and about how many rows it has.
type Planned struct {
	store.Unit
	Rows uint64 // 0 if the source does not say
}

// Copier copies, compares and deletes units. A call of Copy, Verify or Delete is made after the
// other; Status may be called at any time.
type Copier struct {
	cfg        Config
	from       store.Reader
	fromPoints store.PointReader // nil: points are not copied
	pace       *pacer
	mostSeries int
	began      time.Time
	refused    map[Unit]bool   // units of which a target refused rows
	keeps      []time.Duration // how long the targets keep rows, 0 for ever

	mu     sync.Mutex // guards the fields below; nothing else is locked under it
	rows   Status
	stands map[string]string // why it stands, by store
	meter  rowMeter
}

// New returns a Copier, or an error if one of the stores cannot be read.
func New(cfg Config) (*Copier, error) {
	c := &Copier{cfg: cfg, mostSeries: mostSeries, began: time.Now(), refused: make(map[Unit]bool), stands: make(map[string]string)}
	c.cfg.BatchRows = cmp.Or(cfg.BatchRows, 5000)
	c.cfg.Readers, c.cfg.Writers = cmp.Or(cfg.Readers, 2), cmp.Or(cfg.Writers, 3)
	c.cfg.Logger = cmp.Or(cfg.Logger, slog.Default())
	if cfg.Owner == nil {
		c.cfg.Owner = func(*pingline.Entry) int { return 0 }
	}
	c.pace = newPacer(cfg.Rate, cfg.Gauges)
	if len(cfg.To) < 1 || len(cfg.To) > mostTargets {
		return nil, fmt.Errorf("copy: %d targets, not 1 to %d", len(cfg.To), mostTargets)
	}
	c.cfg.To = slices.Clone(cfg.To)
	var ok bool
	c.from, ok = cfg.From.(store.Reader)
	c.fromPoints, _ = cfg.From.(store.PointReader)
	for i := range c.cfg.To {
		to := &c.cfg.To[i]
		to.Name = cmp.Or(to.Name, theTarget)
		_, readable := to.Store.(store.Reader)
		ok = ok && readable
		if _, points := to.Store.(store.PointReader); !points {
			c.fromPoints = nil
		}
	}
	if !ok {
		return nil, errors.New("copy: a store that cannot be read is no source, nor can a copy in it be compared")
	}
	return c, nil
}

// CopiesPoints reports whether points that are no pings are copied.
func (c *Copier) CopiesPoints() bool { return c.fromPoints != nil && c.cfg.Rider == "" }

// Plan returns the units with since <= ts < until in which the source has rows, the newest day
// first. MinInt64 and MaxInt64 are no limit.
func (c *Copier) Plan(ctx context.Context, since, until int64) (list []Planned, err error) {
	names := []string{""}
	if c.CopiesPoints() {
		names = append(names, c.cfg.Names...)
	}
	lister, ok := c.cfg.From.(store.Lister)
	if !ok || c.cfg.Rider != "" {
		return c.days(ctx, names, since, until)
	}
	for _, name := range names {
		err := lister.Units(ctx, name, since, until, func(u store.Unit, rows uint64) error {
			list = append(list, Planned{u, rows})
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("units of the source: %w", err)
		}
	}
	slices.SortFunc(list, inOrder)
	return list, nil
}

// inOrder puts the newest first.
func inOrder(a, b Planned) int {
	return cmp.Or(-cmp.Compare(a.From, b.From), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Cell, b.Cell))
}

// days returns the days from the first ping to the last, and of points until now: the plan for a
// source that lists no units, or for a rider.
func (c *Copier) days(ctx context.Context, names []string, since, until int64) (list []Planned, err error) {
	q := store.All()
	q.Rider, q.Limit = c.cfg.Rider, 1
	q.From, q.To = max(q.From, since), min(q.To, until)
	first, last := int64(math.MaxInt64), int64(math.MinInt64)
	for _, q.Newest = range []bool{false, true} {
		err := c.from.Points(ctx, q, func(e *pingline.Entry, _ int64) error {
			first, last = min(first, e.At), max(last, e.At)
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("first and last ping of the source: %w", err)
		}
	}
	for _, name := range names {
		from, to := first, last
		if name != "" && since != math.MinInt64 {
			from = min(first, since) // points may be older than pings
		}
		if name != "" && from != math.MaxInt64 {
			to = max(last, min(until-1, time.Now().UnixMilli()))
		}
		for day := store.Day(from); from <= to && day <= store.Day(to); day++ {
			list = append(list, Planned{store.DayUnit(name, day, since, until), 0})
		}
	}
	slices.SortFunc(list, inOrder)
	return list, nil
}

// unitGroup is units that are read at once: of the same name and time, in different cells.
type unitGroup struct {
	units []Planned
	index map[uint64]int // of a unit by its cell; nil: there is but one, of all cells
}

// groups returns units in the order of a plan, as they are read at once.
func (c *Copier) groups(plan []Planned, mostRows uint64, mostCells int) (all []*unitGroup) {
	if _, byCell := c.cfg.From.(store.CellReader); !byCell {
		mostRows, mostCells = 1<<62, compareCells // all rows of the day are read anyway
	}
	rows := uint64(0)
	var last *unitGroup
	for _, u := range plan {
		if !u.InCell {
			all, last = append(all, &unitGroup{units: []Planned{u}}), nil
			continue
		}
		if last == nil || last.units[0].From != u.From || last.units[0].To != u.To || rows+u.Rows > mostRows || len(last.units) >= mostCells {
			last, rows = &unitGroup{index: make(map[uint64]int)}, 0
			all = append(all, last)
		}
		last.index[u.Cell] = len(last.units)
		last.units = append(last.units, u)
		rows += u.Rows
	}
	return all
}

// of returns the number of the unit that e is in, and false if none is: another writer's cell.
func (g *unitGroup) of(e *pingline.Entry) (int, bool) {
	if g.index == nil {
		return 0, true
	}
	i, ok := g.index[e.Cell]
	return i, ok
}

// cells returns those of a group, nil if it is not by cells.
func (g *unitGroup) cells() (list []uint64) {
	for _, u := range g.units {
		if g.index != nil {
			list = append(list, u.Cell)
		}
	}
	return list
}

func (g *unitGroup) String() string {
	if len(g.units) == 1 {
		return g.units[0].String()
	}
	return fmt.Sprintf("%v and %d more", g.units[0].Unit, len(g.units)-1)
}

// unitSpan is a part of a group that is read by one query.
type unitSpan struct {
	name     string
	from, to int64
	cells    []uint64 // nil: all
}

// all returns the group as one span.
func (g *unitGroup) all() unitSpan {
	u := g.units[0]
	return unitSpan{u.Name, u.From, u.To, g.cells()}
}

// split returns at most n spans that are about as long, and have all rows of the group.
func (g *unitGroup) split(n int) (list []unitSpan) {
	s := g.all()
	if len(s.cells) < n {
		for i := range int64(n) {
			part := s
			part.from, part.to = s.from+(s.to-s.from)*i/int64(n), s.from+(s.to-s.from)*(i+1)/int64(n)
			if part.from < part.to {
				list = append(list, part)
			}
		}
		return list
	}
	order := make([]int, len(g.units))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return -cmp.Compare(g.units[a].Rows, g.units[b].Rows) })
	list = make([]unitSpan, n)
	rows := make([]uint64, n)
	for _, i := range order { // the next largest to the shortest
		k := slices.Index(rows, slices.Min(rows))
		list[k].cells, rows[k] = append(list[k].cells, g.units[i].Cell), rows[k]+g.units[i].Rows+1
	}
	for k := range list {
		list[k].name, list[k].from, list[k].to = s.name, s.from, s.to
	}
	return slices.DeleteFunc(list, func(s unitSpan) bool { return len(s.cells) == 0 })
}

// mostAsked is how many cells a query names.
const mostAsked = 256

// read calls do for each row of a span in a store.
func (c *Copier) read(ctx context.Context, from store.Store, s unitSpan, do func(e *pingline.Entry, nano int64) error) error {
	q := store.Query{From: s.from, To: s.to, Rider: c.cfg.Rider}
	byCell, ok := from.(store.CellReader)
	switch {
	case s.name != "":
		e := pingline.Entry{Kind: pingline.Self}
		return from.(store.PointReader).PointsNamed(ctx, s.name, s.from, s.to, func(p *pingline.Point) error {
			e.Point = p
			return do(&e, 0)
		})
	case s.cells == nil:
		return from.(store.Reader).Points(ctx, q, do)
	case !ok:
		in := make(map[uint64]bool, len(s.cells))
		for _, cell := range s.cells {
			in[cell] = true
		}
		return from.(store.Reader).Points(ctx, q, func(e *pingline.Entry, nano int64) error {
			if !in[e.Cell] {
				return nil
			}
			return do(e, nano)
		})
	}
	for some := range slices.Chunk(s.cells, mostAsked) {
		if err := byCell.PingsOfCells(ctx, q, some, do); err != nil {
			return err
		}
	}
	return nil
}
