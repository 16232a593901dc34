// Package report draws what happened in a run against an ingester: one HTML page with
// plots of latency, rates, verdicts and the shed level over time.
//
// The page is one file that stands by itself: it loads nothing from any host, has no
// script, and follows the reader's choice of a light or a dark screen. It promises to
// show each second, or of a long run the worst of the seconds that share a dot. It does
// not measure anything: the caller fills a Run.
package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"time"

	"pingline"
)

// Run is the seconds of a run, in order of time.
type Run struct {
	Title   string // of the page
	Command string // that began it
	Target  string // URL of the ingester
	Began   time.Time
	Seconds []Second
	Summary []Line
	Notes   []string // sentences
}

// Line is one line of a summary, such as "p99" and "12.4 ms".
type Line struct{ Name, Value string }

func isLong(l Line) bool { return len(l.Value) > 20 }

// Second is a second of a run. Counts are those of the second, not sums
// since the run began.
type Second struct {
	At         time.Time
	Due        uint64                    // pings that were to be sent
	Sent       uint64                    // pings that were sent, those sent again not counted
	Verdicts   [pingline.Verdicts]uint64 // pings answered, by verdict
	Requests   uint64                    // requests that ended: answered, refused or unanswered
	Refused    uint64                    // of them, by another status than 200
	Unanswered uint64                    // of them, without any answer

	// Latency of the requests answered, from the moment at which they were due; 0
	// if there was none.
	P50, P99, P999, Max time.Duration

	Shed int // level of the ingester, 0 if it sheds nothing; -1 if it is unknown
}

// mostDots is how many dots a plot has at most: more would not be told apart.
const mostDots = 1200

//go:embed page.html
var pageText string

var page = template.Must(template.New("page").Parse(pageText))

// WriteHTML writes the page. The error is that of w.
func (r *Run) WriteHTML(w io.Writer) error {
	seconds, each := condense(r.Seconds, mostDots)
	plots, err := plotsOf(r.Began, seconds, each)
	if err != nil {
		return fmt.Errorf("draw report %q: %w", r.Title, err)
	}
	lines := slices.DeleteFunc(slices.Clone(r.Summary), func(l Line) bool { return l.Value == "" })
	data := struct {
		*Run
		Lines  []Line // of the summary, that say something
		Long   bool   // lines that do not fit a card
		Plots  []plotted
		Each   int
		Heads  []string
		Rows   [][]string
		Colors []themeColor
	}{r, lines, slices.ContainsFunc(lines, isLong), plots, each, tableHeads, tableRows(r.Began, seconds), theme}
	if err := page.Execute(w, data); err != nil {
		return fmt.Errorf("write report %q: %w", r.Title, err)
	}
	return nil
}

// condense joins neighbours until at most most are left, and returns how many seconds
// each of them stands for. Counts become those of a second, on average; of latencies
// and levels the worst is kept.
func condense(seconds []Second, most int) (joined []Second, each int) {
	each = (len(seconds) + most - 1) / most
	if each <= 1 {
		return seconds, 1
	}
	for len(seconds) > 0 {
		n := min(each, len(seconds))
		joined = append(joined, join(seconds[:n]))
		seconds = seconds[n:]
	}
	return joined, each
}

func join(seconds []Second) Second {
	all := seconds[0]
	for _, s := range seconds[1:] {
		for i, c := range s.counts() {
			*all.counts()[i] += *c
		}
		all.P50, all.P99 = max(all.P50, s.P50), max(all.P99, s.P99)
		all.P999, all.Max = max(all.P999, s.P999), max(all.Max, s.Max)
		all.Shed = max(all.Shed, s.Shed)
	}
	for _, c := range all.counts() {
		*c = (*c + uint64(len(seconds))/2) / uint64(len(seconds))
	}
	return all
}

// counts returns each count of a second.
func (s *Second) counts() []*uint64 {
	all := []*uint64{&s.Due, &s.Sent, &s.Requests, &s.Refused, &s.Unanswered}
	for v := range s.Verdicts {
		all = append(all, &s.Verdicts[v])
	}
	return all
}
