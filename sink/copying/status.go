package copying

import (
	"context"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"pingline/internal/pause"
)

// Status is how far a Copy, a Verify or a Delete is.
type Status struct {
	Doing       string  // copy, compare or delete; "" before the first
	Units, Done int     // of the plan
	Rows        uint64  // of the plan, as the source counts them
	RowsDone    uint64  // of units that are done, likewise
	Refused     uint64  // rows that targets refused
	Rate        float64 // rows/s that were written lately; 0 while comparing
	Stands      string  // why it stands; "" if it goes on
	Briefly     string  // the same without words of a store's own, which may name its address
	Slowed      string  // why it is slower than it may be; "" if it is not
	Differ      int     // units in which source and targets differ
}

// Status returns how far the Copier is.
func (c *Copier) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.rows
	s.Rate = c.meter.rate(time.Now())
	s.Slowed = c.pace.slowed()
	var why, briefly []string
	for _, of := range slices.Sorted(maps.Keys(c.stands)) {
		why, briefly = append(why, c.stands[of]), append(briefly, brief(of, c.stands[of]))
	}
	s.Stands, s.Briefly = strings.Join(why, "; "), strings.Join(briefly, "; ")
	return s
}

// Reasons for which a copy stands, beside the store that takes no rows.
const (
	ofGauges     = "gauges"
	ofSource     = "source"
	ofComparison = "comparison"
	ofDeletion   = "deletion"
)

// brief returns why a copy stands without words of a store's own.
func brief(of, why string) string {
	switch of {
	case ofGauges:
		return why
	case ofSource:
		return "rows cannot be read"
	case ofComparison:
		return "rows cannot be compared"
	case ofDeletion:
		return "rows cannot be deleted"
	}
	return of + " takes no rows"
}

// begin begins to count a plan.
func (c *Copier) begin(doing string, plan []Planned) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rows = Status{Doing: doing, Units: len(plan)}
	for _, u := range plan {
		c.rows.Rows += u.Rows
	}
	c.meter = rowMeter{}
}

// passed counts units that are done.
func (c *Copier) passed(list []Planned) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rows.Done += len(list)
	for _, u := range list {
		c.rows.RowsDone += u.Rows
	}
}

// count changes a number of the status.
func (c *Copier) count(change func(s *Status)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.rows)
}

// stand notes, and says once, why the copy waits for something; "" means that it no longer does.
func (c *Copier) stand(of, why string) {
	c.mu.Lock()
	was, stood := c.stands[of]
	if c.stands[of] = why; why == "" {
		delete(c.stands, of)
	}
	c.mu.Unlock()
	switch {
	case why != "" && was != why:
		c.cfg.Logger.Warn("the copy stands", "why", why)
	case why == "" && stood:
		c.cfg.Logger.Warn("the copy goes on", "after", was)
	}
}

// lookAgain is how often the gauges are asked while the copy stands for one of them.
const lookAgain = 200 * time.Millisecond

// clear waits until no gauge keeps the copy from going on.
func (c *Copier) clear(ctx context.Context) error {
	for {
		why := c.cfg.Gauges.why()
		if c.stand(ofGauges, why); why == "" {
			return ctx.Err()
		}
		if err := pause.For(ctx, lookAgain); err != nil {
			return err
		}
	}
}

// rowMeter measures a rate over about the last ten seconds.
type rowMeter struct {
	began, at time.Time
	rows      float64
}

const meterTime = 10.0 // s

func (m *rowMeter) add(now time.Time, n int) {
	if m.began.IsZero() {
		m.began = now
	}
	m.rows = m.decayed(now) + float64(n)
	m.at = now
}

func (m *rowMeter) decayed(now time.Time) float64 {
	if m.at.IsZero() {
		return 0
	}
	return m.rows * math.Exp(-now.Sub(m.at).Seconds()/meterTime)
}

func (m *rowMeter) rate(now time.Time) float64 {
	// Of a time that is short beside meterTime, its part counts.
	part := 1 - math.Exp(-max(1, now.Sub(m.began).Seconds())/meterTime)
	return m.decayed(now) / meterTime / part
}
