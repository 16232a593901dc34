package top

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"

	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"pingline"
	"pingline/internal/command"
	"pingline/query/status"
)

var update = flag.Bool("update", false, "write the screens of testdata anew")

// busy is an ingester in the middle of a day.
func busy() *status.Answer {
	a := &status.Answer{
		At: 1760000002456, Version: "v1.4.0", Ready: true, LevelName: pingline.PolicyAt(0).Name, GivingUp: []string{}, StepS: 5,
		Breakers: []status.ShardBreaker{{Shard: "a", State: "closed"}, {Shard: "b", State: "closed"}, {Shard: "c", State: "closed"}},
	}
	for i := range 120 {
		wave := 1 + math.Sin(float64(i)/12)
		for q, v := range [...]float64{2000 * wave, 500 * wave, 0.25, 0, 0.4 + 0.1*wave, 1.5 + 0.3*wave, 900 * wave, 1.2, 0, 0, 20113, 4} {
			if i >= 40 && i < 50 { // it was stopped
				v = math.NaN()
			}
			a.History[q] = append(a.History[q], v)
			a.Now[q] = v
		}
	}
	a.From = a.At - 119*5000
	return a
}

// troubled is an ingester that gives up much.
func troubled(level int) *status.Answer {
	a := busy()
	a.Level, a.LevelName, a.GivingUp = level, pingline.PolicyAt(level).Name, pingline.PolicyAt(level).GivingUp()
	a.LevelReason = "a shard has taken nothing for 45 s"
	a.Breakers[1].State, a.Breakers[2].State = "open", "half-open"
	a.Now[status.Level], a.Now[status.BreakersOpen], a.Now[status.Shed], a.Now[status.QueueAge] = float64(level), 2, 1234.5, 4000
	if level == pingline.MaxLevel {
		a.Ready, a.Reason = false, "overloaded"
	}
	return a
}

