package study

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"pingline/internal/unit"
)

// Summary is the outcome of a Study, by file and in all.
type Summary struct {
	cfg   Config
	files []fileOutcome
	total outcome
	sweep []outcome // of all files, by bound
}

type fileOutcome struct {
	name string
	outcome
}

// add adds the outcome of a file, by bound.
func (r *Summary) add(name string, runs []*run) {
	r.files = append(r.files, fileOutcome{name, runs[0].outcome})
	r.total.add(&runs[0].outcome)
	for i, run := range runs[1:] {
		r.sweep[i].add(&run.outcome)
	}
}

// Files returns how many files there are in it.
func (r *Summary) Files() int { return len(r.files) }

// OutOfBound returns how many dropped pings lie further off than their bound: any
// is a fault of the filter.
func (r *Summary) OutOfBound() int { return r.total.outOfBound }

// Print writes the report as tables for a terminal.
func (r *Summary) Print(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "bound %s m%s; live gap %s, max gap %s, idle flush %s\n\n", unit.Number(r.cfg.Bound.MaxError), r.accuracy(),
		orOff(r.cfg.Filter.LiveGap), orOff(r.cfg.Filter.MaxGap), orOff(r.cfg.Filter.IdleFlush))
	rows := [][]string{append([]string{"file"}, columns...)}
	for i := range r.files {
		rows = append(rows, append([]string{filepath.Base(r.files[i].name)}, r.files[i].row()...))
	}
	rows = append(rows, append([]string{"total"}, r.total.row()...))
	writeTable(&b, rows)
	if len(r.sweep) > 0 {
		rows = [][]string{append([]string{"bound"}, columns[swept:]...)}
		for i, metres := range r.cfg.Sweep {
			rows = append(rows, append([]string{unit.Number(metres) + " m"}, r.sweep[i].row()[swept:]...))
		}
		b.WriteByte('\n')
		writeTable(&b, rows)
	}
	b.WriteString("\nErrors are metres from a dropped ping to the line between the kept ones, at its time.\n")
	if r.total.outOfBound == 0 {
		b.WriteString("None is beyond its bound.\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *Summary) accuracy() string {
	if r.cfg.Bound.AccuracyCap == 0 {
		return ""
	}
	return fmt.Sprintf(", or a fix's own accuracy up to %s m", unit.Number(r.cfg.Bound.AccuracyCap))
}

func orOff(d time.Duration) string {
	if d == 0 {
		return "off"
	}
	return d.String()
}

// columns name what row has; the sweep goes without the first.
var columns = []string{"tracks", "pings", "kept", "kept %", "duplicates", "late", "max error", "p50", "p95", "p99", "longest gap", "pings/s"}

const swept = 2

func (o *outcome) row() []string {
	count := func(n int) string { return unit.Comma(float64(n)) }
	metres := func(m float64) string { return fmt.Sprintf("%.2f", m) }
	return []string{
		count(o.tracks), count(o.pings), count(o.kept), fmt.Sprintf("%.2f", o.keptPercent()), count(o.duplicates), count(o.late),
		metres(o.off.max), metres(o.off.quantile(0.5)), metres(o.off.quantile(0.95)), metres(o.off.quantile(0.99)),
		gap(o.longestGap), unit.Comma(math.Round(o.speed()/1e4) * 1e4),
	}
}

// gap writes a time in ms.
func gap(ms int64) string {
	const day = 24 * 3600 * 1000
	if ms >= 10*day {
		return fmt.Sprintf("%d days", ms/day)
	}
	return (time.Duration(ms) * time.Millisecond).Round(time.Second).String()
}

// writeTable writes rows with their columns below each other, numbers to the
// right.
func writeTable(b *strings.Builder, rows [][]string) {
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, v := range row {
			width[i] = max(width[i], utf8.RuneCountInString(v))
		}
	}
	for _, row := range rows {
		for i, v := range row {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(v))
			if i == 0 {
				b.WriteString(v + pad)
			} else {
				b.WriteString("  " + pad + v)
			}
		}
		b.WriteByte('\n')
	}
}

// PrintJSON writes the report as one line of JSON.
func (r *Summary) PrintJSON(w io.Writer) error {
	type file struct {
		File string `json:"file"`
		*outcomeJSON
	}
	type swept struct {
		MaxError float64 `json:"max_error"`
		*outcomeJSON
	}
	f := &r.cfg.Filter
	result := struct {
		MaxError    float64      `json:"max_error"`
		AccuracyCap float64      `json:"accuracy_cap"`
		LiveGap     float64      `json:"live_gap_s"`
		MaxGap      float64      `json:"max_gap_s"`
		IdleFlush   float64      `json:"idle_flush_s"`
		Files       []file       `json:"files"`
		Total       *outcomeJSON `json:"total"`
		Sweep       []swept      `json:"sweep,omitempty"`
	}{
		MaxError: r.cfg.Bound.MaxError, AccuracyCap: r.cfg.Bound.AccuracyCap,
		LiveGap: f.LiveGap.Seconds(), MaxGap: f.MaxGap.Seconds(), IdleFlush: f.IdleFlush.Seconds(),
		Total: r.total.json(),
	}
	for i := range r.files {
		result.Files = append(result.Files, file{r.files[i].name, r.files[i].json()})
	}
	for i := range r.sweep {
		result.Sweep = append(result.Sweep, swept{r.cfg.Sweep[i], r.sweep[i].json()})
	}
	line, err := json.Marshal(result)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n", line)
	return err
}
