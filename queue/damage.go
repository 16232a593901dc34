package queue

import (
	"context"
	"fmt"
	"slices"

	"pingline/queue/driver"
	"pingline/queue/scan"
)

// DamageError says that the records from From to To are lost, and by how much the
// totals grew in them.
type DamageError struct {
	From, To uint64
	Lost     Totals
}

func (e *DamageError) Error() string {
	if e.From == e.To {
		return fmt.Sprintf("record %d of the log is lost", e.From)
	}
	return fmt.Sprintf("records %d to %d of the log are lost", e.From, e.To)
}

// damaged is a run of lost records and the totals on both sides of it.
type damaged struct {
	from, to      uint64
	before, after Totals
}

func (d *damaged) error() *DamageError {
	return &DamageError{From: d.from, To: d.to, Lost: d.after.Sub(d.before)}
}

// Damage returns the records that are known to be lost: found when the log was
// opened, or met by readers since, each record once.
func (l *Log) Damage() []DamageError {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := make([]DamageError, 0, len(l.damage))
	for i := range l.damage {
		list = append(list, *l.damage[i].error())
	}
	return list
}

// note adds d to the records that are known to be lost, and logs d if it was not
// known.
func (l *Log) note(d damaged) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i, _ := slices.BinarySearchFunc(l.damage, d.from, func(e damaged, from uint64) int {
		if e.to < from {
			return -1
		}
		return 1
	})
	j := i
	for ; j < len(l.damage) && l.damage[j].from <= d.to; j++ {
		e := &l.damage[j]
		if e.from <= d.from && e.to >= d.to {
			return
		}
		if e.from < d.from {
			d.from, d.before = e.from, e.before
		}
		if e.to > d.to {
			d.to, d.after = e.to, e.after
		}
	}
	l.damage = slices.Replace(l.damage, i, j, d)
	e := d.error()
	l.cfg.Logger.Warn("records of the log are lost", "from", e.From, "to", e.To, "totals", e.Lost)
}

// reportLost notes the records that are lost by the survey: before the first record,
// behind the last, and between. next has the next number to give.
func (l *Log) reportLost(ctx context.Context, st driver.Stream, v survey, next Cursor) error {
	trimmed := l.cursors.Trimmed()
	if trimmed.Next == 0 {
		// The log has no note of how far it was trimmed: records missing
		// before the first count as trimmed.
		if trimmed.Next = 1; v.Last != nil {
			trimmed = Cursor{Next: v.First.Number, Totals: v.First.Before}
		}
		l.cursors.SetTrimmed(trimmed)
	}
	if v.Last == nil {
		if trimmed.Next < next.Next {
			l.note(damaged{trimmed.Next, next.Next - 1, trimmed.Totals, next.Totals})
		}
		return nil
	}
	if trimmed.Next < v.First.Number {
		l.note(damaged{trimmed.Next, v.First.Number - 1, trimmed.Totals, v.First.Before})
	}
	for _, g := range v.Lost() {
		// The known gap may be a part of a larger gap that cannot be read.
		before, err := scan.Previous(ctx, st.Next, v.First.Seq, g.From-1)
		if err != nil {
			return err
		}
		after, err := scan.Find(ctx, st.Next, g.To+1, v.Last.Seq)
		if err != nil {
			return err
		}
		if before == nil || after == nil {
			continue // readers will find the damage
		}
		from := Cursor{Next: before.Number + 1, Totals: before.Totals}
		if from.Next < trimmed.Next {
			from = trimmed
		}
		if from.Next < after.Number {
			l.note(damaged{from.Next, after.Number - 1, from.Totals, after.Before})
		}
	}
	if last := v.Last; last.Number+1 < next.Next {
		l.note(damaged{last.Number + 1, next.Next - 1, last.Totals, next.Totals})
	}
	return nil
}

// totalsBefore returns the totals before record number, which is lost, or
// unknown if they cannot be read.
func (l *Log) totalsBefore(ctx context.Context, st driver.Stream, number uint64, unknown Totals) (Totals, error) {
	if number == 1 {
		return Totals{}, nil
	}
	if c, ok := l.cursors.At(number); ok {
		return c.Totals, nil
	}
	l.mu.Lock()
	at := l.numbering.Seq(number - 1)
	for _, d := range l.damage {
		if d.to+1 == number {
			defer l.mu.Unlock()
			return d.after, nil
		}
	}
	l.mu.Unlock()
	r, err := scan.Record(ctx, st.Next, at)
	if err == nil && r != nil && r.Number == number-1 {
		return r.Totals, nil
	}
	return unknown, err
}