// lookAt is an answer as it is read.
func lookAt(t *testing.T, a *status.Answer) *look {
	t.Helper()
	text, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	l := readLook(text)
	if l == nil {
		t.Fatalf("%s is not read", text)
	}
	return l
}

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// The screens of testdata are those of an ingester that is well, of one in overload, and of
// one that is gone, in terminals of several sizes.
func TestScreens(t *testing.T) {
	for _, tt := range []struct {
		file            string
		columns, height int
		answer          *status.Answer
		gone            time.Duration // since when there is no answer
	}{
		{"well.txt", 80, 24, busy(), 0},
		{"well-120x40.txt", 120, 40, busy(), 0},
		{"well-60x16.txt", 60, 16, busy(), 0},
		{"well-30x10.txt", 30, 10, busy(), 0},
		{"overload.txt", 80, 24, troubled(2), 0},
		{"overload-most.txt", 80, 24, troubled(4), 0},
		{"gone.txt", 80, 24, busy(), 75 * time.Second},
		{"never.txt", 80, 24, nil, 10 * time.Second},
	} {
		t.Run(tt.file, func(t *testing.T) {
			l := newLookout("http://localhost:8080", time.Second)
			if tt.answer != nil {
				l.took(noon, lookAt(t, tt.answer), nil)
			}
			if tt.gone > 0 {
				l.took(noon.Add(time.Second), nil, &lookError{"http://localhost:8080", "connect: connection refused", false})
			}
			lines := l.page(noon.Add(tt.gone), tt.columns, tt.height)
			got := plain(lines)
			path := filepath.Join("testdata", tt.file)
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("it shows\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// Whatever the size of the terminal is, and whatever the ingester tells, no line is too
// long, there are not too many, and the state comes first.
func TestEverySizeFits(t *testing.T) {
	long := troubled(4)
	long.Version, long.Reason = strings.Repeat("v", 300), strings.Repeat("no space left 空間 ", 30)
	long.Breakers = slices.Repeat([]status.ShardBreaker{{Shard: "a-shard-with-a-long-name", State: "open"}}, 50)
	for q := range long.Now {
		long.Now[q] = 1e15
	}
	for _, a := range []*status.Answer{busy(), troubled(1), troubled(4), long} {
		l := newLookout("https://pingline.example.org:8443/behind/a/proxy", time.Second)
		l.took(noon, lookAt(t, a), nil)
		for _, columns := range []int{1, 10, 29, 30, 31, 36, 40, 49, 50, 51, 79, 80, 100, 163, 164, 300} {
			for _, height := range []int{1, 2, 3, 5, 8, 11, 14, 17, 20, 24, 40} {
				for _, now := range []time.Time{noon, noon.Add(time.Hour)} {
					lines := l.page(now, columns, height)
					if len(lines) > height || len(lines) == 0 {
						t.Fatalf("%d lines in %d", len(lines), height)
					}
					for _, line := range lines {
						if n := line.width(); n > columns {
							t.Fatalf("%d columns in %d: %v", n, columns, line)
						}
					}
					if said := plain(lines); columns >= 36 && height >= 2 && !strings.Contains(said, "aking pings") && !strings.Contains(said, "No new answer") {
						t.Fatalf("%dx%d does not say the state:\n%s", columns, height, said)
					}
				}
			}
		}
	}
}

// A number that is not of now is never shown as if it were: not while no answer comes, not
// while the same answer comes again and again, and not if an answer is overdue.
func TestStaleNumbers(t *testing.T) {
	a := lookAt(t, busy())
	for _, tt := range []struct {
		name  string
		then  func(l *lookout) // at noon
		after time.Duration
		stale bool
	}{
		{"an answer of now", func(*lookout) {}, 0, false},
		{"an answer that is as old as it may be", func(*lookout) {}, time.Second + slack, false},
		{"an answer that is older", func(*lookout) {}, time.Second + slack + 1, true},
		{"no answer", func(l *lookout) { l.took(noon, nil, &lookError{"x", "gone", false}) }, 0, true},
		{"the same answer, from a cache", func(l *lookout) { l.took(noon.Add(time.Minute), a, nil) }, time.Minute, true},
		{"a new answer after none", func(l *lookout) {
			l.took(noon, nil, &lookError{"x", "gone", false})
			b := *a
			b.At += 1000
			l.took(noon.Add(time.Minute), &b, nil)
		}, time.Minute, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLookout("x", time.Second)
			l.took(noon, a, nil)
			tt.then(l)
			now := noon.Add(tt.after)
			screen, line := plain(l.page(now, 80, 24)), l.line(now)
			for i := range rows {
				v, _ := a.Now.Of(rows[i].of)
				fresh := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(rows[i].name) + ` +` + regexp.QuoteMeta(rows[i].text(v))).MatchString(screen)
				if fresh == tt.stale {
					t.Errorf("%s is shown as of now: %v, in\n%s", rows[i].name, fresh, screen)
				}
			}
			if strings.Contains(screen, "answer since") != tt.stale || strings.Contains(line, "answer since") != tt.stale || strings.Contains(screen, "[0 normal]") == tt.stale {
				t.Errorf("it shows %s\n%s", line, screen)
			}
		})
	}
}

// What is not known is shown as a dash, in each form.
func TestUnknownNumbers(t *testing.T) {
	a := busy()
	for q := range a.Now {
		a.Now[q] = math.NaN()
		a.History[q] = nil
	}
	a.From = a.At
	l := newLookout("x", time.Second)
	l.took(noon, lookAt(t, a), nil)
	if screen := plain(l.page(noon, 80, 24)); strings.Count(screen, dash) != 2*len(rows) || strings.ContainsAny(screen, string(glyphs)) {
		t.Errorf("it shows\n%s", screen)
	}
	if line := l.line(noon); strings.Count(line, dash) != 8 || strings.Contains(line, "%") {
		t.Errorf("it shows %s", line)
	}
}

// A level that this program does not know is shown by the name that the ingester gives it.
func TestLevelOfANewerVersion(t *testing.T) {
	a := busy()
	a.Level, a.LevelName, a.Now[status.Level] = pingline.MaxLevel+1, "asleep", pingline.MaxLevel+1
	l := newLookout("x", time.Second)
	l.took(noon, lookAt(t, a), nil)
	if screen := plain(l.page(noon, 80, 24)); !strings.Contains(screen, "4 events only") || !strings.Contains(screen, "[5 asleep]") || !strings.Contains(screen, "level 5, asleep.") {
		t.Errorf("it shows\n%s", screen)
	}
}

// What a server says cannot do anything to the terminal.
func TestTextOfServersIsPrintable(t *testing.T) {
	a := troubled(4)
	const evil = "\x1b]0;title\a\x1b[2Jclear\r\n\u009b31m\u202eback"
	a.Version, a.Reason, a.LevelName, a.GivingUp = evil, evil, evil, []string{evil}
	a.Breakers = []status.ShardBreaker{{Shard: evil, State: evil}}
	l := newLookout(evil, time.Second)
	l.took(noon, lookAt(t, a), nil)
	screen, line := plain(l.page(noon, 80, 24)), l.line(noon)
	l.took(noon, nil, &lookError{evil, evil, false})
	for _, text := range []string{screen, line, plain(l.page(noon, 80, 24)), l.line(noon)} {
		if strings.ContainsAny(text, "\x1b\a\r\u009b\u202e") || !strings.Contains(text, "clear") {
			t.Errorf("it shows %q", text)
		}
	}
}

func TestSpark(t *testing.T) {
	null := math.NaN()
	for _, tt := range []struct {
		values       []float64
		old, columns int
		most         float64
		want         string
	}{
		{nil, 0, 4, 1, "    "},
		{[]float64{8}, 0, 4, 8, "   █"},
		{slices.Repeat([]float64{0}, 120), 0, 4, 0, "▁▁▁▁"},
		{slices.Repeat([]float64{0.001}, 120), 0, 4, 8, "▂▂▂▂"},
		{append(slices.Repeat([]float64{8}, 60), slices.Repeat([]float64{null}, 60)...), 0, 4, 8, "██  "},
		{slices.Repeat([]float64{4}, 120), 60, 4, 8, "▅▅  "}, // ended five minutes ago
		{slices.Repeat([]float64{4}, 120), 500, 4, 8, "    "},
		{append(make([]float64, 119), 8), 0, 4, 8, "▁▁▁█"}, // a peak of a step is seen
		{slices.Repeat([]float64{9}, 120), 0, 2, 8, "██"},
		{[]float64{-math.MaxFloat64, 1e-300, math.MaxFloat64}, 0, 120, 1e-300, strings.Repeat(" ", 117) + "▁██"},
	} {
		if got := spark(tt.values, tt.old, tt.columns, tt.most); got != tt.want {
			t.Errorf("%d values, %d old, in %d columns: %q, want %q", len(tt.values), tt.old, tt.columns, got, tt.want)
		}
	}
	for columns := range 130 {
		if got := spark(nil, 0, columns, 1); len(got) != columns {
			t.Errorf("%d columns are %q", columns, got)
		}
	}
}

// width is how many columns a line takes.
func (t textLine) width() (n int) {
	for _, p := range t {
		n += len([]rune(p.text))
		n += strings.Count(p.text, "空") + strings.Count(p.text, "間")
	}
	return n
}

// ingester is a server whose answer tests set.
type ingester struct {
	*httptest.Server
	mu      sync.Mutex // guards the fields below; nothing else is locked under it
	handler http.HandlerFunc
	asked   int
	header  http.Header // of the newest request
}

// ingest starts a server that answers GET /v1/status, and nothing else.
func ingest(t *testing.T, handler http.HandlerFunc) *ingester {
	n := &ingester{handler: handler}
	n.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.mu.Lock()
		handler := n.handler
		n.asked++
		n.header = r.Header
		n.mu.Unlock()
		handler(w, r)
	}))
	t.Cleanup(n.Close)
	return n
}

