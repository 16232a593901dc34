package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pingline"
	"pingline/internal/influxd"
	"pingline/sim"
	"pingline/sim/audit"
	"pingline/sink/influx"
	"pingline/sink/store"
)

// asProgram makes the test binary the program itself, so that tests can start
// real processes of it.
const asProgram = "PINGLINE_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

// patience bounds every wait for something that must happen; it says nothing
// about how fast.
const patience = 10 * time.Minute

// process is a running `pingline serve`.
type process struct {
	t      testing.TB
	cmd    *exec.Cmd
	url    string // of the public listener
	ops    string // of the metrics
	exited chan struct{}
	up     chan struct{} // closed once it takes pings
	err    error         // of Wait, once exited

	mu   sync.Mutex
	logs bytes.Buffer
}

// pinglineCommand returns a command that runs pingline with args.
func pinglineCommand(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	return cmd
}

// freePort returns an address that was free a moment ago, so that a process can
// come back where it was.
func freePort(t testing.TB) string {
	t.Helper()
	port, err := influxd.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

// serve starts a process on dir and waits until it takes pings.
func serve(t testing.TB, dir, influxURL string, args ...string) *process {
	t.Helper()
	p := begin(t, dir, influxURL, args...)
	p.takesPings()
	return p
}

// begin starts a process on dir.
func begin(t testing.TB, dir, influxURL string, args ...string) *process {
	t.Helper()
	p := &process{t: t, up: make(chan struct{}), exited: make(chan struct{})}
	p.cmd = pinglineCommand(append([]string{
		"serve", "--data-dir=" + dir, "--influx-host=" + influxURL, "--log-format=json",
		"--listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0",
	}, args...)...)
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.read(stderr)
		p.err = p.cmd.Wait()
		close(p.exited)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("process %d said:\n%s", p.cmd.Process.Pid, p.said())
		}
	})
	return p
}

// takesPings waits until the process takes pings.
func (p *process) takesPings() {
	p.t.Helper()
	select {
	case <-p.up:
	case <-p.exited:
		p.t.Fatalf("the process ended at once: %v", p.err)
	case <-time.After(patience):
		p.t.Fatal("the process does not take pings")
	}
}

// read keeps what the process logs, and closes up once it takes pings.
func (p *process) read(stderr io.Reader) {
	lines := bufio.NewScanner(stderr)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		p.mu.Lock()
		p.logs.Write(append(lines.Bytes(), '\n'))
		p.mu.Unlock()
		var line struct{ Msg, URL, Ops string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "taking pings" {
			p.url, p.ops = strings.TrimSuffix(line.URL, "/v1/pings"), line.Ops
			close(p.up)
		}
	}
}

func (p *process) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.logs.String()
}

// kill ends the process as power loss would.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.exited
}

// terminate asks the process to end and returns its exit status.
func (p *process) terminate() int {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	select {
	case <-p.exited:
	case <-time.After(patience):
		p.t.Fatal("the process does not end on SIGTERM")
	}
	return p.cmd.ProcessState.ExitCode()
}

// rss returns the memory the process has in use, in MiB.
func (p *process) rss() int {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0 // it has just ended
	}
	m := regexp.MustCompile(`VmRSS:\s+(\d+) kB`).FindSubmatch(status)
	if m == nil {
		return 0
	}
	kb, err := strconv.Atoi(string(m[1]))
	if err != nil {
		p.t.Error(err)
	}
	return kb >> 10
}

// metric returns the value of a metric, labels included in its name.
func (p *process) metric(name string) (float64, error) {
	values, err := p.metrics(name + " ")
	if err == nil && len(values) != 1 {
		err = fmt.Errorf("%d metrics %s", len(values), name)
	}
	if err != nil {
		return 0, err
	}
	return values[0], nil
}

// metrics returns the values of all metrics whose names begin with prefix.
func (p *process) metrics(prefix string) (values []float64, err error) {
	text, err := p.scrape()
	if err != nil {
		return nil, err
	}
	return valuesOf(text, prefix)
}

// valuesOf is metrics of a text.
func valuesOf(text, prefix string) (values []float64, err error) {
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, prefix) {
			continue
		}
		line = strings.TrimSpace(line)
		v, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("metric %q: %w", line, err)
		}
		values = append(values, v)
	}
	return values, nil
}

// scrape returns all metrics as text.
func (p *process) scrape() (string, error) {
	resp, err := http.Get(p.ops)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return string(text), err
}

