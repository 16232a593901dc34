package report

import (
	"fmt"
	"html/template"
	"math"
	"time"

	"gonum.org/v1/plot/plotter"

	"pingline"
)

// plotted is one plot of the page.
type plotted struct {
	Name, Caption string
	Keys          []key
	SVG           template.HTML
}

// key is one line of a legend.
type key struct {
	Name  string
	Color string // a variable of the page's style
	Kind  string // "area" or "line"
}

// plotsOf draws all plots of a page. Each dot stands for so many seconds.
func plotsOf(began time.Time, seconds []Second, each int) ([]plotted, error) {
	if len(seconds) == 0 {
		return nil, nil
	}
	s := course{began, seconds}
	var all []plotted
	for _, draw := range [...]func() (plotted, error){s.latency, s.verdicts, s.requests, s.level} {
		p, err := draw()
		if err != nil {
			return nil, err
		}
		if each > 1 {
			p.Caption += fmt.Sprintf(" A dot stands for %d seconds: the average of counts, the worst of the rest.", each)
		}
		if p.SVG != "" {
			all = append(all, p)
		}
	}
	return all, nil
}

// course reads the numbers of a run.
type course struct {
	began   time.Time
	seconds []Second
}

// of returns a number of each second; those not known are left out, and the lines on
// both sides of them are apart.
func (s course) of(value func(*Second) float64) (pieces []plotter.XYs) {
	open := false
	for i := range s.seconds {
		v := value(&s.seconds[i])
		if math.IsNaN(v) {
			open = false
			continue
		}
		if !open {
			pieces, open = append(pieces, nil), true
		}
		last := len(pieces) - 1
		pieces[last] = append(pieces[last], plotter.XY{X: s.x(i), Y: v})
	}
	return pieces
}

func (s course) x(i int) float64 { return s.seconds[i].At.Sub(s.began).Seconds() }

func (s course) latency() (plotted, error) {
	c := newCanvas(s)
	lines := [...]struct {
		name, color string
		of          func(*Second) time.Duration
	}{
		{"max", "max", func(s *Second) time.Duration { return s.Max }},
		{"p99.9", "p999", func(s *Second) time.Duration { return s.P999 }},
		{"p99", "p99", func(s *Second) time.Duration { return s.P99 }},
		{"p50", "p50", func(s *Second) time.Duration { return s.P50 }},
	}
	for _, l := range lines {
		c.line(l.name, l.color, s.of(func(s *Second) float64 {
			if d := l.of(s); d > 0 {
				return d.Seconds()
			}
			return math.NaN()
		}))
	}
	c.logarithmic()
	return c.finish("Latency", "From the moment at which a request was due until its answer, on a logarithmic scale.")
}

// verdicts stacks the answers and draws over them what was due and sent.
func (s course) verdicts() (plotted, error) {
	c := newCanvas(s)
	base := make([]float64, len(s.seconds))
	for v := pingline.Accepted; int(v) < pingline.Verdicts; v++ {
		top, any := make([]float64, len(base)), false
		for i := range base {
			n := s.seconds[i].Verdicts[v]
			top[i] = base[i] + float64(n)
			any = any || n > 0
		}
		if any {
			c.area(v.String(), v.String(), base, top)
		}
		base = top
	}
	c.line("sent", "sent", s.of(func(s *Second) float64 { return float64(s.Sent) }))
	c.dashed("due", "due", s.of(func(s *Second) float64 { return float64(s.Due) }))
	return c.finish("Pings a second", "Due and sent as lines, the answers stacked by verdict.")
}

func (s course) requests() (plotted, error) {
	c := newCanvas(s)
	c.line("answered", "accepted", s.of(func(s *Second) float64 { return float64(s.Requests - min(s.Requests, s.Refused+s.Unanswered)) }))
	c.line("refused", "shed", s.of(func(s *Second) float64 { return float64(s.Refused) }))
	c.line("unanswered", "rejected", s.of(func(s *Second) float64 { return float64(s.Unanswered) }))
	return c.finish("Requests a second", "Refused: another status than 200. Unanswered: no answer in time, or a lost connection.")
}

func (s course) level() (plotted, error) {
	known := s.of(func(s *Second) float64 {
		if s.Shed < 0 {
			return math.NaN()
		}
		return float64(s.Shed)
	})
	if known == nil {
		return plotted{}, nil
	}
	c := newCanvas(s)
	c.steps("level", "shed", known)
	c.levels()
	return c.finish("Shed level", "Of the ingester: 0 takes all, each level above gives up more.")
}