func (n *ingester) set(handler http.HandlerFunc) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.handler = handler
}

// tells answers with a status of now.
func tells(a *status.Answer) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/status" {
			http.NotFound(w, r)
			return
		}
		b := *a
		b.At = time.Now().UnixMilli()
		b.From = b.At - 119*5000
		_ = json.NewEncoder(w).Encode(&b)
	}
}

// says answers anything with a status and a text.
func says(code int, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_, _ = io.WriteString(w, text)
	}
}

// run parses the arguments of pingline top and runs the command.
func run(ctx context.Context, args ...string) (stdout, stderr string, err error) {
	var out, errs bytes.Buffer
	err = runOn(&command.Program{Context: ctx, Stdout: &out, Stderr: &errs}, args...)
	return out.String(), errs.String(), err
}

func runOn(p *command.Program, args ...string) error {
	var cli struct {
		Top PanelCmd `cmd:""`
	}
	parser, err := kong.New(&cli)
	if err != nil {
		return err
	}
	parsed, err := parser.Parse(append([]string{"top"}, args...))
	if err != nil {
		return err
	}
	return parsed.Run(p)
}

// --once prints the screen of testdata, with the time and the address of now.
func TestOnce(t *testing.T) {
	n := ingest(t, tells(busy()))
	out, _, err := run(t.Context(), "--once", "--target", n.URL)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/well.txt")
	if err != nil {
		t.Fatal(err)
	}
	got := regexp.MustCompile(`^\d\d:\d\d:\d\d`).ReplaceAllString(strings.ReplaceAll(out, n.URL, "http://localhost:8080"), "12:00:00")
	if got+"\nq ends it\n" != string(want) {
		t.Errorf("it prints\n%s", out)
	}
}

