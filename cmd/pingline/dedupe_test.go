package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pingline"
	"pingline/internal/command"
	"pingline/track"
)

// corner is a drive of 10 m/s: a minute east, then a minute north.
func corner(t *testing.T, rider string, start int64) (pings []pingline.Ping) {
	t.Helper()
	const metre = 1 / 111195.08 // degrees
	for i := range 121 {
		p := pingline.Ping{Rider: rider, Fix: pingline.Fix{At: start + int64(i)*1000}}
		east, north := min(i, 60)*10, max(i-60, 0)*10
		if err := p.SetPosition(0.5+float64(north)*metre, 10+float64(east)*metre); err != nil {
			t.Fatal(err)
		}
		pings = append(pings, p)
	}
	return pings
}

const noon = 1760011200000 // 2025-10-09 12:00 UTC

func ndjson(pings []pingline.Ping) string {
	var b []byte
	for i := range pings {
		b = append(track.AppendPing(b, &pings[i]), '\n')
	}
	return string(b)
}

// inFile writes text to a new file of that name.
func inFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	data := []byte(text)
	if strings.HasSuffix(name, ".gz") {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		if _, err := z.Write(data); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		data = b.Bytes()
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// runs runs a command in this process.
func runs(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	status = run(t.Context(), args, &out, &errs)
	return status, out.String(), errs.String()
}

// counted is what a test reads of pingline dedupe --json.
type counted struct {
	File       string
	MaxError   float64 `json:"max_error"`
	Tracks     int
	Pings      int
	Refused    int
	Kept       int
	KeptPct    float64 `json:"kept_pct"`
	Duplicates int
	Late       int
	Forgotten  int
	OutOfBound int                                  `json:"out_of_bound"`
	Off        struct{ Max, P50, P95, P99 float64 } `json:"error_m"`
	LongestGap float64                              `json:"longest_gap_s"`
	Speed      float64                              `json:"pings_per_s"`
}

type studied struct {
	Files []counted
	Total counted
	Sweep []counted
}

// dedupes runs pingline dedupe --json, which must do.
func dedupes(t *testing.T, args ...string) (s studied) {
	t.Helper()
	status, stdout, stderr := runs(t, append([]string{"dedupe", "--json"}, args...)...)
	if status != exitOK {
		t.Fatalf("exit status %d: %s", status, stderr)
	}
	if strings.Count(stdout, "\n") != 1 {
		t.Errorf("%q is not one line", stdout)
	}
	if err := json.Unmarshal([]byte(stdout), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// Kept are both ends, the corner, and what the live gap asks for on the way.
func TestDedupePrints(t *testing.T) {
	pings := corner(t, "r-1", noon)
	path := inFile(t, "drive.ndjson", ndjson(pings)+ndjson(pings[118:])) // the last are sent again
	other := inFile(t, "other.ndjson", ndjson(corner(t, "r-2", noon)[:1]))
	status, got, stderr := runs(t, "dedupe", "--sweep", path, other)
	if status != exitOK || stderr != "" {
		t.Fatalf("exit status %d: %s", status, stderr)
	}
	got = regexp.MustCompile(`(gap|[0-9]s) +[0-9,]+\n`).ReplaceAllString(strings.ReplaceAll(got, "pings/s", "0"), "$1\n") // how fast it was
	const want = `bound 10 m, or a fix's own accuracy up to 50 m
live gap 30s, max gap 5m, idle flush 1m

file          tracks  pings  kept  kept %  longest gap
drive.ndjson       1    124     5    4.03          31s
other.ndjson       1      1     1  100.00           0s
total              2    125     6    4.80          31s

file          duplicates  late  max error   p50   p95   p99
drive.ndjson           1     0       0.01  0.00  0.01  0.01
other.ndjson           0     0       0.00  0.00  0.00  0.00
total                  1     0       0.01  0.00  0.01  0.01

bound  kept  kept %  late  max error   p50    p95    p99
5 m       6    4.80     0       0.01  0.00   0.01   0.01
10 m      6    4.80     0       0.01  0.00   0.01   0.01
25 m      6    4.80     0      13.67  0.00  11.32  13.20
50 m      6    4.80     0      26.46  0.01  21.90  25.55

Errors are metres from a dropped ping to the line between the kept ones, at its
time. 6 of 125 pings are kept; none is beyond its bound.
`
	if got != want {
		t.Errorf("printed\n%s\nwant\n%s", got, want)
	}
}

// The same track in any form is the same track.
func TestDedupeReadsEveryForm(t *testing.T) {
	pings := corner(t, "r-1", noon)
	csv, gpx := "lat,note,lon,ts,rider_id\n", "<gpx><trk><name>r-1</name><trkseg>\n"
	for i := range pings {
		p := &pings[i]
		csv += fmt.Sprintf("%.7f,\"a, b\",%.7f,%s,r-1\n", p.Lat(), p.Lon(), p.Time().In(time.FixedZone("", 7200)).Format(time.RFC3339Nano))
		gpx += fmt.Sprintf("<trkpt lat=\"%.7f\" lon=\"%.7f\"><time>%s</time></trkpt>\n", p.Lat(), p.Lon(), p.Time().Format(time.RFC3339Nano))
	}
	gpx += "</trkseg></trk></gpx>"
	var want string
	for _, form := range []struct{ name, text string }{
		{"a.ndjson", ndjson(pings)}, {"a.csv", csv}, {"a.csv", "\ufeff" + strings.ReplaceAll(csv, "\n", "\r\n")}, {"a.gpx", gpx}, {"a", gpx}, {"a", csv},
	} {
		for _, ext := range []string{"", ".gz"} {
			out := filepath.Join(t.TempDir(), "kept.ndjson")
			s := dedupes(t, inFile(t, form.name+ext, form.text), "--out="+out)
			if s.Total.Pings != len(pings) || s.Total.Kept != 5 || s.Total.Tracks != 1 || s.Total.OutOfBound != 0 {
				t.Errorf("%s%s: %+v", form.name, ext, s.Total)
			}
			kept, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			if want == "" {
				want = string(kept)
			}
			if string(kept) != want || strings.Count(want, "\n") != 5 {
				t.Errorf("%s%s: kept\n%s\nwant\n%s", form.name, ext, kept, want)
			}
		}
	}
}

// The kept pings are the lines as they were, in their order. A ping that a
// reader must leave out says so, and no other ping does.
func TestDedupeOut(t *testing.T) {
	pings := corner(t, "r-1", noon)
	odd := pings[30] // on the way, but 100 m aside, and sent at the end
	odd.LatE7 += 9000
	last := len(pings) - 1
	lines := strings.Split(strings.TrimSpace(ndjson(pings)), "\n")
	lines[0] = ` { "x":[1, 2], ` + strings.TrimPrefix(lines[0], "{") + "\t"
	lines[last] = strings.TrimSuffix(lines[last], "}") + `,"late" :true}`
	lateLine := strings.TrimSuffix(ndjson([]pingline.Ping{odd}), "\n")
	text := strings.Join(append(lines, lateLine), "\r\n")
	want := []string{
		lines[0], lines[31], lines[60], lines[91],
		strings.TrimSuffix(lines[last], "}") + `,"late":false}`,
		strings.TrimSuffix(lateLine, "}") + `,"late":true}`,
	}
	in := inFile(t, "a.ndjson", text)
	for _, ext := range []string{"", ".gz"} {
		out := filepath.Join(t.TempDir(), "kept.ndjson"+ext)
		s := dedupes(t, in, "--out="+out)
		if s.Total.Kept != len(want) || s.Total.Late != 1 {
			t.Errorf("kept %d, %d late", s.Total.Kept, s.Total.Late)
		}
		r, err := track.Open(out)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for {
			_, line, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(line))
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("kept %q\nwant %q", got, want)
		}
	}
}

// The form of what is kept is that of the file's name, or of --format: who thins GPX
// gets GPX. Whatever the form, the same pings are kept.
func TestDedupeWritesEveryForm(t *testing.T) {
	in := inFile(t, "a.ndjson", ndjson(corner(t, "r-1", noon)))
	for name, want := range map[string]string{
		"k.ndjson": `{"rider_id":`, "k.jsonl": `{"rider_id":`, "k.csv": "rider_id,ts,lat,lon,", "k.GPX": "<?xml", "k.geojson": `{"type":"FeatureCollection"`,
	} {
		for _, args := range [][]string{{"--out=" + filepath.Join(t.TempDir(), name)}, {"--out=" + filepath.Join(t.TempDir(), "kept"), "--format=" + map[bool]string{true: "ndjson", false: strings.ToLower(filepath.Ext(name)[1:])}[name == "k.jsonl"]}} {
			out := strings.TrimPrefix(args[0], "--out=")
			dedupes(t, append(args, in)...)
			text, err := os.ReadFile(out)
			if err != nil || !strings.HasPrefix(string(text), want) {
				t.Errorf("%v: it begins with %.40q: %v", args, text, err)
			}
			if name == "k.geojson" {
				var got struct {
					Features []struct {
						Geometry struct {
							Type        string
							Coordinates [][2]float64
						}
					}
				}
				if err := json.Unmarshal(text, &got); err != nil || len(got.Features) != 1 || got.Features[0].Geometry.Type != "LineString" || len(got.Features[0].Geometry.Coordinates) != 5 {
					t.Errorf("%v: %s", err, text)
				}
				continue
			}
			if again := dedupes(t, out); again.Total.Pings != 5 || again.Total.Refused != 0 || again.Total.Tracks != 1 {
				t.Errorf("%v: read again it has %+v", args, again.Total)
			}
		}
	}
}

// Ctrl-C leaves the files that are there as they were.
func TestDedupeStoppedLeavesOldFiles(t *testing.T) {
	in := inFile(t, "a.ndjson", ndjson(corner(t, "r-1", noon)))
	dir := t.TempDir()
	out, svg := filepath.Join(dir, "kept.ndjson"), filepath.Join(dir, "drawn.svg")
	for _, path := range []string{out, svg} {
		if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if status := run(ctx, []string{"dedupe", in, "--out=" + out, "--svg=" + svg}, io.Discard, io.Discard); status != exitFailed {
		t.Errorf("exit status %d", status)
	}
	for _, path := range []string{out, svg} {
		if got, err := os.ReadFile(path); string(got) != "old" {
			t.Errorf("%s holds %q: %v", path, got, err)
		}
	}
	if list, err := os.ReadDir(dir); len(list) != 2 {
		t.Errorf("the directory holds %v: %v", list, err)
	}
	status, _, stderr := runs(t, "dedupe", in, "--out="+out, "--svg="+svg)
	if want := "wrote " + out + " (5 pings)\nwrote " + svg + " (121 pings)\n"; status != exitOK || stderr != want {
		t.Errorf("exit status %d, said %q, want %q", status, stderr, want)
	}
	for _, path := range []string{out, svg} {
		if got, err := os.ReadFile(path); len(got) < 100 {
			t.Errorf("%s holds %q: %v", path, got, err)
		}
	}
}

// Refused lines are counted and shown, and take nothing with them.
func TestDedupeTellsWhatItRefuses(t *testing.T) {
	pings := corner(t, "r-1", noon)
	text := ndjson(pings[:50]) + "{\"rider_id\":\"r-1\"}\n" + ndjson(pings[50:]) + strings.Repeat("oops\n", 7)
	path := inFile(t, "a.ndjson", text)
	status, stdout, stderr := runs(t, "dedupe", "--json", path)
	var s studied
	if err := json.Unmarshal([]byte(stdout), &s); err != nil || status != exitOK {
		t.Fatalf("exit status %d, %v: %s", status, err, stderr)
	}
	if s.Total.Pings != len(pings) || s.Total.Kept != 5 || s.Total.Refused != 8 || s.Files[0].Refused != 8 {
		t.Errorf("%+v", s)
	}
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	if len(lines) != 6 || lines[0] != "refused: "+path+" line 51: ts: missing" || lines[5] != "refused: 3 more in "+path {
		t.Errorf("said %q", lines)
	}
}

func TestDedupeTellsOfSeconds(t *testing.T) {
	pings := corner(t, "r-1", noon)
	for i := range pings {
		pings[i].At /= 1000
	}
	path := inFile(t, "a.ndjson", ndjson(pings))
	status, _, stderr := runs(t, "dedupe", path)
	if status != exitOK || stderr != "note: all of "+path+" is from before 1970-02-27; is its ts in seconds? It must be in ms.\n" {
		t.Errorf("exit status %d, said %q", status, stderr)
	}
}

// A file that is of no use, or not to its end, does not take others with it.
func TestDedupeGoesOnBehindABadFile(t *testing.T) {
	whole := inFile(t, "whole.ndjson.gz", strings.Repeat(ndjson(corner(t, "r-1", noon)), 1000))
	data, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	torn := inFile(t, "torn.ndjson", string(data[:len(data)/2])) // still compressed
	good := inFile(t, "good.ndjson", ndjson(corner(t, "r-1", noon)))
	status, stdout, stderr := runs(t, "dedupe", "--json", inFile(t, "empty.csv", ""), inFile(t, "words.txt", "no\nheader\n"), torn, good)
	var s studied
	if err := json.Unmarshal([]byte(stdout), &s); err != nil || status != exitUsage {
		t.Fatalf("exit status %d, %v: %s", status, err, stderr)
	}
	if len(s.Files) != 2 || s.Files[0].File != torn || s.Files[0].Pings == 0 || s.Files[1].Kept != 5 {
		t.Errorf("%+v", s.Files)
	}
	for _, want := range []string{"empty.csv: there is no ping in it", "words.txt line 1: rider_id: not in the header", "read: unexpected EOF"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("%q is not said: %s", want, stderr)
		}
	}
}

func TestDedupeOfNoUse(t *testing.T) {
	good := inFile(t, "good.ndjson", ndjson(corner(t, "r-1", noon)))
	named := inFile(t, "good.svg", ndjson(corner(t, "r-1", noon)))
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"no file", nil, "<file>"},
		{"a file that is not there", []string{"nowhere.gpx"}, "nowhere.gpx: no such file"},
		{"a directory", []string{t.TempDir()}, "is a directory"},
		{"an empty file", []string{inFile(t, "a.ndjson", "")}, "a.ndjson: there is no ping in it"},
		{"a file of refused lines", []string{inFile(t, "a.ndjson", "a\nb\n")}, "a.ndjson: nothing in it can be read; the first of 2 refusals:"},
		{"a track without times", []string{inFile(t, "a.gpx", `<gpx><trk><trkpt lat="1" lon="2"/></trk></gpx>`)}, "a.gpx line 1: time: missing"},
		{"a table without a header", []string{inFile(t, "a.csv", "r-1,1,2,3\n")}, "a.csv line 1: rider_id: not in the header"},
		{"half a file", []string{inFile(t, "a.gz", "\x1f\x8b\x08")}, "a.gz"},
		{"negative error", []string{good, "--max-error=-1"}, "--max-error: -1 is not in [0, 100000]"},
		{"no error at all", []string{good, "--max-error=NaN"}, "--max-error: NaN is not in"},
		{"negative cap", []string{good, "--accuracy-cap=-1"}, "--accuracy-cap: -1 is not in"},
		{"negative gap", []string{good, "--live-gap=-1s"}, "--live-gap"},
		{"no riders", []string{good, "--max-riders=0"}, "--max-riders: 0 is not in"},
		{"a picture of nobody", []string{good, "--rider=r-2", "--svg=" + filepath.Join(t.TempDir(), "a.svg")}, "--rider: there is no ping of r-2"},
		{"a rider without a picture", []string{good, "--rider=r-1"}, "--rider: it is for the picture of --svg"},
		{"one file for both", []string{good, "--svg=a", "--out=a"}, "--out, --svg: both are a"},
		{"what is read written", []string{good, "--out=" + good}, "cannot be written too"},
		{"what is read drawn over", []string{named, "--svg=" + named}, "cannot be written too"},
		{"nowhere to write", []string{good, "--out=/nowhere/a.csv"}, "--out: open /nowhere/a.csv: no such file or directory"},
		{"an unknown end", []string{good, "--out=k.png"}, "--out: k.png ends in none of .ndjson, .jsonl, .csv, .gpx, .geojson (each also with .gz); or give --format"},
		{"no end", []string{good, "--out=kept.gz"}, "--out: kept.gz ends in none of"},
		{"an unknown form", []string{good, "--out=k.gpx", "--format=kml"}, `--format: "kml" is not ndjson, csv, gpx or geojson`},
		{"a form of nothing", []string{good, "--format=gpx"}, "--format: it is for the file of --out"},
		{"a picture that is no SVG", []string{good, "--svg=p.png"}, "--svg: the picture is SVG, and p.png does not end in .svg"},
		{"nowhere to draw", []string{good, "--svg=/nowhere/a"}, "--svg: open /nowhere/a: no such file or directory"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, _, stderr := runs(t, append([]string{"dedupe"}, tt.args...)...)
			if message := strings.TrimSuffix(stderr, "\n"); status != exitUsage || !strings.Contains(message, tt.want) || strings.Contains(message, "\n") {
				t.Errorf("exit status %d, said %q; want %d and one line that says %q", status, stderr, exitUsage, tt.want)
			}
		})
	}
	if text, err := os.ReadFile(good); err != nil || string(text) != ndjson(corner(t, "r-1", noon)) {
		t.Errorf("the file that was read is another now (%v)", err)
	}
}

