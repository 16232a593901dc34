package picture

import (
	"fmt"
	"math"
	"slices"
	"time"

	"pingline/internal/unit"
)

// chart plots how far off each dropped ping is, over time.
type chart struct {
	Name, Caption string
	W             px
	Across, Down  []tick
	Dots          string
	Bound         px // height of the line of the bound
}

// tick is a line of a grid, at X or Y.
type tick struct {
	X, Y px
	Text string
}

func (g *ground) chart() *chart {
	c := &chart{Name: "How far off each dropped ping is, in metres"}
	if g.Bound > 0 {
		c.Caption = fmt.Sprintf("dashed: the bound of %s m", metres(g.Bound))
		if slices.ContainsFunc(g.marks, func(m Mark) bool { return !m.Kept && m.Bound > g.Bound }) {
			c.Caption += "; more where a fix is less accurate"
		}
	}
	return c
}

// words returns the width of the words above the chart, in pixels.
func (c *chart) words() float64 {
	return textWidth(c.Name, 13, true) + edge + textWidth(c.Caption, 13, false)
}

func (c *chart) draw(g *ground, wide float64) {
	const high = 150
	c.W = px(wide)
	first, last := g.marks[g.begin].At, g.marks[g.end-1].At
	top := 1.15 * g.reach()
	x := func(at int64) px { return px(wide * float64(at-first) / float64(max(last-first, 1))) }
	y := func(off float64) px { return px(high * (1 - off/top)) }
	for off, step := 0.0, roundStep(top/4); off < top; off += step {
		c.Across = append(c.Across, tick{Y: y(off), Text: unit.Comma(off)})
	}
	for _, m := range moments(first, last) {
		c.Down = append(c.Down, tick{X: x(m.at), Text: m.name})
	}
	d := dots{drawn: map[[2]int]bool{}}
	for i := range g.marks {
		if m := &g.marks[i]; !m.Kept {
			d.add(pixel{x(m.At), y(m.Off)})
		}
	}
	c.Dots, c.Bound = d.String(), y(g.Bound)
}

// roundStep returns 1, 2 or 5 times a power of ten, not less than least.
func roundStep(least float64) float64 {
	step := math.Pow(10, math.Floor(math.Log10(least)))
	for _, n := range [...]float64{1, 2, 5} {
		if n*step >= least {
			return n * step
		}
	}
	return 10 * step
}

// moment is a round time with its name.
type moment struct {
	at   int64 // ms
	name string
}

// moments returns a few round times, UTC, between first and last. Midnight is named by
// its date.
func moments(first, last int64) (all []moment) {
	steps := [...]time.Duration{
		time.Second, 5 * time.Second, 15 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 15 * time.Minute, 30 * time.Minute,
		time.Hour, 2 * time.Hour, 6 * time.Hour, 12 * time.Hour, day, 2 * day, 7 * day, 30 * day, 365 * day, 3650 * day, 36500 * day,
	}
	const most = 10
	for _, step := range steps {
		ms := step.Milliseconds()
		if (last-first)/ms > most {
			continue
		}
		layout := "15:04"
		switch {
		case step < time.Minute:
			layout = "15:04:05"
		case step >= 365*day:
			layout = "2006"
		case step >= day:
			layout = "2 Jan"
		}
		for at := first - first%ms; at <= last; at += ms {
			if at < first {
				continue
			}
			name := layout
			if step < day && at > first && at%day.Milliseconds() == 0 {
				name = "2 Jan"
			}
			all = append(all, moment{at, time.UnixMilli(at).UTC().Format(name)})
		}
		break
	}
	return all
}

const day = 24 * time.Hour