// An ingester that takes no pings is told with an error, whose exit status is 1.
func TestOnceOfOneThatIsNotReady(t *testing.T) {
	n := ingest(t, tells(troubled(4)))
	for _, args := range [][]string{{"--once"}, {"--once", "--json"}} {
		out, _, err := run(t.Context(), append(args, "--target", n.URL)...)
		if err == nil || err.Error() != "the ingester takes no pings: overloaded" || !strings.Contains(out, "overloaded") {
			t.Errorf("%v prints %s: %v", args, out, err)
		}
	}
}

// --json prints the answer as it came, on a line; headers are sent.
func TestJSON(t *testing.T) {
	n := ingest(t, says(200, "{\"at\":5, \"step_s\":5,\n \"ready\":true,\"more\":[1.50]}\n"))
	out, _, err := run(t.Context(), "--once", "--json", "--target", n.URL+"/?x", "--header", "authorization: Basic c2VjcmV0", "--header=X-A:b")
	if err != nil || out != `{"at":5,"step_s":5,"ready":true,"more":[1.50]}`+"\n" {
		t.Errorf("it prints %q: %v", out, err)
	}
	if n.header.Get("Authorization") != "Basic c2VjcmV0" || n.header.Get("X-A") != "b" {
		t.Errorf("it sent %v", n.header)
	}
}

