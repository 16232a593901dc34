package simulate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"pingline/internal/command"
	"pingline/sim"
	"pingline/sim/audit"
	"pingline/sim/chaos"
)

// runChaos parses the arguments of pingline chaos and runs the command.
func runChaos(t *testing.T, args ...string) error {
	t.Helper()
	var cli struct {
		Chaos ChaosCmd `cmd:""`
	}
	parser, err := kong.New(&cli)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := parser.Parse(append([]string{"chaos"}, args...))
	if err != nil {
		return err
	}
	return parsed.Run(program(t))
}

func TestChaosRefuses(t *testing.T) {
	t.Parallel()
	hook := filepath.Join(t.TempDir(), "hook.sh")
	if err := os.WriteFile(hook, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	away := server(t, func(w http.ResponseWriter, _ *http.Request) bool {
		http.Error(w, "the log is full", http.StatusServiceUnavailable)
		return true
	})
	for _, tt := range []struct{ flag, want string }{
		{"--for=4s", "--for: 4s is not in [5s, 366d]"},
		{"--for=0s", "--for: 0s is not in"},
		{"--for=-1s", "--for: -1s is not in"},
		{"--fault-limit=0s", "--fault-limit: 0s is not in [1s, 1h]"},
		{"--fault-limit=2h", "--fault-limit: 2h0m0s is not in"},
		{"--recovery=0s", "--recovery: 0s is not in [1s, 1h]"},
		{"--faults-of=kill,explode", `--faults-of: "explode" is not one of all, kill, freeze, kill-store, freeze-store, fill, cut`},
		{"--faults-of=kill,kill", "--faults-of: kill is given twice"},
		{"--rate=0", "--rate: 0 is not in"},
		{"--settle=-1s", "--settle: -1s is not in"},
		{"--target=here", `--target: "here" is not a URL`},
		{"--hook=/nowhere/hook", "--hook: "},
		{"--hook=" + filepath.Dir(hook), "--hook: "},
		{"--hook=", "--hook: there is no terminal to ask at, and no script is named"},
		{"--target=http://127.0.0.1:1", "--target: "},
		{"--target=" + away, "--target: GET /readyz: 503 Service Unavailable the log is full"},
		{"--influx-host=here", "--influx-host: "},
		{"--html=/nowhere/x", "--html: open /nowhere/x"},
		{"--temp-dir=/nowhere", "--temp-dir: "},
		{"--ack-log=/nowhere/x", "--ack-log: ack log: open /nowhere/x"},
	} {
		if err := runChaos(t, "--target="+server(t, nil), "--hook="+hook, tt.flag); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.flag, err, tt.want)
		}
	}
}

// second is one of a load, so many seconds after its start.
func second(start time.Time, at int, p50 time.Duration, requests, refused, unanswered uint64) sim.Moment {
	return sim.Moment{
		At: start.Add(time.Duration(at) * time.Second), Requests: requests, Refused: refused, Unanswered: unanswered,
		Latency: sim.Latency{P50: p50, P99: 2 * p50},
	}
}

// A load sees a failure from its begin until most requests are answered in time again.
func TestChaosTellsFailures(t *testing.T) {
	start := time.UnixMilli(1_760_000_000_000)
	at := func(s float64) time.Time { return start.Add(time.Duration(s * float64(time.Second))) }
	const fast, slow = 5 * time.Millisecond, 3 * time.Second
	r := chaosResult{results: []chaos.StepResult{
		{FailureStep: chaos.FailureStep{Fault: chaos.Kill}, Began: at(1.5), Ended: at(3.5), Ready: at(3.7)},
		{FailureStep: chaos.FailureStep{At: 6 * time.Second, Fault: chaos.Fill}, Skipped: "not available"},
		{FailureStep: chaos.FailureStep{Fault: chaos.FreezeStore}, Began: at(6.1), Ended: at(6.4), Ready: at(6.5)},
		{FailureStep: chaos.FailureStep{Fault: chaos.Freeze}, Began: at(7), Ended: at(7.5)},
	}}
	r.tellFaults(start, []sim.Moment{
		second(start, 0, fast, 10, 7, 0), second(start, 1, fast, 10, 0, 4), second(start, 2, 0, 8, 0, 8), second(start, 3, fast, 10, 1, 6),
		second(start, 4, slow, 10, 2, 0), second(start, 5, fast, 10, 0, 0), second(start, 6, fast, 10, 0, 0), second(start, 7, 0, 0, 0, 0),
	})
	text, err := json.Marshal(r.Faults)
	want := `[{"fault":"kill","at_s":1.5,"lasted_s":2,"refused":3,"unanswered":18,"p99_ms":6000,"recovered_s":1.5},` +
		`{"fault":"fill","at_s":6,"lasted_s":0,"skipped":"not available","refused":0,"unanswered":0,"p99_ms":0,"recovered_s":null},` +
		`{"fault":"freeze-store","at_s":6.1,"lasted_s":0.3,"refused":0,"unanswered":0,"p99_ms":10,"recovered_s":0.1},` +
		`{"fault":"freeze","at_s":7,"lasted_s":0.5,"refused":0,"unanswered":0,"p99_ms":0,"recovered_s":null}]`
	if err != nil || string(text) != want {
		t.Errorf("told %s, %v\nwant %s", text, err, want)
	}
	r.Load, r.steps = &summary{}, 6
	r.judge()
	var out bytes.Buffer
	if err := r.print(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"    at  failure       lasted  refused unanswered      p99 recovered\n",
		"\n  0:01  kill              2s        3         18       6s      1.5s\n",
		"\n  0:07  freeze         500ms        0          0        –  not seen\n",
		"\nfill was skipped: not available\n", "\n2 failures of the schedule had no time\n", "\nverdict: 3 failures, and each answer was true",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, &out)
		}
	}
	if notes := r.notes(); len(notes) != 5 || notes[0] != "0:01: the ingester is killed for 2s; 3 requests refused, 18 without an answer, p99 6s; recovered after: 1.5s" {
		t.Errorf("the notes are %q", notes)
	}
}

