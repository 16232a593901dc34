package moving

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"pingline"
	"pingline/internal/unit"
	"pingline/sink/copying"
	"pingline/sink/reshard"
	"pingline/sink/store"
)

func refuse(format string, args ...any) error {
	return &reshard.RefusedError{Why: fmt.Sprintf(format, args...)}
}

// Pause has it stand until Resume, also over a restart.
func (m *Mover) Pause() error {
	return m.change(func(j *moveJob) error {
		if !j.Stage.works() {
			return refuse("there is nothing to pause: history is %s", j.Stage)
		}
		j.Paused = true
		return nil
	})
}

// Resume has it go on.
func (m *Mover) Resume() error {
	return m.change(func(j *moveJob) error {
		if !j.Paused {
			return refuse("it is not paused")
		}
		j.Paused = false
		return nil
	})
}

// Verify has all be compared again: counts of all units, and checksums of a share of them or, if
// full, of all. What differs is copied again.
func (m *Mover) Verify(full bool) error {
	return m.change(func(j *moveJob) error {
		if j.Stage != Moved && j.Stage != Comparing {
			return refuse("history is %s: it is compared once it is copied, and before it is deleted", j.Stage)
		}
		j.Stage, j.Share, j.Compared = Comparing, firstShare, false
		if full {
			j.Share = 1
		}
		return nil
	})
}

// Delete has what was moved be deleted from the old shards.
func (m *Mover) Delete() error {
	phase := m.cfg.Eras.Record().Phase
	return m.change(func(j *moveJob) error {
		for _, sh := range m.cfg.Eras.Shards() {
			if _, erases := sh.Store.(store.UnitEraser); !erases && slices.Contains(j.Old.Names(), sh.Name) {
				return refuse("shard %s cannot delete days or cells: its rows stay, and readers return a row that two shards have once", sh.Name)
			}
		}
		switch {
		case phase != reshard.Settled:
			return refuse("the old shards are still written in phase %s: pingline reshard finish comes first", phase)
		case j.Stage.Undone():
			return refuse("the change was aborted: pingline reshard abort --clean deletes what it copied")
		case j.Stage == Deleted: // units may have been kept: they are tried again
		case j.Stage != Moved:
			return refuse("history is %s: it is deleted once it is copied and compared", j.Stage)
		case j.Differ > 0:
			return refuse("%s: pingline reshard verify copies again", unit.Plural(j.Differ, "difference", "differences"))
		}
		j.Stage = Deleting
		return nil
	})
}

// Unready returns why the new layout cannot be put in force, or replaced by another, without
// that history is missed in the new shards, and "" if it can. wait says that it will end by
// itself.
func (m *Mover) Unready() (why string, wait bool) {
	s, rec := m.Status(), m.cfg.Eras.Record()
	switch known := s != nil && s.ID == rec.ID; {
	case !known && rec.Move != nil && rec.Phase != reshard.Settled:
		return "history is not copied yet", true
	case !known || s.Stage == Deleted || s.Stage == Cleaned:
		return "", false
	case s.Stage == Deleting:
		return "history is being deleted from the old shards", true
	case s.Stage == Cleaning:
		return "copies of the change that was aborted are being deleted", true
	case s.Stage != Moved:
		text := fmt.Sprintf("history: %s, %.0f %%", s.Stage, 100*s.share())
		switch {
		case s.Paused:
			text += ", paused: pingline reshard resume"
		case s.Stands != "":
			text += ", stands: " + s.Stands
		}
		return text, !s.Paused
	case s.Differ > 0:
		return fmt.Sprintf("history: %s, see pingline reshard status --json; pingline reshard verify copies again", unit.Plural(s.Differ, "difference", "differences")), false
	}
	return "", false
}

// Weight is how much history moves with a change.
type Weight struct {
	Units, Of   int     // pieces that move, and all: cells and days, or days, and days of points
	Rows        uint64  // that move, as far as the stores count; of units of which only some rows move all
	Stay        uint64  // rows of units of which nothing moves
	Bytes       uint64  // about, as they are written
	Rate        float64 `json:",omitempty"`
	Uncounted   []string
	CannotPoint bool // points of nodes about themselves, and totals, are not copied: a store cannot be asked for them
}

// Took returns how long the copy takes at least.
func (w *Weight) Took() time.Duration {
	if w.Rate == 0 {
		return 0
	}
	return time.Duration(float64(w.Rows) / w.Rate * float64(time.Second))
}

// Weigh looks how much a change would move. fresh are stores of shards that are not known.
func (m *Mover) Weigh(ctx context.Context, d *reshard.Intent, fresh map[string]store.Store) (*Weight, error) {
	w := &Weight{Rate: d.Move.Rate}
	for _, from := range d.Old.Names() {
		p, cfg, err := m.copierOf(d.Old, d.New, from, fresh)
		if err != nil {
			return nil, err
		}
		if cfg == nil {
			continue
		}
		if p.copier, err = copying.New(*cfg); err != nil {
			return nil, refuse("history of %s: %v", from, err)
		}
		w.CannotPoint = w.CannotPoint || !p.copier.CopiesPoints()
		if err := w.add(ctx, p, cfg); err != nil {
			return nil, fmt.Errorf("history of %s: %w", from, err)
		}
	}
	return w, nil
}

func (w *Weight) add(ctx context.Context, p *shardPart, cfg *copying.Config) error {
	if _, ok := cfg.From.(store.Lister); !ok {
		w.Uncounted = append(w.Uncounted, p.from)
		return nil
	}
	plan, err := p.copier.Plan(ctx, math.MinInt64, math.MaxInt64)
	if err != nil {
		return err
	}
	first := (*copying.Planned)(nil)
	rows := uint64(0)
	for i := range plan {
		u := &plan[i]
		if w.Of++; !p.any(&u.Unit) {
			w.Stay += u.Rows
			continue
		}
		w.Units++
		rows += u.Rows
		if first == nil && u.Name == "" {
			first = u
		}
	}
	w.Rows += rows
	if first != nil {
		w.Bytes += uint64(float64(rows) * rowBytes(ctx, cfg, &first.Unit))
	}
	return nil
}

// sample is how many rows tell how large a row is.
const sample = 200

// rowBytes returns about how large rows are as the first target has them.
func rowBytes(ctx context.Context, cfg *copying.Config, u *store.Unit) float64 {
	n, size := 0, 0
	var row []byte
	enough := errors.New("enough rows")
	err := cfg.From.(store.Reader).Points(ctx, store.Query{From: u.From, To: u.To, Limit: 1}, func(e *pingline.Entry, _ int64) error {
		row = cfg.To[0].Store.AppendRow(row[:0], e)
		size += len(row)
		if n++; n == sample {
			return enough
		}
		return nil
	})
	if n == 0 || err != nil && n < sample {
		return 0
	}
	return float64(size) / float64(n)
}