// An error says which flag is wrong, and no secret; a wrong server ends it at once in each
// form.
func TestWrongServers(t *testing.T) {
	old := ingest(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			_, _ = io.WriteString(w, `{"name":"pingline","version":"v1.0 <old>","ready":true,"routes":["POST /v1/pings"]}`)
			return
		}
		http.NotFound(w, r)
	})
	for _, tt := range []struct {
		name, target, want string
		ends               bool // also without --once
	}{
		{"nobody listens", "http://user:secret@127.0.0.1:1", "--target: http://user:xxxxx@127.0.0.1:1 does not answer: connect: connection refused", false},
		// Of a name that can be none, no server of names is asked: it may be away, and silent.
		{"a name that is not there", "http://nowhere..invalid", "--target: http://nowhere..invalid does not answer: lookup nowhere..invalid", false},
		{"a web server", ingest(t, says(404, "not found")).URL, "is not Pingline: GET /v1/status is answered 404 Not Found", true},
		{"a page", ingest(t, says(200, "<html>")).URL, "is not Pingline: GET /v1/status is answered with something else", true},
		{"other JSON", ingest(t, says(200, `{"status":"ok"}`)).URL, "is not Pingline: GET /v1/status is answered with something else", true},
		{"a step of no time", ingest(t, says(200, `{"at":1,"step_s":36028797018963968}`)).URL, "is answered with something else", true}, // in ns 0, as an int64
		{"a level beyond all", ingest(t, says(200, `{"at":1,"step_s":5,"level":2000000000}`)).URL, "is answered with something else", true},
		{"a level below all", ingest(t, says(200, `{"at":1,"step_s":5,"level":-1}`)).URL, "is answered with something else", true},
		{"a body without end", ingest(t, func(w http.ResponseWriter, _ *http.Request) {
			for range 64 {
				_, _ = w.Write(bytes.Repeat([]byte(" "), 64<<10))
			}
		}).URL, "is answered with something else", true},
		{"an old Pingline", old.URL, "is Pingline v1.0 <old>, which has no GET /v1/status: it is older than this program", true},
		{"a proxy with passwords", ingest(t, says(401, "")).URL, "lets nobody in: GET /v1/status is answered 401 Unauthorized; --header", true},
		{"a proxy without a server", ingest(t, says(502, "")).URL, "does not answer: GET /v1/status is answered 502 Bad Gateway", false},
		{"too often", ingest(t, says(429, "")).URL, "GET /v1/status is answered 429 Too Many Requests: a longer --every", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, _, err := run(t.Context(), "--once", "--target", tt.target, "--header=Authorization: hidden")
			if err == nil || !strings.HasPrefix(err.Error(), "--target: ") || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "hidden") || out != "" {
				t.Errorf("it prints %q: %v, want %s", out, err, tt.want)
			}
			if errors.As(err, new(command.UsageError)) {
				t.Error("it is an error of usage")
			}
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			out, _, err = runUntil(ctx, stop, "since", "--target", tt.target)
			if (err != nil) != tt.ends || tt.ends && out != "" || !tt.ends && !strings.Contains(out, "no answer since") {
				t.Errorf("lines: it prints %q: %v", out, err)
			}
		})
	}
}

// runUntil runs the command in a pipe until it has printed a text.
func runUntil(ctx context.Context, stop func(), text string, args ...string) (string, string, error) {
	out := &awaited{text: text, then: stop}
	var errs bytes.Buffer
	err := runOn(&command.Program{Context: ctx, Stdout: out, Stderr: &errs}, args...)
	return out.all.String(), errs.String(), err
}

// awaited calls then when a text has been written to it.
type awaited struct {
	all  bytes.Buffer
	text string
	then func()
}

func (a *awaited) Write(b []byte) (int, error) {
	a.all.Write(b)
	if strings.Contains(a.all.String(), a.text) {
		a.then()
	}
	return len(b), nil
}

// Flags out of their range are refused by the parser, by name.
func TestWrongFlags(t *testing.T) {
	for args, want := range map[string]string{
		"--every=0.5s":            "--every: 500ms is not in [1s, 1m]",
		"--every=2m":              "--every: 2m0s is not in [1s, 1m]",
		"--target=localhost:8080": `--target: "localhost:8080" is not a URL such as http://localhost:8080`,
		"--target=ftp://x":        `--target: "ftp://x" is not a URL`,
		"--header=secret":         "--header: not NAME: VALUE",
	} {
		_, _, err := run(t.Context(), args)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", args, err, want)
		}
	}
}

