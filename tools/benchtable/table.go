package main

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"reflect"
	"slices"
	"strings"

	"pingline/internal/unit"
)

// benchTable is all that was measured.
type benchTable struct {
	Machine machine        `json:"machine"`
	Riders  int            `json:"riders"`
	Lasts   float64        `json:"seconds"` // of each measurement
	Repeats int            `json:"repeats"`
	Medians []benchFigures `json:"medians"`
	All     []benchFigures `json:"all"` // in the order in which they were measured
}

// add takes down a measurement.
func (t *benchTable) add(f *benchFigures) {
	t.All = append(t.All, *f)
	t.Medians = nil
	seen := make(map[[3]string]bool)
	for i := range t.All {
		key := t.All[i].key()
		if seen[key] {
			continue
		}
		seen[key] = true
		var same []benchFigures
		for j := range t.All {
			if t.All[j].key() == key {
				same = append(same, t.All[j])
			}
		}
		t.Medians = append(t.Medians, median(same))
	}
}

func (f *benchFigures) key() [3]string { return [3]string{f.Load, f.Format, f.Server} }

// median returns the median of each number.
func median(list []benchFigures) benchFigures {
	m := list[0]
	to := reflect.ValueOf(&m).Elem()
	for i := range to.NumField() {
		if to.Field(i).Kind() != reflect.Float64 {
			continue
		}
		var values []float64
		for j := range list {
			values = append(values, reflect.ValueOf(list[j]).Field(i).Float())
		}
		slices.Sort(values)
		n := len(values)
		to.Field(i).SetFloat((values[(n-1)/2] + values[n/2]) / 2)
	}
	return m
}

// floorOf returns the figures of the floor under the load of f, or zero ones.
func (t *benchTable) floorOf(f *benchFigures) benchFigures {
	for i := range t.Medians {
		if g := &t.Medians[i]; g.Load == f.Load && g.Format == f.Format && g.Server == string(floorServer) {
			return *g
		}
	}
	return benchFigures{}
}

// markdown returns the table as it stands in a document.
func (t *benchTable) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s riders with a ping a second; medians of %d, each of %g s.\n\n", t.Machine.markdown(), unit.Comma(float64(t.Riders)), t.Repeats, t.Lasts)
	b.WriteString("| load | format | server | pings/s | CPU-s/M | × floor | allocations a ping | MiB | kept | half load: p50 | p99 | p99.9 ms |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	for i := range t.Medians {
		f := &t.Medians[i]
		times, kept := "", ""
		if floor := t.floorOf(f); f.Server != string(floorServer) {
			times, kept = "×\u00a0"+digits(f.CPU/floor.CPU), digits(100*f.Kept)+"\u00a0%"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %.0f | %s | %s | %s | %s |\n", f.Load, f.Format, f.Server, unit.Comma(round(f.Rate)),
			digits(f.CPU), times, digits(f.Allocs), f.Peak, kept, digits(f.P50), digits(f.P99), digits(f.P999))
	}
	for _, note := range t.notes() {
		fmt.Fprintf(&b, "\n%s\n", note)
	}
	return b.String()
}

// notes say where the table is not to be trusted.
func (t *benchTable) notes() (list []string) {
	for i := range t.Medians {
		f := &t.Medians[i]
		name := fmt.Sprintf("%s, %s, %s", f.Load, f.Format, f.Server)
		if f.Untaken > 0 {
			list = append(list, fmt.Sprintf("%s: %s pings or requests were refused.", name, unit.Comma(f.Untaken)))
		}
		if f.Unsent > 0 {
			list = append(list, fmt.Sprintf("%s: %s requests at half load were not sent in time.", name, unit.Comma(f.Unsent)))
		}
		if f.Server == string(pinglineServer) && f.LoadCPU > f.CPU {
			list = append(list, fmt.Sprintf("%s: the load takes %s CPU-s/M, more than the server.", name, digits(f.LoadCPU)))
		}
	}
	return list
}

// round gives a rate three digits.
func round(v float64) float64 {
	unit := math.Pow(10, max(0, math.Floor(math.Log10(max(v, 1)))-2))
	return math.Round(v/unit) * unit
}

// digits writes a number with three digits, and at most three after the point.
func digits(v float64) string {
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return ""
	case v >= 99.95:
		return unit.Comma(math.Round(v))
	case v >= 9.995:
		return fmt.Sprintf("%.1f", v)
	case v >= 0.0995:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3f", v)
}

// The lines between which a document has the table.
const (
	sectionBegin = "<!-- make bench-table writes this section -->\n"
	sectionEnd   = "<!-- end of the section -->\n"
)

// writeSection puts a table into the section of a document.
func writeSection(path, table string) error {
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, begins := bytes.Cut(old, []byte(sectionBegin))
	_, after, ends := bytes.Cut(rest, []byte(sectionEnd))
	if !begins || !ends {
		return fmt.Errorf("%s has no section between %q and %q", path, sectionBegin, sectionEnd)
	}
	text := slices.Concat(before, []byte(sectionBegin+"\n"+table+"\n"+sectionEnd), after)
	return os.WriteFile(path, text, 0o644) //nolint:gosec // a document, for all to read
}
