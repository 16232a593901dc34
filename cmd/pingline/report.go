package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dustin/go-humanize"

	"pingline/dedupe"
)

// report is what a study of recordings has found.
type report struct {
	cmd    *dedupeCmd
	bounds []dedupe.Bound // the first is the one asked for, the others the sweep's
	files  []fileTally
	total  tally
	sweep  []tally // of all files, by bound
}

type fileTally struct {
	name string
	tally
}

func newReport(c *dedupeCmd) *report {
	r := &report{cmd: c, bounds: []dedupe.Bound{{MaxError: c.MaxError, AccuracyCap: c.AccuracyCap}}}
	if c.Sweep {
		for _, metres := range sweepBounds {
			r.bounds = append(r.bounds, dedupe.Bound{MaxError: metres, AccuracyCap: c.AccuracyCap})
		}
		r.sweep = make([]tally, len(sweepBounds))
	}
	return r
}

// add adds what was found in a file, by bound.
func (r *report) add(name string, trials []*trial) {
	r.files = append(r.files, fileTally{name, trials[0].tally})
	r.total.add(&trials[0].tally)
	for i, t := range trials[1:] {
		r.sweep[i].add(&t.tally)
	}
}

func (r *report) print(w io.Writer, asJSON bool) error {
	if asJSON {
		return r.printJSON(w)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "bound %s m%s; live gap %s, max gap %s, idle flush %s\n\n", humanize.Ftoa(r.cmd.MaxError), r.accuracy(),
		orOff(r.cmd.Filter.LiveGap), orOff(r.cmd.Filter.MaxGap), orOff(r.cmd.Filter.IdleFlush))
	rows := [][]string{append([]string{"file"}, columns...)}
	for i := range r.files {
		rows = append(rows, append([]string{filepath.Base(r.files[i].name)}, r.files[i].row()...))
	}
	rows = append(rows, append([]string{"total"}, r.total.row()...))
	writeTable(&b, rows)
	if len(r.sweep) > 0 {
		rows = [][]string{append([]string{"bound"}, columns[swept:]...)}
		for i, metres := range sweepBounds {
			rows = append(rows, append([]string{humanize.Ftoa(metres) + " m"}, r.sweep[i].row()[swept:]...))
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

func (r *report) accuracy() string {
	if r.cmd.AccuracyCap == 0 {
		return ""
	}
	return fmt.Sprintf(", or a fix's own accuracy up to %s m", humanize.Ftoa(r.cmd.AccuracyCap))
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

func (t *tally) row() []string {
	count := func(n int) string { return humanize.Comma(int64(n)) }
	metres := func(m float64) string { return fmt.Sprintf("%.2f", m) }
	return []string{
		count(t.tracks), count(t.pings), count(t.kept), fmt.Sprintf("%.2f", t.keptPercent()), count(t.duplicates), count(t.late),
		metres(t.off.max), metres(t.off.quantile(0.5)), metres(t.off.quantile(0.95)), metres(t.off.quantile(0.99)),
		gap(t.longestGap), humanize.Comma(int64(math.Round(t.speed()/1e4)) * 1e4),
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

func (r *report) printJSON(w io.Writer) error {
	type file struct {
		File string `json:"file"`
		*tallyJSON
	}
	type swept struct {
		MaxError float64 `json:"max_error"`
		*tallyJSON
	}
	f := &r.cmd.Filter
	result := struct {
		MaxError    float64    `json:"max_error"`
		AccuracyCap float64    `json:"accuracy_cap"`
		LiveGap     float64    `json:"live_gap_s"`
		MaxGap      float64    `json:"max_gap_s"`
		IdleFlush   float64    `json:"idle_flush_s"`
		Files       []file     `json:"files"`
		Total       *tallyJSON `json:"total"`
		Sweep       []swept    `json:"sweep,omitempty"`
	}{
		MaxError: r.cmd.MaxError, AccuracyCap: r.cmd.AccuracyCap,
		LiveGap: f.LiveGap.Seconds(), MaxGap: f.MaxGap.Seconds(), IdleFlush: f.IdleFlush.Seconds(),
		Total: r.total.json(),
	}
	for i := range r.files {
		result.Files = append(result.Files, file{r.files[i].name, r.files[i].json()})
	}
	for i := range r.sweep {
		result.Sweep = append(result.Sweep, swept{sweepBounds[i], r.sweep[i].json()})
	}
	line, err := json.Marshal(result)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n", line)
	return err
}