// readyz returns the status and body of /readyz.
func (p *process) readyz() (status int, body string) {
	p.t.Helper()
	resp, err := http.Get(p.url + "/readyz")
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// eventually waits until done holds.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	for limit := time.Now().Add(patience); !done(); {
		if time.Now().After(limit) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// settled waits until every lane is at the end of the log, and checks that then
// nothing is queued and the accounts add up. Lines about what was taken in follow
// it for a while: theirs add up between two of them.
func (p *process) settled() {
	p.t.Helper()
	gap := func(equation string) (float64, error) {
		return p.metric(`pingline_conservation_gap{equation="` + equation + `"}`)
	}
	eventually(p.t, "every lane is at the end of the log", func() bool {
		behind, err := p.metrics("pingline_queue_commits{")
		lines, lerr := gap("lines")
		return err == nil && lerr == nil && len(behind) >= 4 && slices.Max(behind) == 0 && lines == 0
	})
	if n, err := p.metric("pingline_queued_pings"); err != nil || n != 0 {
		p.t.Errorf("%v pings are queued (%v), though every lane is at the end", n, err)
	}
	for _, equation := range []string{"verdicts", "held", "stored"} {
		if n, err := gap(equation); err != nil || n != 0 {
			p.t.Errorf("equation %s lacks %v (%v)", equation, n, err)
		}
	}
}

// traffic is a city that sends until stopped.
type traffic struct {
	t      testing.TB
	load   *sim.Load
	ledger *audit.Ledger
	cancel context.CancelFunc
	done   chan error
}

// drive starts a city that sends rate pings a second to url. In the time a test
// has, each phone sends a few, and nearly all of them are stored.
func drive(t testing.TB, url string, rate float64) *traffic {
	t.Helper()
	return driveCity(t, url, rate, sim.CityConfig{Seed: 7, Riders: 5000})
}

// driveOften is drive with few phones that send ten pings a second, of which
// nearly all are held and dropped.
func driveOften(t testing.TB, url string, rate float64) *traffic {
	t.Helper()
	return driveCity(t, url, rate, sim.CityConfig{Seed: 7, Riders: 500, Interval: 100 * time.Millisecond})
}

func driveCity(t testing.TB, url string, rate float64, cfg sim.CityConfig) *traffic {
	t.Helper()
	return driveLoad(t, cfg, sim.LoadConfig{URL: url, Rate: rate})
}

// driveLoad starts a city as cfg says, in requests of 50 pings, and a ledger.
func driveLoad(t testing.TB, cfg sim.CityConfig, load sim.LoadConfig) *traffic {
	t.Helper()
	city, err := sim.NewCity(cfg)
	if err != nil {
		t.Fatal(err)
	}
	tr := &traffic{t: t, ledger: audit.NewLedger(), done: make(chan error, 1)}
	load.Phones, load.Batch, load.Ledger, load.Grace = city, 50, audit.Tee(tr.ledger, load.Ledger), patience
	tr.load, err = sim.NewLoad(load)
	if err != nil {
		t.Fatal(err)
	}
	var ctx context.Context
	ctx, tr.cancel = context.WithCancel(context.Background())
	go func() { tr.done <- tr.load.Run(ctx) }()
	t.Cleanup(tr.cancel)
	return tr
}

// answered returns how many pings have been answered for.
func (tr *traffic) answered() uint64 {
	c := tr.load.Counters()
	return c.Accepted + c.Held + c.Redundant + c.Duplicate + c.Shed + c.Rejected
}

// more waits until n more pings have been answered for.
func (tr *traffic) more(n uint64) {
	tr.t.Helper()
	goal := tr.answered() + n
	eventually(tr.t, "pings are answered", func() bool { return tr.answered() >= goal })
}

func (tr *traffic) stop() {
	tr.t.Helper()
	tr.cancel()
	select {
	case err := <-tr.done:
		if err != nil {
			tr.t.Fatalf("the load failed: %v", err)
		}
	case <-time.After(2 * patience):
		tr.t.Fatal("the load does not end")
	}
}

// audit compares what was acknowledged with what InfluxDB holds.
func (tr *traffic) audit(influxURL string) audit.Report {
	tr.t.Helper()
	return tr.auditIn(influx.Config{URL: influxURL, Bucket: "pingline"})
}

func (tr *traffic) auditIn(buckets ...influx.Config) audit.Report {
	tr.t.Helper()
	report, err := audit.Check(context.Background(), tr.ledger, func(ctx context.Context, q store.Query, each func(*pingline.Entry, int64) error) error {
		for _, bucket := range buckets {
			bucket.Timeout = time.Minute
			b, err := influx.New(bucket)
			if err == nil {
				err = b.Points(ctx, q, each)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		tr.t.Fatal(err)
	}
	if err := report.Err(); err != nil {
		tr.t.Error(err)
	}
	if report.Others != 0 {
		tr.t.Errorf("%d points are of tracks that nobody sent", report.Others)
	}
	if report.Accepted == 0 {
		tr.t.Error("nothing was accepted: the audit shows nothing")
	}
	text, err := json.Marshal(report)
	if err != nil {
		tr.t.Fatal(err)
	}
	tr.t.Logf("audit: %s", text)
	return report
}

// exits runs pingline with args to its end.
func exits(t testing.TB, args ...string) (status int, stderr string) {
	t.Helper()
	cmd := pinglineCommand(args...)
	var out bytes.Buffer
	cmd.Stderr = &out
	err := cmd.Run()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String()
}

func startInflux(t testing.TB) *influxd.Server {
	t.Helper()
	return startInfluxWith(t, influxd.Config{Version: 1})
}

func startInfluxWith(t testing.TB, cfg influxd.Config) *influxd.Server {
	t.Helper()
	return influxd.Run(t, cfg)
}

// long leaves a test out of a short run, as under the race detector: what it runs has shorter tests of its own.
func long(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes a minute, and more under the race detector")
	}
}

// beside has a test that mostly waits run beside another, but under the race detector: there it waits for
// its own processor.
func beside(t *testing.T) {
	t.Helper()
	if !underRace {
		t.Parallel()
	}
}
