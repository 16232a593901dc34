package tally

import (
	"cmp"
	"fmt"
	"time"

	"pingline/internal/unit"
)

// sums are bounds on what a total must say.
type sums struct {
	pings, riders         int64 // at least
	mostPings, mostRiders int64
}

// compareStage walks along totals and pings of one stage, both by cell and time.
func (t *Recount) compareStage(s stage, now int64, totals []cellTotal, pings []cellPing) {
	written := make(map[int64]bool)
	for i := range totals {
		written[totals[i].at] = true
	}
	order := func(a *cellTotal, b *cellPing) int {
		return cmp.Or(cmp.Compare(a.cell, b.cell), cmp.Compare(a.at, b.at))
	}
	for len(totals) > 0 || len(pings) > 0 {
		w := tallyWindow{Recount: t, stage: s, now: now, written: written}
		var has *cellTotal
		if len(totals) > 0 && (len(pings) == 0 || order(&totals[0], &pings[0]) <= 0) {
			has, totals = mergeNodes(totals)
			w.cell, w.from = has.cell, has.at
		} else {
			w.cell, w.from = pings[0].cell, pings[0].at
		}
		var want sums
		if len(pings) > 0 && pings[0].cell == w.cell && pings[0].at == w.from {
			want, pings = sumPings(pings)
		}
		w.judge(has, &want)
	}
}

// mergeNodes returns the total of a cell and window: of what several shards have of a
// node the largest, which was written last, and the sum over nodes. Their riders cannot
// be added up, and are -1 then.
func mergeNodes(totals []cellTotal) (*cellTotal, []cellTotal) {
	first := totals[0]
	n := 1
	for node := first.node; n < len(totals) && totals[n].cell == first.cell && totals[n].at == first.at; n++ {
		if totals[n].node != node {
			node = totals[n].node
			first.pings += totals[n].pings
			first.riders = -1
		}
	}
	return &first, totals[n:]
}

// sumPings adds up the pings of the first one's cell and window.
func sumPings(pings []cellPing) (s sums, rest []cellPing) {
	n := 0
	for n < len(pings) && pings[n].cell == pings[0].cell && pings[n].at == pings[0].at {
		rider, least, most := pings[n].rider, int64(0), int64(0)
		for ; n < len(pings) && pings[n].rider == rider && pings[n].cell == pings[0].cell && pings[n].at == pings[0].at; n++ {
			least, most = least+int64(pings[n].min), most+int64(pings[n].max)
		}
		s.pings, s.mostPings = s.pings+least, s.mostPings+most
		s.riders, s.mostRiders = s.riders+min(least, 1), s.mostRiders+min(most, 1)
	}
	return s, pings[n:]
}

// tallyWindow is a cell in a window.
type tallyWindow struct {
	*Recount
	stage
	cell    uint64
	from    int64
	now     int64
	written map[int64]bool // windows of the stage that have a total of any cell
}

// judge holds a total, nil if there is none, against what it must say.
func (w *tallyWindow) judge(has *cellTotal, want *sums) {
	until := w.from + w.window
	// Others, or we before, may have sent in a window that is not all of this time.
	whole := w.from >= w.cfg.First && until-1 <= w.cfg.Last && until <= w.cfg.Until-hourMilli
	open := until+w.lateness()+time.Minute.Milliseconds() > w.now
	strained := w.cfg.Strain.between(w.from, until+w.lateness()+tallySlack)
	switch {
	case has == nil && want.pings == 0:
	case has == nil && open:
		w.report.Open++
	case has == nil && (strained || !w.written[w.from]):
		w.report.Withheld++
	case has == nil:
		w.report.Checked++
		w.say("no total is stored, and %s", pingsText(want))
	case has.pings > want.mostPings && whole:
		w.report.Checked++
		w.say("the total is %d, and %s", has.pings, pingsText(want))
	case has.pings < want.pings && open:
		w.report.Open++
	case has.pings < want.pings && strained:
		w.report.Withheld++
	case has.pings < want.pings:
		w.report.Checked++
		w.say("the total is %d, and %s", has.pings, pingsText(want))
	default:
		w.report.Checked++
		if has.riders < 0 || has.pings != want.pings && open {
			return
		}
		slack := int64(0)
		if has.riders > exactRiders || want.riders > exactRiders {
			slack = want.mostRiders / 50
		}
		if has.riders < want.riders-slack || whole && has.riders > want.mostRiders+slack {
			w.say("the total is of %d riders, and %d were there", has.riders, want.riders)
		}
	}
}

func pingsText(want *sums) string {
	if want.pings == want.mostPings {
		return unit.Plural(want.pings, "ping was", "pings were") + " acknowledged"
	}
	return fmt.Sprintf("%d to %d pings were acknowledged", want.pings, want.mostPings)
}

func (w *tallyWindow) say(format string, args ...any) {
	what := fmt.Sprintf("cell %x, resolution %d, window of %d s,", w.cell, w.res, w.window/1000)
	w.wrong(what, w.from, fmt.Sprintf(format, args...))
}

func comma(n uint64) string { return unit.Comma(float64(n)) }

// Sentence tells how the totals add up.
func (r *RollupReport) Sentence() string {
	if r.Unchecked != "" {
		return "the roll-up was not checked: " + r.Unchecked
	}
	s := fmt.Sprintf("%s totals of the roll-up", comma(r.Checked))
	if r.Wrong == 0 {
		s += ", each the sum of its pings"
	} else {
		s += fmt.Sprintf(", %s not the sum of their pings", comma(r.Wrong))
	}
	if r.Open > 0 {
		s += fmt.Sprintf(", %s still to be written", comma(r.Open))
	}
	if r.Withheld > 0 {
		s += fmt.Sprintf(", %s withheld under load", comma(r.Withheld))
	}
	return s
}
