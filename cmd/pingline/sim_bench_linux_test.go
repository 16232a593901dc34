package main

import (
	"encoding/json"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BenchmarkSim drives an ingester with a real InfluxDB behind it by pingline sim run, and
// tells the CPU time of both for each ping. Making, encoding and sending a ping costs
// less than taking it in: else the load would measure itself.
func BenchmarkSim(b *testing.B) {
	influx := startInflux(b)
	p := serve(b, b.TempDir(), influx.URL(), "--new-riders-rate=0")
	var pings uint64
	var load, ingester time.Duration
	for b.Loop() {
		before := p.cpu()
		cmd := pinglineCommand("sim", "run", "--target="+p.url, "--rate=40000", "--riders=40000", "--interval=1s", "--for=5s", "--json")
		out, err := cmd.Output()
		if err != nil {
			b.Fatalf("sim run: %v: %s", err, out)
		}
		var r simRun
		if err := json.Unmarshal(out, &r); err != nil {
			b.Fatal(err)
		}
		pings += r.Answered
		load += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		ingester += p.cpu() - before
	}
	of := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / float64(pings) / 1000 }
	b.ReportMetric(of(load), "load-µs/ping")
	b.ReportMetric(of(ingester), "ingester-µs/ping")
	b.ReportMetric(float64(pings)/b.Elapsed().Seconds(), "pings/s")
	if load >= ingester {
		b.Errorf("the load takes %.2f µs a ping, the ingester that it drives %.2f", of(load), of(ingester))
	}
}

// cpu returns the CPU time that the process has taken.
func (p *process) cpu() time.Duration {
	p.t.Helper()
	// The clock of another process: ~pid << 3 | CPUCLOCK_SCHED (clock_getcpuclockid).
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^p.cmd.Process.Pid<<3|2), &ts); err != nil {
		p.t.Fatal(err)
	}
	return time.Duration(ts.Nano())
}
