package study

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
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

// Files returns the number of files.
func (r *Summary) Files() int { return len(r.files) }

// OutOfBound returns the number of dropped pings further off than their bound. Unless
// it is 0, the filter is at fault.
func (r *Summary) OutOfBound() int { return r.total.outOfBound }

// Print writes the report as tables of at most 80 columns.
func (r *Summary) Print(w io.Writer) error {
	var b strings.Builder
	f := &r.cfg.Filter
	fmt.Fprintf(&b, "bound %s m%s\nlive gap %s, max gap %s, idle flush %s\n\n", unit.Number(r.cfg.Bound.MaxError), r.accuracy(),
		orOff(f.LiveGap), orOff(f.MaxGap), orOff(f.IdleFlush))
	r.writeFiles(&b, counts)
	b.WriteByte('\n')
	r.writeFiles(&b, errorsOf)
	if len(r.sweep) > 0 {
		rows := [][]string{swept.heads("bound")}
		for i, metres := range r.cfg.Sweep {
			rows = append(rows, swept.row(unit.Number(metres)+" m", &r.sweep[i]))
		}
		b.WriteByte('\n')
		writeTable(&b, rows)
	}
	b.WriteByte('\n')
	if r.someLate() {
		b.WriteString("Late pings came behind newer ones of their track and do not fit its line: they\nare kept, and the line is drawn without them.\n")
	}
	fmt.Fprintf(&b, "Errors are metres from a dropped ping to the line between the kept ones, at its\ntime. %s\n", r.verdict())
	_, err := io.WriteString(w, b.String())
	return err
}

// someLate tells whether a table has late pings, and so is to say what they are.
func (r *Summary) someLate() bool {
	return r.total.late > 0 || slices.ContainsFunc(r.sweep, func(o outcome) bool { return o.late > 0 })
}

// verdict returns a sentence on how much the filter kept, and whether all dropped pings
// are within their bounds.
func (r *Summary) verdict() string {
	are := map[bool]string{true: "is", false: "are"}[r.total.kept == 1]
	kept := fmt.Sprintf("%s of %s pings %s kept", unit.Comma(float64(r.total.kept)), unit.Comma(float64(r.total.pings)), are)
	if r.total.pings == 1 {
		kept = fmt.Sprintf("%d of 1 ping is kept", r.total.kept)
	}
	if n := r.total.outOfBound; n == 1 {
		return kept + "; 1 dropped one is beyond its bound."
	} else if n > 0 {
		return fmt.Sprintf("%s; %s dropped ones are beyond their bound.", kept, unit.Comma(float64(n)))
	}
	return kept + "; none is beyond its bound."
}

// writeFiles writes a table of the files and, if there are several, their total.
func (r *Summary) writeFiles(b *strings.Builder, columns columns) {
	rows := [][]string{columns.heads("file")}
	for i := range r.files {
		rows = append(rows, columns.row(filepath.Base(r.files[i].name), &r.files[i].outcome))
	}
	writeTable(b, append(rows, columns.row("total", &r.total)))
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
	return unit.Span(d).String()
}

// columns are the columns of a table without the first, which has the name of a row.
type columns []struct {
	head  string
	value func(o *outcome) string
}

func (c columns) heads(first string) []string {
	row := []string{first}
	for _, column := range c {
		row = append(row, column.head)
	}
	return row
}

func (c columns) row(first string, o *outcome) []string {
	row := []string{first}
	for _, column := range c {
		row = append(row, column.value(o))
	}
	return row
}

func number(n int) string { return unit.Comma(float64(n)) }

func metres(m float64) string { return fmt.Sprintf("%.2f", m) }

// The columns of tables that fit a terminal, whatever the numbers.
var (
	kepts = columns{
		{"kept", func(o *outcome) string { return number(o.kept) }},
		{"kept %", func(o *outcome) string { return fmt.Sprintf("%.2f", o.keptPercent()) }},
	}
	counts = slices.Concat(columns{
		{"tracks", func(o *outcome) string { return number(o.tracks) }},
		{"pings", func(o *outcome) string { return number(o.pings) }},
	}, kepts, columns{
		{"longest gap", func(o *outcome) string { return gap(o.longestGap) }},
		{"pings/s", func(o *outcome) string { return unit.Comma(math.Round(o.speed()/1e4) * 1e4) }},
	})
	off = columns{
		{"late", func(o *outcome) string { return number(o.late) }},
		{"max error", func(o *outcome) string { return metres(o.off.max) }},
		{"p50", func(o *outcome) string { return metres(o.off.quantile(0.5)) }},
		{"p95", func(o *outcome) string { return metres(o.off.quantile(0.95)) }},
		{"p99", func(o *outcome) string { return metres(o.off.quantile(0.99)) }},
	}
	errorsOf = slices.Concat(columns{{"duplicates", func(o *outcome) string { return number(o.duplicates) }}}, off)
	swept    = slices.Concat(kepts, off)
)

// gap writes a time in ms.
func gap(ms int64) string {
	const day = 24 * 3600 * 1000
	if ms >= 10*day {
		return fmt.Sprintf("%d days", ms/day)
	}
	return (time.Duration(ms) * time.Millisecond).Round(time.Second).String()
}

const terminal = 80 // columns

// writeTable writes rows with aligned columns, numbers to the right. Names that are too
// long for the terminal lose their middle.
func writeTable(b *strings.Builder, rows [][]string) {
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, v := range row {
			width[i] = max(width[i], utf8.RuneCountInString(v))
		}
	}
	room := terminal
	for _, w := range width[1:] {
		room -= w + 2
	}
	width[0] = min(width[0], max(room, shortest))
	for _, row := range rows {
		row[0] = shorten(row[0], width[0])
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

const shortest = 6 // characters that a name keeps

// shorten leaves out the middle of a name of more than n characters, and keeps a little
// more of its beginning than of its end.
func shorten(name string, n int) string {
	r := []rune(name)
	if len(r) <= n {
		return name
	}
	end := (n - 1) * 2 / 5
	return string(r[:n-1-end]) + "…" + string(r[len(r)-end:])
}

// PrintJSON writes the report as a line of JSON.
func (r *Summary) PrintJSON(w io.Writer) error {
	type file struct {
		File string `json:"file"`
		*outcomeJSON
	}
	type sweptFile struct {
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
		Sweep       []sweptFile  `json:"sweep,omitempty"`
	}{
		MaxError: r.cfg.Bound.MaxError, AccuracyCap: r.cfg.Bound.AccuracyCap,
		LiveGap: f.LiveGap.Seconds(), MaxGap: f.MaxGap.Seconds(), IdleFlush: f.IdleFlush.Seconds(),
		Total: r.total.json(),
	}
	for i := range r.files {
		result.Files = append(result.Files, file{r.files[i].name, r.files[i].json()})
	}
	for i := range r.sweep {
		result.Sweep = append(result.Sweep, sweptFile{r.cfg.Sweep[i], r.sweep[i].json()})
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(result)
}
