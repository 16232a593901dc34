package simulate

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"pingline/internal/command"
	"pingline/sim/audit"
)

// server accepts every ping of a request that fault lets pass.
func server(t *testing.T, fault func(w http.ResponseWriter, r *http.Request) bool) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		w.Header().Set("Pingline-Shed-Level", "1")
		if fault != nil && fault(w, r) {
			return
		}
		n := bytes.Count(body, []byte(`"rider_id"`))
		verdicts := strings.TrimSuffix(strings.Repeat(`"accepted",`, n), ",")
		fmt.Fprintf(w, `{"accepted":%d,"max_error":10,"accuracy_cap":50,"verdicts":[%s]}`, n, verdicts)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// run parses the arguments of pingline sim and runs the command.
func run(ctx context.Context, args ...string) (out string, err error) {
	var cli struct {
		Sim Commands `cmd:""`
	}
	parser, err := kong.New(&cli)
	if err != nil {
		return "", err
	}
	parsed, err := parser.Parse(append([]string{"sim"}, args...))
	if err != nil {
		return "", err
	}
	var stdout bytes.Buffer
	err = parsed.Run(&command.Program{Context: ctx, Stdout: &stdout, Stderr: io.Discard})
	return stdout.String(), err
}

func TestRunPrintsOneObject(t *testing.T) {
	t.Parallel()
	page := filepath.Join(t.TempDir(), "run.html")
	out, err := run(t.Context(), "run", "--target", server(t, nil), "--for=1s", "--rate=200", "--batch=10", "--connections=2", "--riders=50", "--html", page, "--json")
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Sent, Answered, Unanswered, Refused, Accepted uint64
		P50                                           float64 `json:"p50_ms"`
		P999                                          float64 `json:"p999_ms"`
		Shed                                          int     `json:"shed_level"`
	}
	dec := json.NewDecoder(strings.NewReader(out))
	if err := dec.Decode(&got); err != nil || dec.More() {
		t.Fatalf("printed %q: %v", out, err)
	}
	if got.Sent != 200 || got.Answered != 200 || got.Accepted != 200 || got.P50 <= 0 || got.P999 < got.P50 || got.Shed != 1 {
		t.Errorf("printed %s", out)
	}
	html, err := os.ReadFile(page)
	if err != nil || !bytes.Contains(html, []byte("--riders=50")) || !bytes.Contains(html, []byte("<svg")) {
		t.Errorf("a page of %d bytes without the command or a plot: %v", len(html), err)
	}
}

func TestRunTellsEachSecond(t *testing.T) {
	t.Parallel()
	out, err := run(t.Context(), "run", "--target", server(t, nil), "--for=4s", "--rate=100", "--batch=like-phones", "--format=zstd")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"1s: sent ", "2s: sent ", ", shedding at level 1\n", "\npings ", "\nverdicts ", "\nrequests ", "\nlatency   p50 ", "\nshedding  level 1 at most\n"} {
		if !strings.Contains("\n"+out, want) {
			t.Errorf("it does not say %q:\n%s", want, out)
		}
	}
}

// Requests that a fault cuts off have no other reason for being without an answer.
func TestRunTellsOfCuts(t *testing.T) {
	t.Parallel()
	out, err := run(t.Context(), "run", "--target", server(t, nil), "--for=1s", "--rate=200", "--batch=5", "--connections=2", "--faults=cut=0.5")
	if err != nil || !strings.Contains(out, " cut\n") || strings.Contains(out, "nil") {
		t.Errorf("%v: %s", err, out)
	}
}

// A second in which the ingester stands still is told as well.
func TestRunTellsOfAStall(t *testing.T) {
	t.Parallel()
	var stall sync.Once
	url := server(t, func(http.ResponseWriter, *http.Request) bool {
		stall.Do(func() { time.Sleep(3500 * time.Millisecond) }) // from the first request on
		return false
	})
	out, err := run(t.Context(), "run", "--target", url, "--for=3s", "--rate=100", "--connections=1")
	_, behind, sent := strings.Cut(out, ": sent 100, answered 0\n")
	if err != nil || !sent || !strings.Contains(behind, "s: sent 0, answered 0\n") {
		t.Errorf("%v: %s", err, out)
	}
}

