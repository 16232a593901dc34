package phone

import (
	"go/parser"
	"go/token"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pingline"
)

// Each protocol there is has the files that the package doc tells to add, and its
// line in the table.
func TestHowToAddAProtocol(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "phone.go", nil, parser.ParseComments|parser.PackageClauseOnly)
	if err != nil {
		t.Fatal(err)
	}
	_, steps, found := strings.Cut(file.Doc.Text(), "# How to add a protocol")
	paths := regexp.MustCompile(`(?m)^ *\d+\. ([a-zA-Z/_.]+): `).FindAllStringSubmatch(steps, -1)
	if !found || len(paths) != 11 {
		t.Fatalf("the package doc has %d steps, want 11", len(paths))
	}
	guide, err := os.ReadFile("../../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(guide), "## How to add a protocol")
	list, _, _ = strings.Cut(list, "\n## ")
	listed := regexp.MustCompile("(?m)^\\d+\\. `([^`]+)`: ").FindAllStringSubmatch(list, -1)
	same := func(a, b []string) bool { return a[1] == b[1] }
	if !slices.EqualFunc(listed, paths, same) {
		t.Errorf("docs/architecture.md has the steps %v, the package doc %v", listed, paths)
	}
	table, err := os.ReadFile("../../" + paths[6][1])
	if err != nil {
		t.Fatal(err)
	}
	suites, err := filepath.Glob("*/testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range suites {
		name := filepath.Dir(dir)
		for _, path := range paths {
			path := strings.ReplaceAll(path[1], "NAME", name)
			if _, err := os.Stat("../../" + path); err != nil {
				t.Errorf("protocol %s: %v", name, err)
			}
		}
		tests, err := os.ReadFile(filepath.Join(name, name+"_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		for text, in := range map[string][]byte{name + ".Protocol,": table, "phonetest.Run(t, Protocol)": tests, "phonetest.Fuzz(f, Protocol)": tests} {
			if !strings.Contains(string(in), text) {
				t.Errorf("protocol %s: %s is missing", name, text)
			}
		}
	}
	if n := strings.Count(string(table), ".Protocol,"); n != len(suites) || n == 0 {
		t.Errorf("%d protocols are in the table, %d folders have testdata", n, len(suites))
	}
}

func TestCheck(t *testing.T) {
	fine := func(change func(*Protocol)) Protocol {
		p := Protocol{
			Name: "fine", Routes: []string{"POST /v1/fine", "* /fine/{key}"},
			Decode: func(*Request, *Pings) error { return nil }, Reply: func(*Reply, *Request, *Outcome) {},
		}
		if change != nil {
			change(&p)
		}
		return p
	}
	for _, tt := range []struct {
		name  string
		table []Protocol
		want  string
	}{
		{"complete", []Protocol{fine(nil)}, ""},
		{"a name with a capital", []Protocol{fine(func(p *Protocol) { p.Name = "Fine" })}, "[a-z0-9]+"},
		{"no Decode", []Protocol{fine(func(p *Protocol) { p.Decode = nil })}, "lacks"},
		{"no routes", []Protocol{fine(func(p *Protocol) { p.Routes = nil })}, "lacks"},
		{"the same name twice", []Protocol{fine(nil), fine(nil)}, "twice"},
		{"the same route twice", []Protocol{fine(nil), fine(func(p *Protocol) { p.Name = "other" })}, "of both"},
		{"a route within the other's", []Protocol{fine(nil), fine(func(p *Protocol) { p.Name, p.Routes = "other", []string{"GET /Fine/all"} })}, "of both"},
		{"another method", []Protocol{fine(nil), fine(func(p *Protocol) { p.Name, p.Routes = "other", []string{"GET /v1/fine"} })}, ""},
		{"routes of one protocol that overlap", []Protocol{fine(func(p *Protocol) { p.Routes = []string{"GET /{a}", "GET /b"} })}, ""},
		{"a route without a method", []Protocol{fine(func(p *Protocol) { p.Routes = []string{"/v1/fine"} })}, "METHOD /path"},
		{"a method that takes nothing in", []Protocol{fine(func(p *Protocol) { p.Routes = []string{"HEAD /v1/fine"} })}, "METHOD /path"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := Check(tt.table)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

// ridersSet is a set of riders.
type ridersSet map[string]bool

func (s ridersSet) Has(rider string) bool { return s[rider] }

// Pings of other riders are rejected in their places among the invalid pings, whatever
// their number, and the rest stays in order.
func TestPingsOfOtherRiders(t *testing.T) {
	now := time.UnixMilli(1_760_000_000_123)
	var p Pings
	read := func(may interface{ Has(string) bool }, riders ...string) *Pings {
		limits := Limits{}.WithDefaults()
		limits.Riders = may
		p.Reset(limits, now)
		for _, rider := range riders {
			var d Draft
			if rider != "" {
				d.SetName(Rider, rider)
			}
			d.SetTime(now.UnixMilli())
			d.SetNumber(Lat, 41)
			d.SetNumber(Lon, 29)
			if err := p.Add(&d); err != nil {
				t.Fatal(err)
			}
		}
		return &p
	}
	ana := ridersSet{"ana": true}
	read(ana, "ben", "", "ana", "ana", "ben", "ana", "cy")
	var at []int
	for _, r := range p.Rejected {
		at = append(at, r.Index)
		if r.Field != "rider_id" || r.Index != 1 && (r.Reason != errNotRider.Reason || r.Rider == "") {
			t.Errorf("%+v", r)
		}
	}
	if !slices.Equal(at, []int{0, 1, 4, 6}) || !slices.Equal(p.Index, []int32{2, 3, 5}) || len(p.List) != 3 || p.List[2].Rider != "ana" || p.Received != 7 {
		t.Errorf("rejected %v, kept %v of %d", at, p.Index, p.Received)
	}
	p.EachReason(func(field string, n int) {
		if field != "rider_id" || n != 4 {
			t.Errorf("%d for %s", n, field)
		}
	})
	read(ana, slices.Repeat([]string{"ben"}, 3*MaxRejections)...)
	if len(p.List) != 0 || len(p.Rejected) != MaxRejections || p.Rejected[99].Index != 99 || cap(p.Rejected) > 3*MaxRejections {
		t.Errorf("%d kept, %d reported", len(p.List), len(p.Rejected))
	}
	both := []string{"ana", "ben", "ana"}
	for name, may := range map[string]interface{ Has(string) bool }{"all": nil, "both": ridersSet{"ana": true, "ben": true}} {
		if n := testing.AllocsPerRun(10, func() { read(may, both...) }); n != 0 || len(p.List) != 3 {
			t.Errorf("%s: %v allocations when nothing is refused", name, n)
		}
	}
}

// An outcome counts every ping of its request once, by position.
func TestOutcome(t *testing.T) {
	var pings Pings
	now := time.UnixMilli(1_760_000_000_123)
	pings.Reset(Limits{}.WithDefaults(), now)
	for i := range 6 {
		var d Draft
		if i != 1 {
			d.SetName(Rider, "r")
		}
		d.SetTime(now.UnixMilli())
		d.SetNumber(Lat, 41)
		d.SetNumber(Lon, -8)
		if err := pings.Add(&d); err != nil {
			t.Fatal(err)
		}
	}
	// The ping at 2 is taken out by the rate of its rider, the one at 5 is of a track
	// too many.
	pings.List = append(pings.List[:1], pings.List[2:]...)
	pings.Index = append(pings.Index[:1], pings.Index[2:]...)
	o := Outcome{
		Pings: &pings, Judged: []pingline.Verdict{pingline.Accepted, pingline.Redundant, pingline.Held, pingline.Shed},
		Shed: []int32{2}, Over: []int32{3},
	}
	want := []pingline.Verdict{pingline.Accepted, pingline.Rejected, pingline.Shed, pingline.Redundant, pingline.Held, pingline.Shed}
	var counts [pingline.Verdicts]int
	for i, v := range o.Verdicts() {
		counts[v]++
		if v != want[i] {
			t.Errorf("ping %d is %v, want %v", i, v, want[i])
		}
	}
	if got := o.Counts(); got != counts {
		t.Errorf("counts %v, want %v", got, counts)
	}
	pings.Rejected = append(slices.Grow(pings.Rejected, 8), Rejection{Index: 7, Field: "lat", Reason: "missing"})
	rejected := slices.Clone(pings.Rejected)
	errs := []Rejection{{Index: 1, Field: "rider_id", Reason: "missing"}, {Index: 2, Reason: "rate"}, {Index: 5, Reason: "rate of new riders"}, {Index: 7, Field: "lat", Reason: "missing"}}
	for i, e := range o.Errors() {
		if e != errs[i] {
			t.Errorf("error %+v, want %+v", e, errs[i])
		}
	}
	if n := len(o.Errors()); n != len(errs) {
		t.Errorf("%d errors, want %d", n, len(errs))
	}
	if !slices.Equal(pings.Rejected, rejected) {
		t.Errorf("Errors has made the rejected pings %v, were %v", pings.Rejected, rejected)
	}
}

// A number that is none makes a position invalid and an optional number unknown.
func TestNumbersThatAreNone(t *testing.T) {
	now := time.UnixMilli(1_760_000_000_123)
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		for f := Lat; f < Device; f++ {
			var d Draft
			d.SetName(Rider, "r-1")
			d.SetTime(now.UnixMilli())
			d.SetNumber(Lat, 41)
			d.SetNumber(Lon, -8)
			d.SetNumber(f, v)
			var pings Pings
			pings.Reset(Limits{}.WithDefaults(), now)
			if err := pings.Add(&d); err != nil {
				t.Fatal(err)
			}
			if valid := len(pings.List) == 1; valid != (f > Lon) || valid && pings.List[0].Has(pingline.HasSpeed<<(f-Speed)) {
				t.Errorf("%v of %v: pings %+v, rejected %v", f, v, pings.List, pings.Rejected)
			}
		}
	}
	var d Draft
	for _, at := range []int64{math.MinInt64, math.MaxInt64} {
		d.SetName(Rider, "r-1")
		d.SetTime(at)
		d.SetNumber(Lat, 41)
		d.SetNumber(Lon, -8)
		var pings Pings
		pings.Reset(Limits{}.WithDefaults(), now)
		if err := pings.Add(&d); err != nil || len(pings.Rejected) != 1 || pings.Rejected[0].Field != "ts" {
			t.Errorf("time %d: error %v, rejected %v", at, err, pings.Rejected)
		}
	}
}

// What was cleared keeps nothing of the request alive: its names may be a part of the
// body.
func TestClearedPingsKeepNoBody(t *testing.T) {
	var p Pings
	p.Reset(Limits{}.WithDefaults(), time.Now())
	d := new(Draft)
	d.SetName(Rider, "r")
	if err := p.RejectDraft(d, &pingline.FieldError{Field: "lat", Reason: "missing"}); err != nil || len(p.Rejected) != 1 || p.Rejected[0].Rider != "r" {
		t.Fatalf("%v, %+v", err, p.Rejected)
	}
	p.Clear()
	if left := p.Rejected[:1]; left[0] != (Rejection{}) {
		t.Errorf("%+v is kept", left[0])
	}
}

// A refusal quotes the body as a person can read it: GPX begins with <.
func TestRefusalIsReadable(t *testing.T) {
	var to Reply
	to.Refuse(&Error{Kind: ErrMalformed, Text: `want {, got "<" & ">"`})
	if got, want := string(to.Body), `{"error":"want {, got \"<\" & \">\""}`; got != want || to.Status != 400 {
		t.Errorf("%d %s, want %s", to.Status, got, want)
	}
}
