// Package copying copies stored pings and points from one store to another, a day at a time,
// and compares both afterwards.
//
// A unit, all pings of a day or all points of a name in it, may be copied again at any time:
// a row written twice is one row. A row that the target refuses for its content is handed to
// the caller, and the others are written; a target that is in trouble is waited for. Rows that
// are stored while their unit is copied may be missed.
//
// Copying reads slices of a day into memory, at most about MostRows rows, so that no query
// waits for a write. It keeps no state: see DoneFile for what is done.
package copying

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"time"

	"pingline"
	"pingline/internal/pause"
	"pingline/sink/store"
)

// Config selects pings and points to copy. From, To and Refused are required.
type Config struct {
	From, To store.Store // both are Readers; points are copied if both are PointReaders
	Rider    string      // "" means all riders, and points
	Names    []string    // of points to copy
	Pace     *Pace       // nil: as fast as the target takes rows

	// Refused is called for each row that the target refused for its content; the entry is
	// valid during the call.
	Refused func(e *pingline.Entry, why error) error

	BatchRows int          // of a write; 0 means 5,000
	Logger    *slog.Logger // nil means slog.Default()
}

const (
	// MostRows is how many rows are held in memory, unless more are of the same second.
	MostRows = 200_000

	batchBytes = 4 << 20 // of a write, beside its last row
	firstSlice = time.Hour
	leastSlice = time.Second
	maxString  = 255 // bytes of a name in an entry

	leastWait, mostWait = time.Second, 30 * time.Second // between two tries of a write
)

// Unit is the pings of a day, or the points of a name in it.
type Unit = store.Unit

// Copied counts rows of a unit.
type Copied struct {
	Rows    uint64 `json:"rows"` // that the source has
	Refused uint64 `json:"refused,omitempty"`
}

// Copier copies units. It is for a single goroutine.
type Copier struct {
	cfg        Config
	from, to   store.Reader
	fromPoints store.PointReader // nil: points are not copied
	toPoints   store.PointReader
	slice      time.Duration
	rows       []byte
}

// New returns a Copier, or an error if one of the stores cannot be read.
func New(cfg Config) (*Copier, error) {
	c := &Copier{cfg: cfg, slice: firstSlice}
	c.cfg.BatchRows = cmp.Or(cfg.BatchRows, 5000)
	c.cfg.Logger = cmp.Or(cfg.Logger, slog.Default())
	var read, compared bool
	c.from, read = cfg.From.(store.Reader)
	c.to, compared = cfg.To.(store.Reader)
	if !read || !compared {
		return nil, errors.New("copy: a store that cannot be read is no source, nor can a copy in it be compared")
	}
	from, read := cfg.From.(store.PointReader)
	to, compared := cfg.To.(store.PointReader)
	if read && compared {
		c.fromPoints, c.toPoints = from, to
	}
	return c, nil
}

// CopiesPoints reports whether points that are no pings are copied.
func (c *Copier) CopiesPoints() bool { return c.fromPoints != nil && c.cfg.Rider == "" }

// Units returns the units with since <= ts < until, oldest first: of days from the first ping
// to the last, and of points until now. MinInt64 and MaxInt64 are no limit.
func (c *Copier) Units(ctx context.Context, since, until int64) (list []Unit, err error) {
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
	lastPoint := last
	if c.CopiesPoints() && since != math.MinInt64 {
		first = min(first, since) // points may be older than pings
	}
	if c.CopiesPoints() && first != math.MaxInt64 {
		lastPoint = max(last, min(until-1, time.Now().UnixMilli()))
	}
	const day = 24 * 60 * 60 * 1000
	for begin := first - ((first%day)+day)%day; begin <= lastPoint; begin += day {
		u := Unit{From: max(begin, since), To: min(begin+day, until)}
		if u.From <= last && u.To > first {
			list = append(list, u)
		}
		if !c.CopiesPoints() {
			continue
		}
		for _, u.Name = range c.cfg.Names {
			list = append(list, u)
		}
	}
	return list, nil
}

// Copy copies a unit. Any error but ctx's says why it cannot go on; the unit may then be
// copied in part.
func (c *Copier) Copy(ctx context.Context, u Unit) (n Copied, err error) {
	for at := u.From; at < u.To; {
		end := min(at+c.slice.Milliseconds(), u.To)
		list, err := c.read(ctx, u.Name, at, end)
		if errors.Is(err, errMany) {
			c.slice /= 2
			continue
		}
		if err != nil {
			return n, fmt.Errorf("read %v: %w", u, err)
		}
		refused, err := c.write(ctx, list)
		n.Rows += uint64(len(list.ends)) + list.refused
		n.Refused += refused + list.refused
		if err != nil {
			return n, fmt.Errorf("write %v: %w", u, err)
		}
		if len(list.ends) < MostRows/8 {
			c.slice = min(2*c.slice, 24*time.Hour)
		}
		at = end
	}
	return n, nil
}

// packed are entries in the log's form, as of a commit at time 0, each ending at one of ends.
type packed struct {
	bytes   []byte
	ends    []int
	refused uint64 // rows beside them that no store takes
}

