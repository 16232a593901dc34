package report

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"pingline"
)

var began = time.Date(2026, 5, 4, 8, 30, 0, 0, time.UTC)

// busy returns a run of so many seconds in which everything happens: a stall, sheds
// and seconds without any answer.
func busy(n int) *Run {
	rng := rand.New(rand.NewPCG(1, 2))
	r := &Run{
		Title: "Rush hour <on staging>", Command: "pingline sim run --target=https://staging.example --rate=20000",
		Target: "https://staging.example", Began: began,
		Summary: []Line{{"Pings sent", "2,391,200"}, {"p50", "4.1 ms"}, {"p99", "18 ms"}, {"p99.9", "4.9 s"}, {"Accepted", "41.2 %"}, {"verdicts", "961,200 accepted, 705,100 held, 600,300 redundant, 71,800 duplicate, 180,000 shed, 48,100 rejected"}},
		Notes:   []string{"The ingester stalled for 5 s & recovered."},
	}
	for i := range n {
		ms := func(low float64) time.Duration {
			return time.Duration(low * (1 + 0.3*rng.Float64()) * float64(time.Millisecond))
		}
		s := Second{
			At: began.Add(time.Duration(i) * time.Second), Due: 20_000, Sent: 19_800 + rng.Uint64N(400), Requests: 200,
			P50: ms(3), P99: ms(14), P999: ms(30), Max: ms(55),
		}
		switch {
		case i >= n/3 && i < n/3+5:
			s.Requests, s.Unanswered, s.P50, s.P99, s.P999, s.Max = 12, 12, 0, 0, 0, 0
		case i == n/3+5:
			s.P50, s.P99, s.P999, s.Max = ms(2000), ms(4500), ms(4900), ms(5000)
		case i > 2*n/3 && i < 2*n/3+n/8+2:
			s.Shed, s.Refused = 1+i%3, 20
			s.Verdicts[pingline.Shed] = 6000
		}
		if s.Unanswered == 0 {
			left := s.Sent - s.Verdicts[pingline.Shed]
			s.Verdicts[pingline.Accepted] = left * 4 / 10
			s.Verdicts[pingline.Held] = left * 3 / 10
			s.Verdicts[pingline.Redundant] = left * 25 / 100
			s.Verdicts[pingline.Duplicate] = left * 3 / 100
			s.Verdicts[pingline.Rejected] = left * 2 / 100
		}
		r.Seconds = append(r.Seconds, s)
	}
	return r
}

func render(t *testing.T, r *Run) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// names returns the legend of a page.
func names(t *testing.T, page string) (keys []string) {
	t.Helper()
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	for n := range root.Descendants() {
		if n.Data == "i" && n.Type == html.ElementNode && n.NextSibling != nil {
			keys = append(keys, n.NextSibling.Data)
		}
	}
	return keys
}

func TestPageHasEachSeries(t *testing.T) {
	page := render(t, busy(90))
	want := "max p99.9 p99 p50 accepted held redundant duplicate shed rejected sent due answered refused unanswered level"
	if got := strings.Join(names(t, page), " "); got != want {
		t.Errorf("legends have %q, want %q", got, want)
	}
	_, drawing, _ := strings.Cut(page, "<svg")
	for _, c := range theme[5:] {
		if !strings.Contains(drawing, "var(--"+c.Name+")") {
			t.Errorf("nothing is drawn in the color of %s", c.Name)
		}
	}
	if strings.Contains(drawing, "#0102") || strings.Contains(drawing, ":#-") {
		t.Error("a color of the drawing is not one of the page")
	}
	if strings.Contains(page, "Zgotmpl") {
		t.Error("a value does not belong where the template puts it")
	}
	for _, text := range []string{"Rush hour &lt;on staging&gt;", "4 May 2026, 08:30:00 UTC", "--rate=20000", "2,391,200", "5 s &amp; recovered", ">1:20<", ">20,000<", ">100 ms<"} {
		if !strings.Contains(page, text) {
			t.Errorf("the page lacks %q", text)
		}
	}
}