// Pings without an answer, or refused for good, are found wrong.
func TestRunFailsWherePingsHaveNoAnswer(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		status int
		grace  string // of what is refused for good, nothing is waited for
		want   string
	}{
		{http.StatusServiceUnavailable, "1s", "pings without an answer, 0 refused"},
		{http.StatusUnsupportedMediaType, "10m", "0 pings without an answer, 100 refused"},
	} {
		url := server(t, func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(tt.status); return true })
		out, err := run(t.Context(), "run", "--target", url, "--for=1s", "--rate=100", "--batch=5", "--connections=2", "--grace="+tt.grace, "--json")
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(out, fmt.Sprintf(`"%d":`, tt.status)) {
			t.Errorf("status %d: %v, want %q; printed %s", tt.status, err, tt.want, out)
		}
	}
}

// Ctrl-C ends the run early, with the summary of what was sent.
func TestRunEndsEarly(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	var n atomic.Int64
	url := server(t, func(http.ResponseWriter, *http.Request) bool {
		if n.Add(1) == 20 {
			stop()
		}
		return false
	})
	began := time.Now()
	out, err := run(ctx, "run", "--target", url, "--for=1h", "--rate=1000", "--batch=10", "--json")
	if err != nil || !strings.Contains(out, `"interrupted":true`) || !strings.Contains(out, `"unanswered":0`) {
		t.Errorf("%v, printed %s", err, out)
	}
	if took := time.Since(began); took > time.Minute {
		t.Errorf("it ended after %v", took)
	}
}

// Each profile is one flag, and each ends with all pings answered.
func TestProfiles(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		flags       []string
		least, most uint64 // pings
	}{
		{[]string{"--profile=calm"}, 100, 100},
		{[]string{"--profile=rush", "--rush-peak=5"}, 310, 330}, // 100 · (0.9 · (1+5)/2 + 0.1 · 5)
		{[]string{"--profile=concert"}, 100, 100},
		{[]string{"--profile=storm", "--storm-backlog=20s", "--storm-within=1s"}, 2000, 2100},
	} {
		t.Run(tt.flags[0], func(t *testing.T) {
			t.Parallel()
			args := append([]string{"run", "--target", server(t, nil), "--for=1s", "--riders=100", "--interval=1s", "--batch=5", "--connections=2", "--json"}, tt.flags...)
			out, err := run(t.Context(), args...)
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			var got struct{ Sent, Answered uint64 }
			if err := json.Unmarshal([]byte(out), &got); err != nil || got.Sent < tt.least || got.Sent > tt.most || got.Answered != got.Sent {
				t.Errorf("printed %s, %v", out, err)
			}
		})
	}
	if _, err := run(t.Context(), "run", "--target=http://127.0.0.1:1", "--for=0s", "--profile=rush"); err == nil || !strings.Contains(err.Error(), "--for is 0") {
		t.Errorf("a rush without an end: %v", err)
	}
}

// Runs of two prefixes have no rider in common, nor has a run with other traffic of a
// city, such as the demo's. The ack log has the names.
func TestPrefix(t *testing.T) {
	t.Parallel()
	for flag, want := range map[string]string{"--prefix=north:": "north:r-", "--prefix=": "r-", "--seed=1": "sim-r-"} {
		file := filepath.Join(t.TempDir(), "run.acks")
		if out, err := run(t.Context(), "run", "--target", server(t, nil), "--for=1s", "--rate=100", "--batch=5", "--connections=2", flag, "--ack-log", file); err != nil {
			t.Fatalf("%s: %v: %s", flag, err, out)
		}
		n := 0
		sum, err := audit.ReadAckFile(file, func(a *audit.Acked) error {
			if n++; !strings.HasPrefix(a.Rider, want) {
				t.Errorf("%s: a rider is named %q", flag, a.Rider)
			}
			return nil
		})
		if err != nil || n != 100 {
			t.Errorf("%s: %d pings in the log, notes %+v, %v", flag, n, sum, err)
		}
		if !strings.Contains(sum.Command+" ", " --prefix="+strings.TrimSuffix(want, "r-")+" ") {
			t.Errorf("%s: the command is %q", flag, sum.Command)
		}
	}
}

func TestHeadersAreSent(t *testing.T) {
	t.Parallel()
	var wrong atomic.Int64
	url := server(t, func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("X-Key") != "a: b" {
			wrong.Add(1)
		}
		return false
	})
	if out, err := run(t.Context(), "run", "--target", url, "--for=1s", "--rate=100", "--batch=5", "--connections=2", "--header=x-key: a: b"); err != nil || wrong.Load() > 0 {
		t.Errorf("%d requests without the header, %v: %s", wrong.Load(), err, out)
	}
}

