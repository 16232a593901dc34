package copying

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"pingline"
	"pingline/internal/pause"
	"pingline/sink/store"
)

const (
	batchBytes = 4 << 20 // of a write, beside its last row

	leastWait, mostWait = time.Second, 30 * time.Second // between two tries
	mostTries           = 6                             // of all but writes, of a copy that does not wait
)

// Copy copies the units of a plan that are not done. Any error but ctx's says why it cannot go on;
// a unit may then be copied in part.
func (c *Copier) Copy(ctx context.Context, plan []Planned) error {
	c.begin("copy", plan)
	var open, last []Planned
	for _, u := range plan {
		x, done := c.cfg.Keep.Get(u.Unit)
		switch {
		case c.grows(u.Unit):
			last = append(last, u)
		case !done:
			open = append(open, u)
		default:
			c.passed([]Planned{u})
			c.count(func(s *Status) { s.Refused += x.Refused + x.Old })
		}
	}
	for _, g := range c.groups(append(open, last...), groupRows, groupCells) {
		if err := c.copyGroup(ctx, g); err != nil {
			return err
		}
		c.passed(g.units)
	}
	return nil
}

// limits asks the targets for how long they keep rows. Some take older ones, and delete them later.
func (c *Copier) limits(ctx context.Context) {
	c.keeps = make([]time.Duration, len(c.cfg.To))
	for i, to := range c.cfg.To {
		if r, ok := to.Store.(store.Retainer); ok && c.cfg.Shared {
			c.keeps[i], _ = r.Retention(ctx)
		}
	}
}

// expired returns the time of a row and how long its target keeps rows, 0 if it keeps this one.
func (c *Copier) expired(e *pingline.Entry, to int) (at time.Time, keeps time.Duration) {
	if to < 0 || to >= len(c.keeps) || c.keeps[to] == 0 {
		return at, 0
	}
	at = time.UnixMilli(e.At)
	if e.Point != nil {
		at = time.UnixMilli(e.Point.At)
	}
	if time.Since(at) <= c.keeps[to] {
		return at, 0
	}
	return at, c.keeps[to]
}

// grows reports whether rows of a unit may still come to the source alone.
func (c *Copier) grows(u Unit) bool { return c.cfg.Growing && u.To > c.began.UnixMilli() }

// copyGroup copies a group, again from its beginning if the source breaks off.
func (c *Copier) copyGroup(ctx context.Context, g *unitGroup) error {
	if c.cfg.Touches {
		units := make([]Unit, len(g.units))
		for i, u := range g.units {
			units[i] = u.Unit
		}
		if err := c.cfg.Keep.Touch(units...); err != nil {
			return err
		}
	}
	c.limits(ctx)
	tries := 0
	return c.insist(ctx, ofSource, func() error {
		if tries++; tries > 1 && c.cfg.Again != nil {
			if err := c.cfg.Again(); err != nil {
				return err
			}
		}
		began := time.Now()
		f := newTransfer(c, g)
		if err := f.run(ctx); err != nil {
			return err
		}
		return c.done(g, f, time.Since(began))
	})
}

// insist calls do until it succeeds. It waits, and says why, after errors of a store, and ends
// with any other.
func (c *Copier) insist(ctx context.Context, of string, do func() error) error {
	wait := leastWait
	for try := 1; ; try++ {
		err := do()
		if err == nil {
			c.stand(of, "")
			return nil
		}
		trouble := new(storeError)
		if ctx.Err() != nil || !errors.As(err, &trouble) || !c.cfg.Wait && (store.KindOf(err) == store.Configure || try == mostTries) {
			return err
		}
		c.stand(of, err.Error())
		if err := pause.For(ctx, wait); err != nil {
			return err
		}
		wait = min(2*wait, mostWait)
	}
}

// done tells that a group is copied, and makes that durable.
func (c *Copier) done(g *unitGroup, f *transfer, took time.Duration) (err error) {
	list := make([]Done, len(g.units))
	var lasting []Done
	refused := uint64(0)
	for i, u := range g.units {
		n := &f.units[i]
		list[i] = Done{Unit: u.Unit, State: UnitCopied, Copied: Copied{Rows: n.Rows, Refused: n.refused, Old: n.old}, Hash: n.Hash, Took: took.Milliseconds()}
		refused += n.refused + n.old
		if n.refused > 0 {
			c.refused[u.Unit] = true
		}
		if !c.grows(u.Unit) {
			lasting = append(lasting, list[i])
		}
	}
	c.count(func(s *Status) { s.Refused += refused })
	end := int64(0)
	if c.cfg.Copied != nil {
		if end, err = c.cfg.Copied(list); err != nil {
			return err
		}
	}
	return c.cfg.Keep.Append(end, lasting...)
}