// Input that can be read only once is read as well.
func TestDedupeStandardInput(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	for _, in := range []string{"a.ndjson", "a.ndjson.gz"} {
		f, err := os.Open(inFile(t, in, ndjson(corner(t, "r-1", noon))))
		if err != nil {
			t.Fatal(err)
		}
		cmd := pinglineCommand("dedupe", "-", "--json")
		cmd.Stdin = f
		stdout, err := cmd.Output()
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		var s studied
		if err != nil || json.Unmarshal(stdout, &s) != nil || s.Total.Kept != 5 || s.Files[0].File != "stdin" {
			t.Errorf("%s: %v: %s", in, err, stdout)
		}
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// The picture in the docs is the one that the command above it draws.
func TestDedupeDrawsThePictureOfTheDocs(t *testing.T) {
	svg := filepath.Join(t.TempDir(), "a.svg")
	dedupes(t, "../../testdata/gps/city_5s.ndjson.gz", "--svg="+svg)
	drawn, err := os.ReadFile(svg)
	if err != nil {
		t.Fatal(err)
	}
	is, err := os.ReadFile("../../docs/dedupe.svg")
	if err != nil {
		t.Fatal(err)
	}
	// The words alone: places may differ in their last digit from machine to machine.
	words, place := regexp.MustCompile(`(?s)<style.*</style>|<text[^>]*>[^<]*`), regexp.MustCompile(` (x|y)="[^"]*"`)
	said := func(svg []byte) string {
		return place.ReplaceAllString(strings.Join(words.FindAllString(string(svg), -1), "\n"), "")
	}
	if want, got := said(drawn), said(is); got != want {
		t.Errorf("docs/dedupe.svg is another one: pingline dedupe testdata/gps/city_5s.ndjson.gz --svg docs/dedupe.svg\n%s\nwant\n%s", got, want)
	}
}

func TestDedupeDraws(t *testing.T) {
	small, large := inFile(t, "small.ndjson", ndjson(corner(t, "r-1", noon)[:100])), inFile(t, "large.ndjson", ndjson(corner(t, "r-2", noon)))
	for rider, want := range map[string]string{"": "r-2", "r-1": "r-1", "r-2": "r-2"} {
		svg := filepath.Join(t.TempDir(), "a.svg")
		dedupes(t, large, small, "--svg="+svg, "--rider="+rider)
		f, err := os.Open(svg)
		if err != nil {
			t.Fatal(err)
		}
		in, said := xml.NewDecoder(f), ""
		for {
			token, err := in.Token()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if text, ok := token.(xml.CharData); ok {
				said += string(text)
			}
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		note := map[string]string{"r-1": "small.ndjson: 100 pings", "r-2": "large.ndjson: 121 pings"}[want]
		if !strings.Contains(said, "\n"+want+"\n") || !strings.Contains(said, note+", 2025-10-09 12:00 to 2025-10-09 12:0") {
			t.Errorf("rider %q: the picture says %q", rider, said)
		}
	}
}

// A held ping waits for as long as its track's own times say, wherever in the
// file its track is.
func TestDedupeIdleFlushGoesByThePings(t *testing.T) {
	leg := corner(t, "r-1", noon)[:61]
	paused := slices.Concat(leg[:10], leg[50:]) // silent for 41 s on a straight road
	other := corner(t, "r-2", noon)
	for _, tt := range []struct {
		name   string
		tracks [][]pingline.Ping
		idle   string
		want   int
	}{
		{"no pause", [][]pingline.Ping{leg}, "30s", 2},
		{"a pause", [][]pingline.Ping{paused}, "30s", 3},
		{"more patience", [][]pingline.Ping{paused}, "50s", 2},
		{"endless patience", [][]pingline.Ping{paused}, "0", 2},
		{"a pause behind another track of that time", [][]pingline.Ping{other, paused}, "30s", 3 + 3},
		{"and before it", [][]pingline.Ping{paused, other}, "30s", 3 + 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := ""
			for _, pings := range tt.tracks {
				text += ndjson(pings)
			}
			s := dedupes(t, inFile(t, "a.ndjson", text), "--idle-flush="+tt.idle, "--live-gap=0")
			if s.Total.Kept != tt.want || s.Total.OutOfBound > 0 {
				t.Errorf("kept %d, want %d", s.Total.Kept, tt.want)
			}
		})
	}
}

// Forgotten tracks are told of, and nothing is off for it.
func TestDedupeForgets(t *testing.T) {
	a, b := corner(t, "r-1", noon), corner(t, "r-2", noon)
	text := ""
	for i := range a {
		text += ndjson(a[i:i+1]) + ndjson(b[i:i+1])
	}
	path := inFile(t, "a.ndjson", text)
	if s := dedupes(t, path, "--max-riders=2"); s.Total.Forgotten != 0 || s.Total.Kept != 10 {
		t.Errorf("room for two: %+v", s.Total)
	}
	if s := dedupes(t, path, "--max-riders=1"); s.Total.Forgotten == 0 || s.Total.OutOfBound != 0 {
		t.Errorf("room for one: %+v", s.Total)
	}
}

// A dropped ping beyond its bound is a failure, whatever else was wrong; a file of
// no use is wrong usage.
func TestDedupeConcludes(t *testing.T) {
	bad := errors.New("a.csv: there is no ping in it")
	for _, problems := range [][]error{nil, {bad}} {
		if err := conclude(3, problems); err == nil || errors.As(err, new(command.UsageError)) || !strings.Contains(err.Error(), "3 dropped pings lie further off than their bound") {
			t.Errorf("a ping is off: the run ends with %v", err)
		}
	}
	if err := conclude(0, []error{bad}); !errors.As(err, new(command.UsageError)) || !errors.Is(err, bad) {
		t.Errorf("a file of no use: the run ends with %v", err)
	}
	if err := conclude(0, nil); err != nil {
		t.Error(err)
	}
}
