package picture

import (
	"bytes"
	"encoding/xml"
	"io"
	"math"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pingline"
)

// drawing is what a test looks at in a picture.
type drawing struct {
	svg    string
	texts  []string
	paths  map[string][]string // by class of the panel and their own: "near kept"
	labels map[string][]rect   // by class of the panel
	width  float64
}

// rect is what a label covers, from its upper left corner on.
type rect struct{ x, y, w, h float64 }

// draw draws p and takes the SVG apart again. It fails for one that is not well
// formed, and for a number that is none.
func draw(t *testing.T, p *Picture) drawing {
	t.Helper()
	var b bytes.Buffer
	if err := p.WriteSVG(&b); err != nil {
		t.Fatal(err)
	}
	d := drawing{svg: b.String(), paths: map[string][]string{}, labels: map[string][]rect{}}
	in, panel, within, anchor := xml.NewDecoder(&b), "", "", ""
	var at [2]float64
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
			within = token.Name.Local
			attr := map[string]string{}
			for _, a := range token.Attr {
				attr[a.Name.Local] = a.Value
				if strings.Contains(a.Value, "NaN") || strings.Contains(a.Value, "Inf") {
					t.Errorf("<%s %s=%q>", token.Name.Local, a.Name.Local, a.Value)
				}
			}
			switch {
			case token.Name.Local == "svg" && d.width == 0:
				d.width = numbers(t, []string{attr["width"]})[0]
			case token.Name.Local == "text":
				anchor = attr["class"]
				if strings.Contains(anchor, "label") {
					copy(at[:], numbers(t, []string{attr["x"], attr["y"]}))
				}
			case token.Name.Local == "g" && attr["class"] != "":
				panel = attr["class"]
			case token.Name.Local == "path":
				key := panel + " " + attr["class"]
				d.paths[key] = append(d.paths[key], attr["d"])
			}
		case xml.CharData:
			if text := string(token); within == "text" && strings.TrimSpace(text) != "" {
				d.texts = append(d.texts, text)
				if !strings.Contains(anchor, "label") {
					continue
				}
				r := rect{at[0], at[1] - 11, 9 * float64(len(text)), 14} // 13 px, bold
				if strings.Contains(anchor, "end") {
					r.x -= r.w
				} else if strings.Contains(anchor, "middle") {
					r.x -= r.w / 2
				}
				d.labels[panel] = append(d.labels[panel], r)
			}
		}
	}
}

func (d *drawing) says(text string) bool { return slices.Contains(d.texts, text) }

