package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"pingline"
	"pingline/internal/influxd"
	"pingline/sim/audit"
	"pingline/sink/influx"
	"pingline/sink/influx/influxtest"
	"pingline/sink/store"
)

var simFaults = flag.Duration("sim-faults", 6*time.Second, "how long every fault of phones goes on at once in TestSimFaults")

// simRun is what a test reads of pingline sim run --json.
type simRun struct {
	Sent, Answered, Unanswered, Refused, Skipped, Accepted, Duplicate, Rejected uint64

	Statuses map[int]uint64
	Faults   map[string]uint64
	P50      float64 `json:"p50_ms"`
	P99      float64 `json:"p99_ms"`
	P999     float64 `json:"p999_ms"`
}

// simulation is pingline sim run as a process of its own.
type simulation struct {
	t    *testing.T
	cmd  *exec.Cmd
	out  bytes.Buffer
	errs bytes.Buffer
	acks string
}

// startSim starts pingline sim run against url, with an ack log.
func startSim(t *testing.T, url string, args ...string) *simulation {
	t.Helper()
	s := &simulation{t: t, acks: filepath.Join(t.TempDir(), "run.acks")}
	s.cmd = pinglineCommand(append([]string{"sim", "run", "--target=" + url, "--ack-log=" + s.acks, "--json", "--grace=2m"}, args...)...)
	s.cmd.Stdout, s.cmd.Stderr = &s.out, &s.errs
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.cmd.Process.Kill() })
	return s
}

// wait returns what the run printed once it has ended well.
func (s *simulation) wait() (r simRun) {
	s.t.Helper()
	if err := s.cmd.Wait(); err != nil {
		s.t.Fatalf("sim run: %v: %s%s", err, &s.errs, &s.out)
	}
	s.t.Logf("sim run: %s", strings.TrimSpace(s.out.String()))
	if err := json.Unmarshal(s.out.Bytes(), &r); err != nil {
		s.t.Fatal(err)
	}
	if r.Answered != r.Sent || r.Unanswered+r.Refused+r.Skipped > 0 {
		s.t.Errorf("not every ping was answered: %+v", r)
	}
	return r
}