// The page loads nothing and runs nothing: no element or attribute that could, and no
// address of another host but in what is printed.
func TestPageStandsByItself(t *testing.T) {
	page := render(t, busy(90))
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	for n := range root.Descendants() {
		switch {
		case n.Type != html.ElementNode:
			continue
		case strings.Contains(" script link iframe object embed img image base use foreignobject ", " "+strings.ToLower(n.Data)+" "):
			t.Errorf("the page has an element %s", n.Data)
		case n.Data == "style" && strings.Contains(n.FirstChild.Data, "@import"):
			t.Error("the style imports another")
		case n.Data == "style" && strings.Contains(n.FirstChild.Data, "url("):
			t.Error("the style loads something")
		}
		for _, a := range n.Attr {
			if strings.Contains(a.Val, "//") || strings.Contains(a.Val, "url(") || strings.HasPrefix(a.Key, "on") || a.Key == "src" || a.Key == "href" {
				t.Errorf("element %s has the attribute %s=%q", n.Data, a.Key, a.Val)
			}
		}
	}
}

// Short values of a summary are cards, and long ones rows; what says nothing is left out.
func TestSummaryIsCardsOrRows(t *testing.T) {
	r := busy(2)
	r.Summary = append(r.Summary, Line{"faults", ""})
	if page := render(t, r); !strings.Contains(page, `<dl class="rows">`) || strings.Contains(page, "<dt>faults") {
		t.Error("long values are no rows, or an empty one is there")
	}
	r.Summary = r.Summary[:5]
	if page := render(t, r); !strings.Contains(page, "<dl>") {
		t.Error("short values are no cards")
	}
}

func TestUnknownLevelsAreNotDrawn(t *testing.T) {
	r := busy(20)
	for i := range r.Seconds {
		r.Seconds[i].Shed = -1
	}
	if page := render(t, r); strings.Contains(page, "Shed level") {
		t.Error("the page has a plot of levels that nobody knows")
	}
}

func TestSmallRunsAreDrawn(t *testing.T) {
	for n := range 4 {
		r := busy(60)
		r.Seconds = r.Seconds[:n]
		page := render(t, r)
		if strings.Contains(page, "NaN") || strings.Contains(page, "Inf") {
			t.Errorf("%d seconds: the page has numbers that are none", n)
		}
		if drawn := strings.Count(page, "<svg"); n > 0 && drawn != 4 || n == 0 && drawn != 0 {
			t.Errorf("%d seconds: %d plots", n, drawn)
		}
	}
	silent := &Run{Title: "silent", Began: began, Seconds: []Second{{At: began}, {At: began.Add(time.Second)}}}
	if page := render(t, silent); strings.Contains(page, "NaN") || strings.Contains(page, "Inf") {
		t.Error("a run without an answer has numbers that are none")
	}
}

func TestLongRunsAreCondensed(t *testing.T) {
	r := busy(10_000)
	r.Seconds[5000].Max, r.Seconds[5000].Shed = time.Hour, 3
	joined, each := condense(r.Seconds, mostDots)
	if each != 9 || len(joined) != 1112 {
		t.Fatalf("10,000 seconds became %d of %d, want 1,112 of 9", len(joined), each)
	}
	s := joined[5000/9]
	if s.Max != time.Hour || s.Shed != 3 {
		t.Errorf("the worst of nine seconds is %v at level %d, want 1h at 3", s.Max, s.Shed)
	}
	if s.Due != 20_000 {
		t.Errorf("nine seconds with 20,000 pings due have %d each", s.Due)
	}
	page := render(t, r)
	if len(page) > 2<<20 {
		t.Errorf("the page of 10,000 seconds has %d bytes", len(page))
	}
	if !strings.Contains(page, "A dot stands for 9 seconds") {
		t.Error("the page does not say what a dot stands for")
	}
}

func TestWriteFails(t *testing.T) {
	full := errors.New("disk full")
	if err := busy(5).WriteHTML(failing{full}); !errors.Is(err, full) {
		t.Errorf("WriteHTML = %v, want %v", err, full)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

var _ io.Writer = failing{}

// The page can be looked at: REPORT_HTML names a file to write it to.
func TestPageToLookAt(t *testing.T) {
	path := os.Getenv("REPORT_HTML")
	if path == "" {
		t.Skip("REPORT_HTML names no file")
	}
	if err := os.WriteFile(path, []byte(render(t, busy(180))), 0o600); err != nil {
		t.Fatal(err)
	}
}