func TestRunRefuses(t *testing.T) {
	for _, tt := range []struct{ flag, want string }{
		{"--for=-1s", "--for: -1s is not in [0s, 366d]"},
		{"--rate=0", "--rate: 0 is not in [0.01, 10000000]"},
		{"--rate=-1", "--rate: -1 is not in"},
		{"--rate=1e9", "--rate: 1e+09 is not in"},
		{"--riders=0", "--riders: 0 is not in [1, 10000000]"},
		{"--riders=100000000", "--riders: 100000000 is not in"},
		{"--interval=0s", "--interval: 0s is not in [10ms, 1h]"},
		{"--batch=0", `--batch: "0" is neither like-phones nor a number of pings in [1, 1000]`},
		{"--batch=1001", `--batch: "1001" is neither`},
		{"--city=1,2,3", "--city: radius 3 is not in [1500, 100000] metres"},
		{"--city=91,2", "--city: latitude 91 is not in [-80, 80]"},
		{"--city=here", `--city: "here" is not lat,lon,radius such as`},
		{"--format=xml", `--format: "xml" is not json, ndjson, gzip or zstd`},
		{"--prefix=a b", `--prefix: "a b" is not up to 64 letters`},
		{"--profile=party", `--profile: "party" is not calm, rush, concert or storm`},
		{"--rush-peak=0", "--rush-peak: 0 is not in [1, 1000]"},
		{"--concert-share=0", "--concert-share: 0 is not in (0, 1]"},
		{"--storm-backlog=0s", "--storm-backlog: 0s is not in [1s, 1d]"},
		{"--storm-within=-1s", "--storm-within: -1s is not in [0s, 1h]"},
		{"--faults=cut", "--faults: cut=: not a share in [0, 1]"},
		{"--faults=cat=0.1", `--faults: "cat" is no fault: they are all, resend,`},
		{"--ack-log=/nowhere/x", "--ack-log: ack log: open /nowhere/x"},
		{"--connections=0", "--connections: 0 is not in [1, 10000]"},
		{"--grace=0s", "--grace: 0s is not in (0s, 1h]"},
		{"--header=x", "--header: not NAME: VALUE"},
		{"--target=ftp://x", `--target: "ftp://x" is not a URL such as`},
		{"--html=/nowhere/x", "--html: open /nowhere/x"},
	} {
		if _, err := run(t.Context(), "run", "--target=http://127.0.0.1:1", "--for=1ms", tt.flag); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.flag, err, tt.want)
		}
	}
}

// Phones with an app send as it does, and are told nothing but that a fix is delivered.
func TestRunAsAnApp(t *testing.T) {
	t.Parallel()
	var requests, wrong atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if requests.Add(1); r.URL.Path != "/v1/owntracks" || !strings.HasPrefix(r.Header.Get("X-Limit-U"), "sim-r-") {
			wrong.Add(1)
		}
		if requests.Load()%10 == 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(s.Close)
	out, err := run(t.Context(), "run", "--target", s.URL, "--protocol=owntracks", "--for=1s", "--rate=50", "--riders=100", "--connections=2", "--json")
	var got struct{ Sent, Answered, Delivered, Accepted, Retries uint64 }
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatalf("printed %q: %v", out, err)
	}
	if err != nil || got.Sent != 50 || got.Delivered != 50 || got.Answered != 50 || got.Accepted != 0 || got.Retries == 0 || wrong.Load() > 0 {
		t.Errorf("%v: printed %s; %d requests were wrong", err, out, wrong.Load())
	}
	out, err = run(t.Context(), "run", "--target", server(t, nil), "--protocol=gpslogger", "--for=1s", "--rate=20", "--riders=100")
	if err != nil || !strings.Contains(out, "verdicts  20 delivered\n") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestRunAsAnAppRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range [][2]string{
		{"--protocol=owntrack", `"owntrack" is not native, owntracks, `},
		{"--ack-log=x", "--ack-log, --protocol=overland: an app hears no verdicts: give one of the two"},
		{"--faults=resend=0.1", "--faults, --protocol=overland: an app has no faults but its own: give one of the two"},
		{"--format=gzip", "--format, --protocol=overland: an app has a form of its own: give one of the two"},
		{"--batch=like-phones", "--batch, --protocol=overland: an app has batches of its own: give one of the two"},
	} {
		if _, err := run(t.Context(), "run", "--target=http://localhost:1", "--protocol=overland", tt[0]); err == nil || !strings.Contains(err.Error(), tt[1]) {
			t.Errorf("%s: %v", tt[0], err)
		}
	}
}
