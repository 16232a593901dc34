// Package audit remembers the answers to pings, in a Ledger in memory or in an AckLog
// on disk, and holds them against the points that are stored.
//
// It promises to find each ping that was acknowledged and is not there, within its
// bound. It needs no more than a reader of the store, and shares no code with the
// ingester, so that the two cannot be wrong together. Of the time, the numbers and the
// event of a ping it looks at each; not at its trip.
package audit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pingline"
	"pingline/internal/unit"
	"pingline/sim/audit/tally"
	"pingline/sink/store"
)

// ReadPoints calls each for every stored point that q selects, in any order and
// until each fails; the entry is good for one call. Points of a store.Reader is
// one.
type ReadPoints func(ctx context.Context, q store.Query, each func(e *pingline.Entry, nano int64) error) error

// ReadTotals is that of package tally.
type ReadTotals = tally.ReadTotals

// RollupReport is that of package tally.
type RollupReport = tally.RollupReport

// Report is the result of an audit.
type Report struct {
	Checked    uint64 `json:"checked"` // pings that were acknowledged: accepted, held, redundant or duplicate
	Sent       uint64 `json:"sent"`    // pings in the ledger, by what was answered:
	Accepted   uint64 `json:"accepted"`
	Held       uint64 `json:"held"`
	Redundant  uint64 `json:"redundant"`
	Duplicate  uint64 `json:"duplicate"`
	Shed       uint64 `json:"shed"`
	Rejected   uint64 `json:"rejected"`
	Unanswered uint64 `json:"unanswered"`

	Written    uint64  `json:"written"`      // left to the caller: points the sink wrote
	Stored     uint64  `json:"stored"`       // pings found in the store
	Kept       float64 `json:"kept"`         // stored ÷ sent
	Lost       uint64  `json:"lost"`         // accepted and not stored; duplicates of nothing
	Wrong      uint64  `json:"wrong"`        // points that say something else than what was sent
	OutOfBound uint64  `json:"out_of_bound"` // held or redundant, and neither stored nor within the bound
	Foreign    uint64  `json:"foreign"`      // points of these tracks that were never sent
	Others     uint64  `json:"others"`       // points of tracks that are not in the ledger: others send as well
	Corrected  uint64  `json:"corrected"`    // points at another time than was sent, as the clock was wrong
	Collided   uint64  `json:"collided"`     // accepted pings whose point another of the same ms and ns replaced
	Untold     uint64  `json:"untold"`       // points that are in no ack log, but one of them broke off
	WorstError float64 `json:"worst_error"`  // metres, of a ping that is not stored

	Broken   uint64   `json:"broken,omitempty"`   // ack logs that broke off, as their run was killed or goes on
	Torn     int64    `json:"torn,omitempty"`     // bytes of ack logs that could not be read
	Examples []string `json:"examples,omitempty"` // of what is not right, at most 10

	Rollups *RollupReport `json:"rollups,omitempty"` // nil: they were not looked at
}

// Err returns nil if all that was acknowledged was found and nothing else, or
// an error that says what was not.
func (r Report) Err() error {
	totals := uint64(0)
	if r.Rollups != nil {
		totals = r.Rollups.Wrong
	}
	if r.Lost+r.Wrong+r.OutOfBound+r.Foreign+totals == 0 {
		return nil
	}
	err := fmt.Errorf("audit of %d pings: %d lost, %d wrong, %d out of bound, %d foreign",
		r.Sent, r.Lost, r.Wrong, r.OutOfBound, r.Foreign)
	if totals > 0 {
		err = fmt.Errorf("%w, %s of the roll-up wrong", err, unit.Plural(totals, "total", "totals"))
	}
	if len(r.Examples) > 0 {
		err = fmt.Errorf("%w; such as %s", err, r.Examples[0])
	}
	return err
}

// Reached is how far an audit has come.
type Reached struct {
	Pings  uint64 // read from ack logs
	Points uint64 // read from the store, once all pings are read
	Parts  int    // compared, of 64, once all points are read
}

const progressEvery = 1 << 16 // pings or points

// Config sets up an audit. The zero value takes every default.
type Config struct {
	Dir      string        // for files that are as large as the pings; "" means that for temporary files
	Progress func(Reached) // is told how far it is, often; nil means nobody

	StoredAs func(rider string) string // name by which a rider of an ack log is stored; nil: its own

	Totals   ReadTotals       // reads those of the roll-up; nil: they are not looked at
	Finest   int              // resolution of the ingester's roll-up; 0 means 8
	Lateness time.Duration    // of the ingester's roll-up; 0 means 2 min
	Now      func() time.Time // says which windows have closed; nil means time.Now
}

func (c *Config) progress(p Reached) {
	if c.Progress != nil {
		c.Progress(p)
	}
}

const (
	maxExamples = 10
	// A ping's neighbours may have been sent before the ledger was begun.
	auditMargin = time.Hour
	// What arithmetic may add to an error, metres.
	tolerance = 0.001
)