func (p *packed) entry(i int, e *pingline.Entry) error {
	begin := 0
	if i > 0 {
		begin = p.ends[i-1]
	}
	_, err := pingline.DecodeEntry(e, p.bytes[begin:p.ends[i]], 0)
	return err
}

var errMany = errors.New("more rows than fit into memory")

// read reads the rows from one time to another. It returns errMany if there are too many of
// them for a slice that can be halved.
func (c *Copier) read(ctx context.Context, name string, from, to int64) (*packed, error) {
	list := new(packed)
	var foreign []pingline.Entry // handed over once the slice is read: a part may be read again
	add := func(e *pingline.Entry) error {
		if len(list.ends)+len(foreign) == MostRows && c.slice > leastSlice {
			return errMany
		}
		if max(len(e.Rider), len(e.Device), len(e.Event), len(e.Trip)) > maxString {
			one := *e
			one.Rider, one.Device, one.Event, one.Trip = strings.Clone(e.Rider), strings.Clone(e.Device), strings.Clone(e.Event), strings.Clone(e.Trip)
			foreign = append(foreign, one)
			return nil
		}
		list.bytes = pingline.AppendEntry(list.bytes, e, 0)
		list.ends = append(list.ends, len(list.bytes))
		return nil
	}
	err := each(ctx, c.from, c.fromPoints, Unit{Name: name, From: from, To: to}, c.cfg.Rider, func(e *pingline.Entry, _ int64) error { return add(e) })
	for i := range foreign {
		if err == nil {
			err = c.cfg.Refused(&foreign[i], errors.New("a name of more than 255 bytes, which Pingline did not write"))
		}
	}
	list.refused = uint64(len(foreign))
	return list, err
}

// each calls do for each row of a unit in a store.
func each(ctx context.Context, pings store.Reader, points store.PointReader, u Unit, rider string, do func(e *pingline.Entry, nano int64) error) error {
	if u.Name == "" {
		return pings.Points(ctx, store.Query{From: u.From, To: u.To, Rider: rider}, do)
	}
	e := pingline.Entry{Kind: pingline.Self}
	return points.PointsNamed(ctx, u.Name, u.From, u.To, func(p *pingline.Point) error {
		e.Point = p
		return do(&e, 0)
	})
}

// write writes rows in batches, and returns how many the target refused.
func (c *Copier) write(ctx context.Context, list *packed) (refused uint64, err error) {
	var e pingline.Entry
	for i := 0; i < len(list.ends); {
		c.rows = c.rows[:0]
		j := i
		for ; j < len(list.ends) && j-i < c.cfg.BatchRows && len(c.rows) < batchBytes; j++ {
			if err := list.entry(j, &e); err != nil {
				return refused, err
			}
			c.rows = c.cfg.To.AppendRow(c.rows, &e)
		}
		if err := c.cfg.Pace.Wait(ctx, j-i); err != nil {
			return refused, err
		}
		n, err := c.batch(ctx, list, i, j)
		refused += n
		if err != nil {
			return refused, err
		}
		i = j
	}
	return refused, nil
}

// batch writes the rows [i, j) of a list, in halves where one of them is refused.
func (c *Copier) batch(ctx context.Context, list *packed, i, j int) (refused uint64, err error) {
	var e pingline.Entry
	c.rows = c.rows[:0]
	for k := i; k < j; k++ {
		if err := list.entry(k, &e); err != nil {
			return 0, err
		}
		c.rows = c.cfg.To.AppendRow(c.rows, &e)
	}
	err = c.try(ctx, store.Rows{Bytes: c.rows, N: j - i})
	why := new(store.Refusal)
	switch {
	case err == nil:
		return 0, nil
	case !errors.As(err, &why) || why.Kind != store.BadRows:
		return 0, err
	case j-i == 1:
		return 1, c.cfg.Refused(&e, err)
	case why.All && why.Reason == store.Expired: // there may be days of them
		for k := i; k < j; k++ {
			if err := errors.Join(list.entry(k, &e), c.cfg.Refused(&e, err)); err != nil {
				return uint64(k - i), err
			}
		}
		return uint64(j - i), nil
	}
	middle := (i + j) / 2
	refused, err = c.batch(ctx, list, i, middle)
	if err != nil {
		return refused, err
	}
	more, err := c.batch(ctx, list, middle, j)
	return refused + more, err
}

// try writes rows, and waits while the target is in trouble. Its error is a refusal of rows,
// trouble that an operator must put right, or ctx's.
func (c *Copier) try(ctx context.Context, rows store.Rows) error {
	said := false
	for wait := leastWait; ; wait = min(2*wait, mostWait) {
		began := time.Now()
		err := c.cfg.To.Write(ctx, rows)
		c.cfg.Pace.took(time.Since(began))
		why := new(store.Refusal)
		if err == nil || ctx.Err() != nil || !errors.As(err, &why) || why.Kind == store.BadRows {
			return err
		}
		if why.Kind == store.Configure {
			if why.Advice != "" {
				err = fmt.Errorf("%w; %s", err, why.Advice)
			}
			return err
		}
		if !said {
			said = true
			c.cfg.Logger.Warn("the target takes no rows for now; the copy waits", "error", err)
		}
		if err := pause.For(ctx, max(wait, why.After)); err != nil {
			return err
		}
	}
}