// In a pipe there is a line each look: with the numbers, with why there are none, and with
// numbers again when the ingester is back.
func TestLines(t *testing.T) {
	n := ingest(t, tells(busy()))
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	defer stop()
	out := new(stages)
	out.stages = []stage{
		{regexp.MustCompile(`^time +received/s .*\n\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d +1,055 .* 25\.0% .* taking pings; nothing is given up\n$`), func() { n.set(says(503, "")) }},
		{regexp.MustCompile(`\n\S+  no answer since \d\d:\d\d:\d\d: GET /v1/status is answered 503 Service Unavailable\n`), func() { n.set(tells(troubled(3))) }},
		{regexp.MustCompile(`\n\S+ .* 3  taking pings; level 3, close pings shed, since a shard has taken nothing for 45 s\n`), stop},
	}
	if err := runOn(&command.Program{Context: ctx, Stdout: out, Stderr: io.Discard}, "--target", n.URL); err != nil || len(out.stages) > 0 {
		t.Errorf("%v; it prints %s", err, out.all.String())
	}
}

// stages is an output that does something when it has come as far as each of its stages.
type stages struct {
	all    bytes.Buffer
	stages []stage
}

type stage struct {
	seen *regexp.Regexp
	then func()
}

func (s *stages) Write(b []byte) (int, error) {
	s.all.Write(b)
	if len(s.stages) > 0 && s.stages[0].seen.Match(s.all.Bytes()) {
		s.stages[0].then()
		s.stages = s.stages[1:]
	}
	return len(b), nil
}

// --json without --once prints an answer a line, and says on stderr, once, when there is
// none.
func TestLinesOfJSON(t *testing.T) {
	n := ingest(t, tells(busy()))
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	defer stop()
	out := new(stages)
	out.stages = []stage{
		{regexp.MustCompile(`^\{"at":.*\}\n$`), func() { n.set(afterSome(3, says(503, ""), tells(busy()))) }},
		{regexp.MustCompile(`^\{"at":.*\}\n\{"at":.*\}\n$`), stop},
	}
	var errs bytes.Buffer
	if err := runOn(&command.Program{Context: ctx, Stdout: out, Stderr: &errs}, "--json", "--target", n.URL); err != nil || len(out.stages) > 0 {
		t.Errorf("%v; it prints %s", err, out.all.String())
	}
	if said := errs.String(); strings.Count(said, "\n") != 1 || !strings.HasPrefix(said, "pingline: no answer since ") {
		t.Errorf("on stderr it says %s", said)
	}
}

// afterSome answers by first a few times, and then by next.
func afterSome(times int, first, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if times--; times >= 0 {
			first(w, r)
			return
		}
		next(w, r)
	}
}

// An output that is gone ends it.
func TestOutputIsGone(t *testing.T) {
	n := ingest(t, tells(busy()))
	for _, args := range [][]string{{"--once"}, {}, {"--json"}} {
		r, w := io.Pipe()
		_ = r.Close()
		if err := runOn(&command.Program{Context: t.Context(), Stdout: w, Stderr: io.Discard}, append(args, "--target", n.URL)...); err == nil {
			t.Errorf("%v goes on", args)
		}
	}
}

func TestNumbersForPeople(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{count(1e308), "1.0e+308"}, {count(-1e308), "-1.0e+308"}, {count(999e9), "999,000,000,000"}, {percent(1e300), "1.0e+302"},
		{percent(0.251), "25.1"}, {span(1e308), "1.2e+303 d"}, {span(30 * 86400), "30 d"},
		{count(0), "0"}, {count(0.25), "0.2"}, {count(9.96), "10.0"}, {count(12.4), "12"}, {count(1234567), "1,234,567"},
		{span(0), "0 s"}, {span(0.0004), "0 s"}, {span(0.25), "250 ms"}, {span(2.34), "2.3 s"}, {span(75), "75 s"}, {span(600), "10 min"}, {span(7300), "2 h"}, {span(1e6), "12 d"},
	} {
		if tt.got != tt.want {
			t.Errorf("%q, want %q", tt.got, tt.want)
		}
	}
}