// Each thing that is not as it should be is said, and is an error.
func TestChaosJudges(t *testing.T) {
	done := []chaosFault{{Fault: "kill"}}
	for _, tt := range []struct {
		name string
		r    chaosResult
		want string
	}{
		{"all is well", chaosResult{Faults: done, Load: &summary{Sent: 9, Answered: 9}}, ""},
		{"a proxy says that nobody is there", chaosResult{Faults: done, Load: &summary{Statuses: map[int]uint64{502: 3, 503: 1, 504: 1}}}, ""},
		{"stopped before the first", chaosResult{Load: &summary{Interrupted: true}}, ""},
		{"none could be had", chaosResult{Faults: []chaosFault{{Skipped: "no"}}, Load: &summary{}}, "no failure was brought about"},
		{"no answer", chaosResult{Faults: done, Load: &summary{Unanswered: 3}}, "3 pings without an answer"},
		{"a wrong status", chaosResult{Faults: done, Load: &summary{Statuses: map[int]uint64{500: 2}}}, "2 requests were answered 500"},
		{"a ping is lost", chaosResult{Faults: done, Load: &summary{}, Audit: &auditResult{Report: audit.Report{Sent: 5, Lost: 1}}}, "1 lost"},
		{"no audit", chaosResult{Faults: done, Load: &summary{}, audited: errors.New("there is no audit")}, "there is no audit"},
		{"a failure stays", chaosResult{Faults: done, Load: &summary{}, recovery: errors.New("kill: broken")}, "kill: broken"},
		{"the load ended", chaosResult{Faults: done, Load: &summary{}, loaded: errors.New("answered 404")}, "answered 404"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.r.judge()
			err := tt.r.Err()
			if tt.want == "" && (err != nil || len(tt.r.Violations) > 0 || strings.Contains(tt.r.Verdict, "not all is well")) {
				t.Errorf("%v, %q", err, tt.r.Verdict)
			}
			if tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(tt.r.Verdict, tt.want)) {
				t.Errorf("%v, %q, want %q", err, tt.r.Verdict, tt.want)
			}
		})
	}
}

// While a person is asked, no second of the load scrolls the question away.
func TestChaosIsQuietWhileItAsks(t *testing.T) {
	read, write := io.Pipe()
	defer write.Close()
	asked := make(chan string, 1)
	p := &command.Program{Context: t.Context(), Stdin: read, Stdout: io.Discard, Stderr: writerFunc(func(b []byte) { asked <- string(b) })}
	d := &trial{Program: p}
	hushed := func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.hush
	}
	injector := new(ChaosCmd).injector(d)
	for _, do := range []func(context.Context, chaos.Failure) error{injector.Begin, injector.End} {
		done := make(chan error)
		go func() { done <- do(t.Context(), chaos.Fill) }()
		if q := <-asked; !strings.Contains(q, "press Enter") || !hushed() {
			t.Errorf("asked %q, and is quiet: %v", q, hushed())
		}
		if _, err := io.WriteString(write, "\n"); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil || hushed() {
			t.Errorf("%v, and is quiet: %v", err, hushed())
		}
	}
}

type writerFunc func([]byte)

func (f writerFunc) Write(b []byte) (int, error) {
	f(b)
	return len(b), nil
}