// marks is a walk east of n pings a second apart, of which every fifth is kept.
func marks(n int, lat, lon, step float64) (all []Mark) {
	for i := range n {
		east := math.Remainder(lon+float64(i)*step, 360)
		m := Mark{At: int64(i) * 1000, LatE7: int32(math.Round(lat * pingline.E7)), LonE7: int32(math.Round(east * pingline.E7)), Kept: i%5 == 0 || i == n-1, Bound: 10}
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
		"Where a dropped ping is furthest off: 4.00 m", "the bound of the one furthest off: 10 m", "dashed: the bound of 10 m", "00:00:15", "500 m", "4.00 m",
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

// A ping from a phone whose clock is at 1970, or years ahead, stretches neither the
// line of all pings nor the axis of time.
func TestPictureWithWrongClocks(t *testing.T) {
	const year = 365 * 24 * 3600 * 1000
	p := &Picture{Title: "r-1", Bound: 10, Marks: marks(21, 41, -8, 0.001)}
	for i := range p.Marks {
		p.Marks[i].At += 50 * year
	}
	want, first, last := draw(t, p), p.Marks[0].At, p.Marks[20].At
	for _, at := range []int64{333_000, 60 * year} {
		stray := p.Marks[10]
		stray.At, stray.Kept, stray.Late = at, true, true
		p.Marks = append(p.Marks, stray)
	}
	got := draw(t, p)
	for _, class := range []string{"whole track", "whole keptline", "whole ping", "offsets ping"} {
		if g, w := strings.Join(got.paths[class], ""), strings.Join(want.paths[class], ""); g != w {
			t.Errorf("%s: %q, without the strays %q", class, g, w)
		}
	}
	if !got.says("00:00:15") || !got.says("late: 2 of the kept, beside the track") {
		t.Errorf("texts %q", got.texts)
	}
	if from, to := p.Span(); from != first || to != last {
		t.Errorf("span %d to %d, want %d to %d", from, to, first, last)
	}
	for i := range p.Marks {
		p.Marks[i].Kept, p.Marks[i].Late = true, true
	}
	draw(t, p)
	if from, to := p.Span(); from != 333_000 || to != 60*year {
		t.Errorf("all late: span %d to %d", from, to)
	}
	if from, to := new(Picture).Span(); from != 0 || to != 0 {
		t.Errorf("no mark: span %d to %d", from, to)
	}
}

// Whatever the track, the picture is well formed and has no number that is none.
func TestPictureOfAnyTrack(t *testing.T) {
	still := marks(30, 41, -8, 0)
	ages := marks(3, 41, -8, 0.01)
	ages[0].At, ages[2].At = time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli(), time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC).UnixMilli()
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
		{"round the globe", marks(400, 10, 0, 1), "10,000 km"},
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

// wander is a way of n pings that crosses itself, near a place.
func wander(rng *rand.Rand, n int) (all []Mark) {
	lat, lon := 41.0, -8.0
	for i := range n {
		lat, lon = lat+rng.NormFloat64()*1e-4, lon+rng.NormFloat64()*3e-4
		m := Mark{At: int64(i) * 1000, LatE7: int32(lat * pingline.E7), LonE7: int32(lon * pingline.E7), Kept: i%4 == 0, Bound: 10}
		if !m.Kept {
			m.Off = rng.Float64() * 10
		}
		all = append(all, m)
	}
	return all
}

// No line of the track goes through a label, and no label through another or out of
// its panel; the ends are always named.
func TestLabelsAreClearOfTheTrack(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	tracks := map[string][]Mark{"straight east": marks(21, 41, -8, 0.001), "in a city": corner()}
	for n := range 40 {
		tracks["wandering "+strconv.Itoa(n)] = wander(rng, 2+n*n)
	}
	for name, all := range tracks {
		d := draw(t, &Picture{Bound: 10, Marks: all})
		if !d.says("start, end") && !(d.says("start") && d.says("end")) {
			t.Errorf("%s: the ends are not named: %q", name, d.texts)
		}
		for _, panel := range []string{"whole", "near"} {
			labels := d.labels[panel]
			for i, r := range labels {
				for _, class := range []string{"track", "keptline", "off"} {
					for _, path := range d.paths[panel+" "+class] {
						if x, y, ok := through(t, path, r); ok {
							t.Errorf("%s, %s: a line goes through a label at %.1f %.1f, which is %+v", name, panel, x, y, r)
						}
					}
				}
				for _, o := range labels[:i] {
					if r.x < o.x+o.w && o.x < r.x+r.w && r.y < o.y+o.h && o.y < r.y+r.h {
						t.Errorf("%s, %s: labels %+v and %+v meet", name, panel, r, o)
					}
				}
			}
		}
	}
}

// corner is a way north, then east.
func corner() (all []Mark) {
	for i, m := range marks(60, 41, -8, 0) {
		m.LatE7 += int32(min(i, 30)) * 1000
		m.LonE7 += int32(max(i-30, 0)) * 1000
		all = append(all, m)
	}
	return all
}

// through walks along a path and returns a place of it in r.
func through(t *testing.T, path string, r rect) (x, y float64, ok bool) {
	t.Helper()
	for _, part := range strings.Split(path, "M")[1:] {
		v := numbers(t, []string{part})
		for i := 2; i+1 < len(v); i += 2 {
			steps := max(math.Ceil(math.Hypot(v[i]-v[i-2], v[i+1]-v[i-1])), 1)
			for s := 0.0; s <= steps; s++ {
				x, y = v[i-2]+(v[i]-v[i-2])*s/steps, v[i-1]+(v[i+1]-v[i-1])*s/steps
				if x > r.x && x < r.x+r.w && y > r.y && y < r.y+r.h {
					return x, y, true
				}
			}
		}
	}
	return 0, 0, false
}

// The picture is as wide as the track and the words ask for.
func TestPictureIsAsWideAsItMustBe(t *testing.T) {
	north := marks(21, 41, -8, 0)
	for i := range north {
		north[i].LatE7 += int32(i) * 10_000
	}
	tall := draw(t, &Picture{Marks: north}).width
	wide := draw(t, &Picture{Marks: marks(21, 41, -8, 0.001)}).width
	named := draw(t, &Picture{Marks: north, Note: strings.Repeat("a long name ", 12)}).width
	if tall >= 950 || wide != 1360 || named < 1150 {
		t.Errorf("a way north is %v wide, a way east %v, one with a long note %v", tall, wide, named)
	}
	if d := draw(t, &Picture{Title: strings.Repeat("長", 40) + "🛵" + strings.Repeat("x", 87)}); d.width > 1360 || len(d.texts) == 0 {
		t.Errorf("with a long title it is %v wide: %q", d.width, d.texts)
	}
}

// Colours stand in the two themes alone; all that one colours, the other does too.
func TestColoursAreOfTwoThemes(t *testing.T) {
	svg := draw(t, &Picture{Title: "r", Bound: 10, Marks: marks(21, 41, -8, 0.001)}).svg
	theme := regexp.MustCompile(`(?s)<style class="(light|dark)">\n(.*?)</style>`)
	rules := map[string][]string{}
	for _, m := range theme.FindAllStringSubmatch(svg, -1) {
		for _, rule := range regexp.MustCompile(`(?m)^([^@{}]+) \{ (.*) \}$`).FindAllStringSubmatch(m[2], -1) {
			for _, set := range strings.Split(rule[2], "; ") {
				key, _, _ := strings.Cut(set, ":")
				rules[m[1]] = append(rules[m[1]], rule[1]+" "+key)
			}
		}
	}
	if len(rules["light"]) < 10 || !slices.Equal(rules["light"], rules["dark"]) || !strings.Contains(svg, "@media (prefers-color-scheme: dark) {") {
		t.Errorf("the themes colour %q and %q", rules["light"], rules["dark"])
	}
	if found := regexp.MustCompile(`#[0-9a-fA-F]{3,8}\b|rgb|hsl|\b(fill|stroke|style|color)="`).FindAllString(theme.ReplaceAllString(svg, ""), -1); found != nil {
		t.Errorf("colours beside the themes: %q", found)
	}
}

// A file may be named by anything.
func TestPictureOfAnyName(t *testing.T) {
	for _, name := range []string{"<&>", `a,"b"`, "a\x00\x01b", "\xff\xfe", "Zoë", "]]>", "{{.}}", "</style><script>", "\u202ea"} {
		want := strings.Map(func(r rune) rune {
			if r < ' ' || r == '\u202e' {
				return '\ufffd'
			}
			return r
		}, strings.ToValidUTF8(name, "\ufffd"))
		if name == "\xff\xfe" {
			want = "\ufffd\ufffd"
		}
		if d := draw(t, &Picture{Title: name, Note: name}); !slices.Equal(d.texts[:2], []string{want, want}) {
			t.Errorf("%q is written %q, want %q", name, d.texts, want)
		}
	}
}

func TestNumbersHaveSeparators(t *testing.T) {
	d := draw(t, &Picture{Bound: 10, Marks: marks(5001, 41, -8, 0)})
	if !d.says("dropped: 4,000 of 5,001 pings") || !d.says("kept: 1,001 (20.0 %)") {
		t.Errorf("says %q", d.texts)
	}
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
