package main

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pingline/internal/influxd"
	"pingline/internal/natsd"
)

func TestMain(m *testing.M) {
	natsd.Main()
	if len(os.Args) > 1 && os.Args[1] == asFloor {
		serveFloor()
		return
	}
	os.Exit(m.Run())
}

// A run measures both servers in each format, and writes the same figures as a table,
// as JSON, and into the section of a document.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	doc, file := filepath.Join(dir, "doc.md"), filepath.Join(dir, "table.json")
	if err := os.WriteFile(doc, []byte("before\n"+sectionBegin+"old\n"+sectionEnd+"after\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	err := run(t.Context(), []string{
		"-loads=few", "-formats=json,ndjson,gzip,zstd", "-for=100ms", "-warm=20ms", "-repeats=1", "-riders=50", "-steps=4",
		"-data=" + dir, "-profile=" + filepath.Join(dir, "cpu.pprof"), "-json=" + file, "-doc=" + doc, "-version=v1",
	}, &out, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var got benchTable
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.All) != 8 || len(got.Medians) != 8 || got.Riders != 50 || got.Machine.Version != "v1" {
		t.Errorf("%d measured, %d medians: %s", len(got.All), len(got.Medians), text)
	}
	for i := range got.All {
		f := &got.All[i]
		kept := f.Server == string(pinglineServer)
		if f.Rate <= 0 || f.FullP50 <= 0 || f.P999 < f.P50 || f.Peak <= 0 || f.Untaken > 0 || (f.Kept > 0) != kept || (f.Commit > 0) != kept {
			t.Errorf("%+v", *f)
		}
	}
	for _, format := range []string{"json", "ndjson", "gzip", "zstd"} {
		for _, server := range []serverKind{floorServer, pinglineServer} {
			if row := "| few | " + format + " | " + string(server) + " | "; strings.Count(out.String(), row) != 1 {
				t.Errorf("no row %q in\n%s", row, out.String())
			}
		}
	}
	section, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	if want := "before\n" + sectionBegin + "\n" + out.String() + "\n" + sectionEnd + "after\n"; string(section) != want {
		t.Errorf("the document is\n%s\nwant\n%s", section, want)
	}
	if info, err := os.Stat(filepath.Join(dir, "cpu.pprof")); err != nil || info.Size() == 0 {
		t.Errorf("no profile: %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "benchtable*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// Nodes that share the riders are measured beside a node that has them all.
func TestNodes(t *testing.T) {
	if testing.Short() {
		t.Skip("three servers and three nodes")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "table.json")
	var out strings.Builder
	err := run(t.Context(), []string{
		"-nodes", "-loads=few", "-formats=json", "-for=200ms", "-warm=20ms", "-repeats=1", "-riders=50", "-steps=4", "-data=" + dir, "-json=" + file,
	}, &out, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var got benchTable
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.All) != 3 {
		t.Fatalf("%d measured: %s", len(got.All), text)
	}
	for i := range got.All {
		f := &got.All[i]
		shared := f.Server != string(pinglineServer)
		if f.Rate <= 0 || f.Peak <= 0 || f.Untaken > 0 || f.Kept <= 0 || f.Written <= 0 || shared != (f.LogCPU > 0) {
			t.Errorf("%+v", *f)
		}
		if row := "| few | " + f.Server + " | "; strings.Count(out.String(), row) != 1 {
			t.Errorf("no row %q in\n%s", row, out.String())
		}
	}
}

// A small comparison: all that was answered is stored.
func TestBesideARealInfluxDB(t *testing.T) {
	if _, err := influxd.Find(); err != nil {
		t.Skip(err)
	}
	var out strings.Builder
	err := run(t.Context(), []string{"-direct", "-for=500ms", "-riders=2000", "-times=0.01", "-steps=4", "-data=" + t.TempDir()}, &out, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []string{"| phones write lines | ", "| × 0.01 through pingline, live | "} {
		_, rest, found := strings.Cut(out.String(), row)
		line, _, _ := strings.Cut(rest, "\n")
		cells := strings.Split(line, " | ")
		if !found || len(cells) != 10 || cells[0] == "0" || cells[3] == "0.000" || cells[8] != "0" {
			t.Errorf("row %q is %q in\n%s", row, cells, out.String())
		}
	}
}

func TestWrongFlags(t *testing.T) {
	for _, args := range [][]string{{"-loads=heavy"}, {"-formats=xml"}, {"-nothing"}} {
		if err := run(t.Context(), args, io.Discard, io.Discard); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
}

func TestMediansOfEachCase(t *testing.T) {
	var all benchTable
	for _, rate := range []float64{5, 1, 3, 100} {
		all.add(&benchFigures{Load: "b100", Format: "json", Server: "pingline", Rate: rate, CPU: 4})
		all.add(&benchFigures{Load: "b100", Format: "json", Server: "floor", Rate: 10 * rate, CPU: 2})
	}
	if len(all.Medians) != 2 || all.Medians[0].Rate != 4 || all.Medians[1].Rate != 40 {
		t.Errorf("%+v", all.Medians)
	}
	if text := all.markdown(); !strings.Contains(text, "| b100 | json | pingline | 4 | 4.00 | ×\u00a02.00 |") {
		t.Errorf("%s", text)
	}
}

// A table says itself where its figures mislead.
func TestNotes(t *testing.T) {
	var all benchTable
	all.add(&benchFigures{Load: "b100", Format: "json", Server: "pingline", CPU: 1, LoadCPU: 2, Untaken: 3, Unsent: 4})
	if text := all.markdown(); !strings.Contains(text, "3 pings or requests were refused") || !strings.Contains(text, "4 requests at half load") || !strings.Contains(text, "more than the server") {
		t.Errorf("%s", text)
	}
}

func TestSectionThatIsNotThere(t *testing.T) {
	doc := filepath.Join(t.TempDir(), "doc.md")
	if err := os.WriteFile(doc, []byte(sectionBegin), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := writeSection(doc, "table"); err == nil {
		t.Error("no error")
	}
}

func TestDigits(t *testing.T) {
	for v, want := range map[float64]string{0: "0.000", 0.00416: "0.004", 0.1: "0.10", 1.234: "1.23", 12.34: "12.3", 123.4: "123", 12345: "12,345"} {
		if got := digits(v); got != want {
			t.Errorf("digits(%v) = %s, want %s", v, got, want)
		}
	}
	for v, want := range map[float64]float64{0: 0, 7: 7, 1234: 1230, 1_234_567: 1_230_000} {
		if got := round(v); got != want {
			t.Errorf("round(%v) = %v, want %v", v, got, want)
		}
	}
}

func TestMachine(t *testing.T) {
	m := lookAround(t.TempDir())
	if m.Cores < 1 || m.Sync <= 0 || time.Since(m.At) > time.Hour {
		t.Errorf("%+v", m)
	}
}
