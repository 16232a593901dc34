package store

import (
	"cmp"
	"context"
	"errors"
	"strconv"
	"time"

	"pingline"
)

// Unit is a piece of a store's history that is copied, compared or deleted at once: the pings of
// a day, those of a cell in it, or the points of a name in it.
type Unit struct {
	Name     string // of points; "" are pings
	From, To int64  // ms since 1970, From <= ts < To, within a day of UTC
	InCell   bool   // of pings: those of Cell alone
	Cell     uint64 // 0: pings without a cell
}

func (u Unit) String() string {
	text := cmp.Or(u.Name, "pings")
	if u.InCell {
		text += " of cell " + strconv.FormatUint(u.Cell, 16)
	}
	return text + " of " + time.UnixMilli(u.From).UTC().Format(time.DateOnly)
}

// dayMilli is the length of a day.
const dayMilli = 24 * 60 * 60 * 1000

// DayUnit returns the unit of a day, counted from 1970, within [from, to).
func DayUnit(name string, day, from, to int64) Unit {
	return Unit{Name: name, From: max(day*dayMilli, from), To: min((day+1)*dayMilli, to)}
}

// Day returns the day of a time, counted from 1970.
func Day(ms int64) int64 {
	day := ms / dayMilli
	if ms%dayMilli < 0 {
		day--
	}
	return day
}

// Lister is implemented by stores that know the units in which they read history cheaply.
type Lister interface {
	// Units calls each for every unit of pings, whose name is "", or of points of a name that
	// has rows with from <= ts < to, in any order and until each returns an error, which it passes
	// on. Units do not overlap. rows is how many they are, but for rows that no query returns.
	Units(ctx context.Context, name string, from, to int64, each func(u Unit, rows uint64) error) error
}

// CellReader is implemented by stores that find the pings of cells without reading others.
type CellReader interface {
	// PingsOfCells is Points for the pings of some cells alone; cell 0 are pings without one.
	PingsOfCells(ctx context.Context, q Query, cells []uint64, each func(e *pingline.Entry, nano int64) error) error
}

// UnitEraser is implemented by stores from which a unit can be removed.
type UnitEraser interface {
	// EraseUnit deletes all rows of a unit, and returns nil once no answer shows one. It
	// may be called again. Where the store could not but delete rows beside the unit, it deletes
	// nothing and returns an error that wraps ErrBeside.
	EraseUnit(ctx context.Context, u Unit) error
}

// ErrBeside is wrapped by EraseUnit's error if a unit cannot be deleted alone.
var ErrBeside = errors.New("rows beside the unit would be deleted")

// KindOf returns how to go on after an error of a store. An error that does not say is trouble
// that may end by itself.
func KindOf(err error) Kind {
	if why := new(Refusal); errors.As(err, &why) {
		return why.Kind
	}
	var of interface{ RefusalKind() Kind }
	if errors.As(err, &of) {
		return of.RefusalKind()
	}
	return Retry
}