// storeError is an error of a store in something that can be done again.
type storeError struct {
	did string
	err error
}

func (e *storeError) Error() string { return e.did + ": " + e.err.Error() }

func (e *storeError) Unwrap() error { return e.err }

// ownError is an error that came from the caller, or that ends the copy, through a store's Reader.
type ownError struct{ err error }

func (e *ownError) Error() string { return e.err.Error() }

func (e *ownError) Unwrap() error { return e.err }

// transfer copies a group: readers fill packets, writers write them.
type transfer struct {
	c    *Copier
	g    *unitGroup
	full chan *packet
	free chan *packet // as many as there are, or nil in place of one that was not made yet

	mu    sync.Mutex // guards the field below, and calls of Refused; nothing else is locked under it
	units []unitCount
}

type unitCount struct {
	RowSum
	refused uint64
	old     uint64 // left out for their age
}

// packet is rows for a target, in its form and in the log's.
type packet struct {
	to       int
	rows     []byte
	ends     []int // of rows
	plain    []byte
	plainEnd []int
}

func (b *packet) entry(i int, e *pingline.Entry) error {
	begin := 0
	if i > 0 {
		begin = b.plainEnd[i-1]
	}
	_, err := pingline.DecodeEntry(e, b.plain[begin:b.plainEnd[i]], 0)
	return err
}

// part returns the rows [i, j).
func (b *packet) part(i, j int) store.Rows {
	begin := 0
	if i > 0 {
		begin = b.ends[i-1]
	}
	return store.Rows{Bytes: b.rows[begin:b.ends[j-1]], N: j - i}
}

func newTransfer(c *Copier, g *unitGroup) *transfer {
	// A reader holds one for each target that it fills; when all of them are held, the others are
	// at the writers, so that one comes free.
	n := c.cfg.Readers*len(c.cfg.To) + c.cfg.Writers + c.cfg.Readers
	f := &transfer{c: c, g: g, full: make(chan *packet, n), free: make(chan *packet, n), units: make([]unitCount, len(g.units))}
	for range n {
		f.free <- nil
	}
	return f
}

func (f *transfer) run(ctx context.Context) error {
	if err := f.c.clear(ctx); err != nil {
		return err
	}
	all, ctx := errgroup.WithContext(ctx)
	all.Go(func() error {
		defer close(f.full)
		readers, ctx := errgroup.WithContext(ctx)
		for _, s := range f.g.split(f.c.cfg.Readers) {
			readers.Go(func() error { return f.read(ctx, s) })
		}
		return readers.Wait()
	})
	for range f.c.cfg.Writers {
		all.Go(func() error {
			for b := range f.full {
				if err := f.write(ctx, b, 0, len(b.ends)); err != nil {
					return err
				}
				*b = packet{rows: b.rows[:0], ends: b.ends[:0], plain: b.plain[:0], plainEnd: b.plainEnd[:0]}
				f.free <- b
			}
			return nil
		})
	}
	return all.Wait()
}

