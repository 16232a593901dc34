package plan

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"reflect"
	"strings"
	"text/template"
	"time"
	"unicode/utf8"

	"pingline/internal/unit"
)

// terminal is the width of the text, columns.
const terminal = 80

//go:embed plan.tmpl
var planText string

var planTemplate = template.Must(template.New("plan").Funcs(template.FuncMap{
	"count":   func(v any) string { return count(reflect.ValueOf(v).Convert(reflect.TypeFor[float64]()).Float()) },
	"ftoa":    unit.Number,
	"percent": percent,
	"row":     columns,
	"wrap":    func(text string) string { return wrap(text, terminal, "") },
}).Parse(planText))

// Print writes the plan as text for a terminal.
func (p *Plan) Print(w io.Writer) error { return planTemplate.Execute(w, p) }

// Parts returns the load of each part that pings pass, in their order, wrapped.
func (p *Plan) Parts() (list []string) {
	part := func(name, format string, args ...any) {
		list = append(list, wrap(fmt.Sprintf("%-10s", name)+fmt.Sprintf(format, args...), terminal, strings.Repeat(" ", 10)))
	}
	enough := "enough"
	if p.LogFor > p.cfg.QueueMax {
		enough = "not enough"
	}
	part("pings", "%s/s in %s requests/s; %s/s come in", count(p.Pings), count(p.Requests), unit.Size(p.NetworkIn))
	part("ingester", "%s cores busy, the one writer for %s; filter %s of memory", decimal(p.IngestCores), percent(p.WriterBusy), unit.Size(p.RiderMemory))
	part("nodes", "%s", p.nodesText())
	part("log", "%s/s, %s a day; %s for an outage of %v: a limit of %v is %s",
		unit.Size(p.LogRate), unit.Size(p.LogDay), unit.Size(p.LogOutage), p.cfg.Outage, p.cfg.QueueMax, enough)
	part("points", "%s/s: %s of location, %s of the roll-up; %s writes/s, %s/s on the wire",
		count(p.Points), count(p.Located), count(p.Rolled), decimal(p.Writes), unit.Size(p.NetworkOut))
	part("series", "%s on a day, %s in %v", count(p.SeriesDay), count(p.Series), p.cfg.Retention)
	part("InfluxDB", "%s a day, %s in all; %s cores busy, %s of memory",
		unit.Size(p.InfluxDay), unit.Size(p.InfluxDisk), decimal(p.InfluxCores), unit.Size(p.InfluxMemory))
	part("servers", "%s for points, %s for series, %s for disk", count(float64(p.ByPoints)), count(float64(p.BySeries)), count(float64(p.ByDisk)))
	return list
}

// PrintFigures writes the figures that the plan rests on, and their sources.
func (p *Plan) PrintFigures(w io.Writer) error {
	var b strings.Builder
	b.WriteString("\nRests on\n")
	for _, f := range p.Assumptions {
		if f.Value != 0 {
			line := fmt.Sprintf("%-14s %10s %s: %s", f.Name, unit.Comma(whole(f.Value)), f.Unit, f.Source)
			b.WriteString(wrap(line, terminal, strings.Repeat(" ", 26)) + "\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Config returns the Config of the plan.
func (p *Plan) Config() Config { return p.cfg }

// PrintJSON writes the plan as a line of JSON, its numbers without insignificant
// digits.
func (p *Plan) PrintJSON(w io.Writer) error {
	told := *p
	for _, v := range [...]reflect.Value{reflect.ValueOf(&told).Elem(), reflect.ValueOf(&told.Servers).Elem(), reflect.ValueOf(&told.Nodes).Elem()} {
		for i := range v.NumField() {
			if f := v.Field(i); f.Kind() == reflect.Float64 && f.CanSet() {
				f.SetFloat(whole(f.Float()))
			}
		}
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(told)
}

// columns returns a row of four texts, each wrapped to its width.
func columns(texts ...string) string {
	widths := [4]int{8, 25, 24, 17}
	var columns [4][]string
	height := 0
	for i, text := range texts {
		columns[i] = strings.Split(wrap(text, widths[i], ""), "\n")
		height = max(height, len(columns[i]))
	}
	var b strings.Builder
	for line := range height {
		var row strings.Builder
		for i, c := range columns {
			text := ""
			if line < len(c) {
				text = c[line]
			}
			row.WriteString(text + strings.Repeat(" ", widths[i]-min(widths[i], utf8.RuneCountInString(text))+2))
		}
		b.WriteString(strings.TrimRight(row.String(), " ") + "\n")
	}
	return b.String()
}

// wrap breaks text into lines of at most width, all but the first behind indent. A
// number stays with its unit.
func wrap(text string, width int, indent string) string {
	var b strings.Builder
	used := 0
	for i, word := range words(text) {
		long := utf8.RuneCountInString(strings.TrimRight(word, " "))
		if i > 0 && used+long > width {
			b.WriteString("\n" + indent)
			used = len(indent)
		}
		b.WriteString(word)
		used += utf8.RuneCountInString(word)
	}
	lines := strings.Split(b.String(), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}

// words splits text behind spaces, except between a number and its unit.
func words(text string) (list []string) {
	number := false
	for _, word := range strings.SplitAfter(text, " ") {
		if number {
			list[len(list)-1] += word
		} else {
			list = append(list, word)
		}
		number = strings.HasSuffix(word, " ") && word != " " && strings.Trim(word, "0123456789,. (") == ""
	}
	return list
}

// count writes a number as people do: three digits are enough for a guess.
func count(v float64) string {
	if v < 10 {
		return unit.Number(math.Round(10*v) / 10)
	}
	if v >= 1e4 {
		digits := math.Pow(10, math.Floor(math.Log10(v))-2)
		v = math.Round(v/digits) * digits
	}
	return unit.Comma(math.Round(v))
}

// decimal writes a small number with as many decimals as matter.
func decimal(v float64) string {
	switch {
	case v > 0 && v < 0.005:
		return "under 0.01"
	case v >= 10:
		return count(v)
	}
	return unit.Number(math.Round(100*v) / 100)
}

func percent(share float64) string {
	switch p := 100 * share; {
	case p > 0 && p < 0.1:
		return "under 0.1 %"
	case p < 9.95:
		return fmt.Sprintf("%.1f %%", p)
	default:
		return fmt.Sprintf("%.0f %%", p)
	}
}

// roundUp writes a size as a flag takes it, rounded up.
func roundUp(n unit.Bytes) string {
	const gib = 1 << 30
	return fmt.Sprintf("%dGiB", (int64(n)+gib-1)/gib)
}

// about writes seconds, without the digits that do not matter in a long time.
func about(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d < time.Second:
		return "under 1s"
	case d > 10*time.Hour:
		d = d.Round(time.Hour)
	case d > 10*time.Minute:
		d = d.Round(time.Minute)
	default:
		d = d.Round(time.Second)
	}
	return unit.Span(d).String()
}

// whole rounds a number to an integer, and a small number to three decimals.
func whole(v float64) float64 {
	if math.Abs(v) >= 100 {
		return math.Round(v)
	}
	return math.Round(v*1000) / 1000
}