// audit stops p, which stores what is held, has another process bring all of it to
// InfluxDB, and holds the ack log against what the buckets have. It returns the number
// of points in each.
func (s *simulation) audit(p *process, dir, influxURL string, flags []string, buckets ...influx.Config) []int {
	s.t.Helper()
	if status := p.terminate(); status != exitOK {
		s.t.Errorf("exit status %d after SIGTERM", status)
	}
	serve(s.t, dir, influxURL, flags...).settled()
	points := make([]int, len(buckets))
	report, err := audit.Check(context.Background(), audit.AckFiles{s.acks}, func(ctx context.Context, q store.Query, each func(*pingline.Entry, int64) error) error {
		for i, bucket := range buckets {
			bucket.Timeout = time.Minute
			b, err := influx.New(bucket)
			if err == nil {
				err = b.Points(ctx, q, func(e *pingline.Entry, at int64) error {
					points[i]++
					return each(e, at)
				})
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err = errors.Join(err, report.Err()); err != nil {
		s.t.Error(err)
	}
	text, err := json.Marshal(report)
	if err != nil || report.Stored == 0 || report.Others > 0 {
		s.t.Errorf("an audit of nothing, or of others' points: %v", err)
	}
	s.t.Logf("audit: %s; points of each bucket: %v", text, points)
	return points
}

// The ingester stands still for 5 s: the open loop holds its rate, and its p99.9
// shows the stall.
func TestSimHoldsItsRateThroughAStall(t *testing.T) {
	t.Parallel() // it mostly waits
	influx, dir := startInflux(t), t.TempDir()
	p := serve(t, dir, influx.URL())
	s := startSim(t, p.url, "--rate=2000", "--riders=4000", "--interval=2s", "--batch=50", "--connections=16", "--for=9s")
	eventually(t, "pings come", func() bool {
		n, err := p.metric(`pingline_pings_total{verdict="accepted"}`)
		return err == nil && n > 2000
	})
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	time.Sleep(5 * time.Second) // the stall
	if err := p.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	r := s.wait()
	if r.Sent != 2000*9 {
		t.Errorf("%d pings sent, of 18,000 that were due", r.Sent)
	}
	// More than half of the requests was due in the stall.
	if r.P999 < 4500 || r.P99 < 4000 || r.P50 > r.P999-1000 {
		t.Errorf("a stall of 5 s is seen as p50 %g ms, p99 %g ms, p99.9 %g ms", r.P50, r.P99, r.P999)
	}
	s.audit(p, dir, influx.URL(), nil, influxtest.Access(influx, "pingline"))
}

// A generator is killed in the middle of a run, and the last line of its ack log is torn:
// the audit uses all before it, says so, and calls nothing lost that was stored.
func TestAuditOfAKilledRun(t *testing.T) {
	t.Parallel() // it mostly waits
	influx, dir := startInflux(t), t.TempDir()
	p := serve(t, dir, influx.URL())
	s := startSim(t, p.url, "--rate=1000", "--riders=1000", "--interval=1s", "--batch=50", "--for=5m")
	// The log is written once a second: a few blocks, and more that is not there yet.
	eventually(t, "the ack log has blocks", func() bool {
		sum, err := audit.ReadAckFile(s.acks, func(*audit.Acked) error { return nil })
		return err == nil && sum.Pings > 2500
	})
	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = s.cmd.Wait() // it was killed
	whole, err := os.ReadFile(s.acks)
	if err != nil {
		t.Fatal(err)
	}
	tell := func() (n uint64, torn int64) {
		t.Helper()
		sum, err := audit.ReadAckFile(s.acks, func(*audit.Acked) error { return nil })
		if err != nil || sum.Ended {
			t.Fatalf("%+v, %v", sum, err)
		}
		return sum.Pings, sum.Torn
	}
	all, _ := tell()
	if status := p.terminate(); status != exitOK {
		t.Errorf("exit status %d after SIGTERM", status)
	}
	serve(t, dir, influx.URL()).settled()
	// The end is torn by a byte, by half of a block, and by what a disk had before.
	for _, tear := range []struct {
		name string
		log  []byte
	}{
		{"as it was", whole},
		{"a byte is missing", whole[:len(whole)-1]},
		{"a kilobyte is missing", whole[:len(whole)-1000]},
		{"zeros follow", append(slices.Clip(whole[:len(whole)-100]), make([]byte, 4096)...)},
	} {
		t.Run(tear.name, func(t *testing.T) {
			if err := os.WriteFile(s.acks, tear.log, 0o600); err != nil {
				t.Fatal(err)
			}
			known, torn := tell()
			var r struct {
				Checked, Stored, Lost, Wrong, Foreign, Broken uint64

				Torn       int64
				OutOfBound uint64 `json:"out_of_bound"`
				Notes      []string
			}
			out, err := pinglineCommand("sim", "audit", "--ack-log="+s.acks, "--influx-host="+influx.URL(), "--settle=0s", "--json").Output()
			if err := errors.Join(err, json.Unmarshal(out, &r)); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			t.Logf("%d of %d pings are known: %s", known, all, out)
			if r.Checked != known || known == 0 || r.Stored == 0 || r.Lost+r.Wrong+r.Foreign+r.OutOfBound > 0 || r.Broken != 1 || r.Torn != torn {
				t.Errorf("%s", out)
			}
			notes := strings.Join(r.Notes, "\n")
			if !strings.Contains(notes, "1 ack log without an end") || strings.Contains(notes, "the log is torn there") != (torn > 0) {
				t.Errorf("the notes are %q of a log with %d bytes torn", r.Notes, torn)
			}
			if tear.name != "as it was" && (torn == 0 || known >= all) {
				t.Errorf("%d of %d pings are known, and %d bytes are torn", known, all, torn)
			}
		})
	}
}

// After an outage every phone comes back at once with a backlog.
func TestSimStorm(t *testing.T) {
	t.Parallel() // it mostly waits
	influx := startInflux(t)
	dir, addr := t.TempDir(), freePort(t)
	out, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	s := startSim(t, "http://"+addr, "--profile=storm", "--storm-backlog=5m", "--storm-within=2s", "--riders=1000", "--interval=5s",
		"--batch=like-phones", "--format=gzip", "--for=6s")
	for range 20 { // requests that nobody answers
		conn, err := out.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	p := serve(t, dir, influx.URL(), "--listen="+addr) // the outage is over
	if r := s.wait(); r.Sent < 1000*60 || r.Statuses[0] == 0 {
		t.Errorf("%+v", r)
	}
	s.audit(p, dir, influx.URL(), nil, influxtest.Access(influx, "pingline"))
}

// A stadium empties: a hot cell, which is split over four shards.
func TestSimConcertOnFourShards(t *testing.T) {
	t.Parallel() // it mostly waits
	var flags []string
	var buckets []influx.Config
	for _, name := range []string{"a", "b", "c", "d"} {
		db := startInfluxWith(t, influxd.Config{Version: 1})
		flags = append(flags, fmt.Sprintf("--shard=name=%s,url=%s", name, db.URL()))
		buckets = append(buckets, influxtest.Access(db, "pingline"))
	}
	flags = append(flags, "--hot-cell-rate=200")
	dir := t.TempDir()
	p := serve(t, dir, "", flags...)
	s := startSim(t, p.url, "--profile=concert", "--concert-share=0.8", "--riders=4000", "--interval=2s", "--for=7s")
	s.wait()
	resp, err := http.Get(p.url + "/v1/partitions")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var spread struct {
		Shards   []struct{}
		HotCells []struct{ Splits int } `json:"hot_cells"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&spread); err != nil {
		t.Fatal(err)
	}
	if len(spread.Shards) != 4 || len(spread.HotCells) == 0 || spread.HotCells[0].Splits < 2 {
		t.Errorf("partitions %+v, want four shards and a split cell", spread)
	}
	// Pings from behind the split are mostly held until the end.
	if points := s.audit(p, dir, "", flags, buckets...); slices.Contains(points, 0) {
		t.Errorf("a shard has no points: %v", points)
	}
}

// Every fault of phones at once: each ping is answered, by no status of 500 but 503,
// what is stored is what the answers say, and memory does not grow.
func TestSimFaults(t *testing.T) {
	long(t)
	t.Parallel() // it mostly waits
	db, dir := startInflux(t), t.TempDir()
	p := serve(t, dir, db.URL())
	s := startSim(t, p.url, "--faults=all=0.02", "--rate=1000", "--riders=5000", "--connections=128", "--for="+simFaults.String())
	var rss []int
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				rss = append(rss, p.rss())
			case <-done:
				return
			}
		}
	}()
	r := s.wait()
	close(done)
	<-ended
	for _, kind := range []string{"resend", "double", "reorder", "offline", "skew", "jump", "frozen", "zero", "teleport", "accuracy", "malformed", "truncated", "slow", "cut"} {
		if r.Faults[kind] == 0 {
			t.Errorf("no fault %s: %v", kind, r.Faults)
		}
	}
	if r.Statuses[400] == 0 || r.Duplicate == 0 || r.Rejected == 0 {
		t.Errorf("the faults do not show: %+v", r)
	}
	for status := range r.Statuses {
		if status >= 500 && status != http.StatusServiceUnavailable {
			t.Errorf("%d requests were answered %d", r.Statuses[status], status)
		}
	}
	if n := len(rss); *simFaults >= 5*time.Minute && n > 60 { // else it is still warming up
		var minutes []int
		for minute := range slices.Chunk(rss, 60) {
			minutes = append(minutes, median(minute))
		}
		early, late := median(rss[n/4:n/2]), median(rss[3*n/4:])
		t.Logf("memory, MiB in each minute: %v; %d in the second quarter, %d in the last", minutes, early, late)
		if late > early+early/5+20 {
			t.Errorf("memory grows: %d MiB in the second quarter, %d MiB in the last", early, late)
		}
	}
	s.audit(p, dir, db.URL(), nil, influxtest.Access(db, "pingline"))
}