// read passes a span on to the writers.
func (f *transfer) read(ctx context.Context, s unitSpan) error {
	r := &transferReader{transfer: f, ctx: ctx, units: make([]unitCount, len(f.g.units)), filling: make([]*packet, len(f.c.cfg.To))}
	err := f.c.read(ctx, f.c.cfg.From, s, r.row)
	own := new(ownError)
	switch {
	case errors.As(err, &own):
		return own.err
	case err != nil:
		return &storeError{"read " + f.g.String(), err}
	}
	for _, b := range r.filling {
		if b != nil {
			if err := r.send(b); err != nil {
				return err
			}
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range r.units {
		n := &f.units[i]
		n.Rows, n.Hash, n.refused, n.old = n.Rows+r.units[i].Rows, n.Hash+r.units[i].Hash, n.refused+r.units[i].refused, n.old+r.units[i].old
	}
	return nil
}

// transferReader is a reader of a transfer.
type transferReader struct {
	*transfer
	ctx     context.Context
	hash    rowHasher
	units   []unitCount
	filling []*packet // by target
}

// row takes a row of the source.
func (r *transferReader) row(e *pingline.Entry, nano int64) error {
	i, ok := r.g.of(e)
	to := r.c.cfg.Owner(e)
	if !ok || to < 0 {
		return nil
	}
	h, _ := r.hash.row(e, nano)
	r.units[i].add(h)
	if max(len(e.Rider), len(e.Device), len(e.Event), len(e.Trip)) > maxString {
		r.units[i].refused++
		return r.refuse(to, e, errors.New("a name of more than 255 bytes, which Pingline did not write"))
	}
	if at, keeps := r.c.expired(e, to); keeps > 0 {
		r.units[i].old++
		return r.refuse(to, e, &store.Refusal{Kind: store.BadRows, Reason: store.Expired, Keeps: keeps, Err: fmt.Errorf("a row of %s, and rows are kept for %v", at.UTC().Format(time.RFC3339), keeps)})
	}
	b := r.filling[to]
	if b == nil {
		select {
		case b = <-r.free:
		case <-r.ctx.Done():
			return &ownError{r.ctx.Err()}
		}
		if b == nil {
			b = new(packet)
		}
		b.to, r.filling[to] = to, b
	}
	b.rows = r.c.cfg.To[to].Store.AppendRow(b.rows, e)
	b.ends = append(b.ends, len(b.rows))
	b.plain = pingline.AppendEntry(b.plain, e, 0)
	b.plainEnd = append(b.plainEnd, len(b.plain))
	if len(b.ends) < r.c.cfg.BatchRows && len(b.rows) < batchBytes {
		return nil
	}
	r.filling[to] = nil
	return r.send(b)
}

func (r *transferReader) send(b *packet) error {
	select {
	case r.full <- b:
		return nil
	case <-r.ctx.Done():
		return &ownError{r.ctx.Err()}
	}
}

// refuse hands a row for a target over to the caller.
func (f *transfer) refuse(to int, e *pingline.Entry, why error) error {
	if f.c.cfg.Refused == nil {
		return &ownError{why}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.c.cfg.Refused(e, why); err != nil {
		return &ownError{fmt.Errorf("%s: %w", f.c.cfg.To[to].Name, err)}
	}
	return nil
}

// write writes the rows [i, j) of a packet, in halves where one of them is refused.
func (f *transfer) write(ctx context.Context, b *packet, i, j int) error {
	if i == j {
		return nil
	}
	if err := f.c.pace.wait(ctx, j-i); err != nil {
		return err
	}
	err := f.c.try(ctx, b.to, b.part(i, j))
	why := new(store.Refusal)
	switch {
	case err == nil:
		return nil
	case f.c.cfg.Refused == nil || !errors.As(err, &why) || why.Kind != store.BadRows:
		return fmt.Errorf("write %v to %s: %w", f.g, f.c.cfg.To[b.to].Name, err)
	case j-i == 1 || why.All && why.Reason == store.Expired: // there may be days of them
		for ; i < j; i++ {
			if err := f.refuseRow(b, i, err); err != nil {
				return err
			}
		}
		return nil
	}
	middle := (i + j) / 2
	if err := f.write(ctx, b, i, middle); err != nil {
		return err
	}
	return f.write(ctx, b, middle, j)
}

func (f *transfer) refuseRow(b *packet, i int, why error) error {
	var e pingline.Entry
	if err := b.entry(i, &e); err != nil {
		return err
	}
	if u, ok := f.g.of(&e); ok {
		f.mu.Lock()
		f.units[u].refused++
		f.mu.Unlock()
	}
	return f.refuse(b.to, &e, why)
}

// try writes rows, and waits while their target is in trouble.
func (c *Copier) try(ctx context.Context, to int, rows store.Rows) error {
	name := c.cfg.To[to].Name
	for wait := leastWait; ; wait = min(2*wait, mostWait) {
		if err := c.clear(ctx); err != nil { // it may have waited for long
			return err
		}
		began := time.Now()
		err := c.cfg.To[to].Store.Write(ctx, rows)
		if err == nil {
			c.wrote(name, began, rows.N)
			return nil
		}
		why := new(store.Refusal)
		if ctx.Err() != nil || !errors.As(err, &why) || why.Kind == store.BadRows && c.cfg.Refused != nil {
			return err
		}
		if why.Advice != "" && !strings.Contains(err.Error(), why.Advice) {
			err = fmt.Errorf("%w; %s", err, why.Advice)
		}
		if why.Kind != store.Retry && !c.cfg.Wait {
			return err
		}
		c.stand(name, name+": "+err.Error())
		if err := pause.For(ctx, max(wait, why.After)); err != nil {
			return err
		}
	}
}

// wrote notes a write that was taken.
func (c *Copier) wrote(name string, began time.Time, rows int) {
	now := time.Now()
	c.mu.Lock()
	c.meter.add(now, rows)
	_, stood := c.stands[name]
	c.mu.Unlock()
	if stood {
		c.stand(name, "")
	}
	if rows >= c.cfg.BatchRows/2 { // a short one takes longer a row
		c.pace.observe(now, name, now.Sub(began)*1000/time.Duration(rows))
	}
}