// Check holds the acknowledged pings against the stored points:
//
//   - Every point of the ledger's tracks stored within its time was sent, and
//     says what was sent: position, numbers, event.
//   - Every accepted ping is stored: an event as a point that has it, any other
//     ping as one of its position. A point of its moment that is wrong may be its
//     own, and is told as that.
//   - Every held or redundant ping is stored, or lies within its bound of the
//     straight line, linear in time, between the track's stored points before
//     and after it that are not late.
//   - Every duplicate was acknowledged before, by an answer to this ledger or
//     by one that was lost: then it is stored, or within the widest bound of
//     any answer.
//
// Phones that err are held to these rules:
//
//   - A ping that was sent twice needs one point, whatever the answers were.
//   - Pings of one ms, as of a frozen clock, need a point for each position, and
//     for each event. Two of them whose points have the same ns, which positions
//     and events decide, are one point (see pingline.Entry.Nano): the other is
//     counted as collided, if its point would be at that ns and the one that is
//     there was sent as it is.
//   - A point that is corrected has the position, numbers and event of an accepted
//     or unanswered ping of its track. An accepted ping that is not stored at its
//     time, and whose time was ahead of its answer or more than an hour behind, is
//     stored if it has such a point: pings of one ts and content need one, others
//     one each, so that no point speaks for two pings.
//   - A ping whose time is nearer to its answer once it is moved by whole rollovers
//     of the GPS week is looked for where it is then, unless there are points of its
//     own time. A held or redundant one is held to the line there.
//   - The time of a ledger is from the first ts to the last, but of pings that are
//     more than a day off their answer. A point beyond it is foreign to nobody.
//   - Of an ack log that broke off, pings are missing at its end. A point that none
//     of the pings is of counts as untold from an hour before on, not as foreign.
//
// Totals of the roll-up, if they are read, are the sum of the pings that were answered
// accepted, held or redundant, and of those that a duplicate shows to have been taken
// in before its answer was lost: pings, and riders of one node. A ping that was
// answered after its window closed may be left out, one without an answer, or shed,
// may be in it. Of a window that is not closed yet, and where the ingester gave some
// of its work up, a total may be too small or missing. If others send, none is checked.
//
// When answers came is known of an ack log, and of a Ledger that has Now. The ledger
// must be complete and the store at rest. The error is the source's, or ctx's.
func Check(ctx context.Context, acks Acks, points ReadPoints) (Report, error) {
	return Config{}.Check(ctx, acks, points)
}

// Check is the function Check, set up by c.
func (c Config) Check(ctx context.Context, acks Acks, points ReadPoints) (Report, error) {
	from, sum, err := acks.gather(ctx, &c)
	if err != nil {
		return Report{}, fmt.Errorf("audit: %w", err)
	}
	a := audit{cfg: &c, sum: sum}
	v := &sum.verdicts
	a.report = Report{
		Sent: sum.pings, Unanswered: v[0],
		Accepted: v[pingline.Accepted], Held: v[pingline.Held], Redundant: v[pingline.Redundant],
		Duplicate: v[pingline.Duplicate], Shed: v[pingline.Shed], Rejected: v[pingline.Rejected], Broken: sum.broken, Torn: sum.torn,
	}
	a.report.Checked = a.report.Accepted + a.report.Held + a.report.Redundant + a.report.Duplicate
	if a.report.Sent > 0 {
		err = a.run(ctx, from, points)
	}
	if err = errors.Join(err, from.close()); err != nil {
		return Report{}, fmt.Errorf("audit %d pings: %w", sum.pings, err)
	}
	return a.report, nil
}

type audit struct {
	cfg    *Config
	sum    *ackTotals
	tally  *tally.Recount // nil: no totals are looked at
	report Report
}

// run holds the ledger against points.
func (a *audit) run(ctx context.Context, from gathered, points ReadPoints) (err error) {
	if err = a.read(ctx, from, points); err != nil {
		return err
	}
	if err = a.readTotals(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.tally.Close()) }()
	t := auditTrack{audit: a}
	done := 0
	err = from.each(func(p *part) error {
		a.report.Others += p.others
		if done++; done > 1 {
			a.cfg.progress(Reached{Pings: a.sum.pings, Parts: done})
		}
		return t.checkAll(ctx, p)
	})
	a.report.Kept = float64(a.report.Stored) / float64(a.report.Sent)
	if err != nil {
		return err
	}
	return a.tally.Compare(ctx, a.report.Others)
}

// readTotals reads the totals of the time of the pings, if that is asked for.
func (a *audit) readTotals(ctx context.Context) (err error) {
	if a.cfg.Totals == nil || a.sum.first > a.sum.last {
		return nil
	}
	a.tally, a.report.Rollups, err = tally.New(ctx, tally.Config{
		Read: a.cfg.Totals, Finest: a.cfg.Finest, Lateness: a.cfg.Lateness, Now: a.cfg.Now, Dir: a.cfg.Dir,
		First: a.sum.first, Last: a.sum.last, Until: a.sum.until, Strain: &a.sum.strain,
		Example: func(of string, at int64, reason string) { a.example("roll-up", of, at, reason) },
	})
	return err
}

// read takes in the points of the times of the pings.
func (a *audit) read(ctx context.Context, to gathered, points ReadPoints) error {
	seen := uint64(0)
	for _, q := range a.sum.times.queries(auditMargin.Milliseconds()) {
		err := points(ctx, q, func(e *pingline.Entry, _ int64) error {
			if seen++; seen%progressEvery == 0 {
				a.cfg.progress(Reached{Pings: a.sum.pings, Points: seen})
			}
			p := newRecord(&e.Ping, 0)
			switch {
			case e.Corrected:
				p.verdict = correctedPoint
			case e.Late:
				p.verdict = latePoint
			}
			return to.addPoint(trackID{e.Rider, e.Device}, e.Event, &p)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
