package track

import (
	"bytes"
	"encoding/xml"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pingline"
)

// drawing is what a test looks at in a picture.
type drawing struct {
	texts []string
	paths map[string][]string // by class of the panel and their own: "near kept"
}

// draw draws p and takes the SVG apart again. It fails for one that is not well
// formed, and for a number that is none.
func draw(t *testing.T, p *Picture) drawing {
	t.Helper()
	var b bytes.Buffer
	if err := p.WriteSVG(&b); err != nil {
		t.Fatal(err)
	}
	d := drawing{paths: map[string][]string{}}
	in, panel := xml.NewDecoder(&b), ""
	for {
		token, err := in.Token()
		if err == io.EOF {
			return d
		}
		if err != nil {
			t.Fatal(err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			attr := map[string]string{}
			for _, a := range token.Attr {
				attr[a.Name.Local] = a.Value
				if strings.Contains(a.Value, "NaN") || strings.Contains(a.Value, "Inf") {
					t.Errorf("<%s %s=%q>", token.Name.Local, a.Name.Local, a.Value)
				}
			}
			switch {
			case token.Name.Local == "g" && attr["class"] != "":
				panel = attr["class"]
			case token.Name.Local == "path":
				key := panel + " " + attr["class"]
				d.paths[key] = append(d.paths[key], attr["d"])
			}
		case xml.CharData:
			if text := string(token); text != style && strings.TrimSpace(text) != "" {
				d.texts = append(d.texts, text)
			}
		}
	}
}

func (d *drawing) says(text string) bool { return slices.Contains(d.texts, text) }

// marks is a walk east of n pings a second apart, of which every fifth is kept.
func marks(n int, lat, lon, step float64) (all []Mark) {
	for i := range n {
		f := fix(int64(i)*1000, lat, math.Remainder(lon+float64(i)*step, 360))
		m := Mark{At: f.At, LatE7: f.LatE7, LonE7: f.LonE7, Kept: i%5 == 0 || i == n-1, Bound: 10}
		if !m.Kept {
			m.Off = float64(i % 5)
		}
		all = append(all, m)
	}
	return all
}

func TestPictureShowsEveryPing(t *testing.T) {
	p := &Picture{Title: "r-1", Note: "a.ndjson: 21 pings", Bound: 10, Marks: marks(21, 41, -8, 0.001)}
	p.Marks[10].Late = true
	d := draw(t, p)
	for _, want := range []string{
		"r-1", "a.ndjson: 21 pings", "start", "end", "dropped: 16 of 21 pings", "kept: 5 (23.8 %)", "late: 1 of the kept, beside the track",
		"Where a dropped ping is furthest off: 4.00 m", "the bound of the one furthest off: 10 m", "dashed: the bound of 10 m", "00:00:15", "200 m",
	} {
		if !d.says(want) {
			t.Errorf("%q is not said in %q", want, d.texts)
		}
	}
	for class, want := range map[string][2]int{ // dots and lines
		"whole ping": {16, 0}, "whole kept": {4, 0}, "whole late": {1, 0}, "whole track": {0, 20}, "whole keptline": {0, 3},
	} {
		path := strings.Join(d.paths[class], "")
		if got := [2]int{strings.Count(path, "h0"), strings.Count(path, "L")}; got != want {
			t.Errorf("%s: %d dots and lines, want %d: %s", class, got, want, path)
		}
	}
}

// Whatever the track, the picture is well formed and has no number that is none.
func TestPictureOfAnyTrack(t *testing.T) {
	still := marks(30, 41, -8, 0)
	ages := marks(3, 41, -8, 0.01)
	ages[0].At, ages[2].At = firstTime, lastTime
	lateOnly := marks(3, 41, -8, 0.01)
	for i := range lateOnly {
		lateOnly[i].Late = lateOnly[i].Kept
	}
	for _, tt := range []struct {
		name  string
		marks []Mark
		want  string
	}{
		{"no ping", nil, "a <b> & \"c\""},
		{"one ping", marks(1, 41, -8, 0), "every ping is kept"},
		{"all kept", marks(2, 41, -8, 1), "every ping is kept"},
		{"standing still", still, "start, end"},
		{"round the globe", marks(400, 10, 0, 1), "10000 km"},
		{"at a pole", marks(30, 90, 0, 10), "kept: 7 (23.3 %)"},
		{"near a pole", marks(30, 89.9999, 0, 0.1), "kept: 7 (23.3 %)"},
		{"of all ages", ages, "dropped: 1 of 3 pings"},
		{"late ones only", lateOnly, "late: 2 of the kept, beside the track"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := draw(t, &Picture{Title: "a <b> & \"c\"", Bound: 10, Marks: tt.marks})
			if !d.says(tt.want) {
				t.Errorf("%q is not said in %q", tt.want, d.texts)
			}
		})
	}
}

// A track over the antimeridian is as wide as it is elsewhere.
func TestPictureOverTheAntimeridian(t *testing.T) {
	here := draw(t, &Picture{Bound: 10, Marks: marks(21, 41, -8, 0.001)})
	there := draw(t, &Picture{Bound: 10, Marks: marks(21, 41, 179.99, 0.001)})
	for _, class := range []string{"whole track", "whole keptline", "near off"} {
		a, b := numbers(t, here.paths[class]), numbers(t, there.paths[class])
		if len(a) != len(b) || len(a) == 0 {
			t.Fatalf("%s: %d and %d numbers", class, len(a), len(b))
		}
		for i := range a {
			if math.Abs(a[i]-b[i]) > 0.3 {
				t.Fatalf("%s: %v and %v", class, a[i], b[i])
			}
		}
	}
}

func numbers(t *testing.T, paths []string) (all []float64) {
	t.Helper()
	for _, s := range strings.FieldsFunc(strings.Join(paths, " "), func(c rune) bool { return strings.ContainsRune("MLhv ", c) }) {
		v, err := strconv.ParseFloat(s, 64)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, v)
	}
	return all
}

func TestPictureOfALongTrackIsSmall(t *testing.T) {
	var b bytes.Buffer
	p := &Picture{Bound: 10, Marks: marks(300_000, 41, -8, 1.0/pingline.E7)}
	if err := p.WriteSVG(&b); err != nil {
		t.Fatal(err)
	}
	if b.Len() > 1<<20 {
		t.Errorf("%d bytes", b.Len())
	}
}
