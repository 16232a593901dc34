package main

import (
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"pingline/internal/influxd"
	"pingline/sim/audit"
)

// With -chaos the runs under overload are as long as they are promised to hold,
// and TestChaos runs for so long.
var (
	chaos     = flag.Duration("chaos", 0, "how long the random schedule of faults runs; overload then lasts a minute")
	chaosSeed = flag.Uint64("chaos-seed", 0, "of the schedule; 0 takes one from the clock")
)

// watch notes memory and level until told to stop.
type watch struct {
	p       *process
	stop    chan struct{}
	stopped chan struct{}
	most    int // MiB in use
	levels  []string
}

func (p *process) watch() *watch {
	w := &watch{p: p, stop: make(chan struct{}), stopped: make(chan struct{})}
	began := time.Now()
	last := -1
	look := func() {
		w.most = max(w.most, p.rss())
		if level, err := p.metric("pingline_shed_level"); err == nil && int(level) != last {
			last = int(level)
			w.levels = append(w.levels, fmt.Sprintf("%d at %.1f s", last, time.Since(began).Seconds()))
		}
	}
	go func() {
		defer close(w.stopped)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			look()
			select {
			case <-w.stop:
				look()
				return
			case <-tick.C:
			}
		}
	}()
	return w
}

func (w *watch) end() {
	close(w.stop)
	<-w.stopped
}

// More is offered than InfluxDB takes, or it takes nothing: memory stays small,
// every answer is one a phone understands, an SOS is always taken, what was
// accepted is stored, and when it is over nothing is given up any more.
func TestOverload(t *testing.T) {
	points, rate, lasts, size, hold := 2000.0/fewer, 50_000/fewer, 4*time.Second, max(6<<20/fewer, 4<<20), time.Second
	if *chaos > 0 {
		points, rate, lasts, size, hold = 10_000, 50_000, 45*time.Second, 64<<20, 30*time.Second // a minute with the rise
	}
	for _, tt := range []struct {
		name   string
		points float64 // a second that InfluxDB takes
		freeze bool
	}{
		{"InfluxDB takes less than is offered", points, false},
		{"InfluxDB is frozen", 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			influx := startInflux(t)
			proxy := newThrottle(t, influx.URL(), tt.points)
			dir := t.TempDir()
			p := serve(t, dir, proxy.URL, "--max-error=0", fmt.Sprintf("--queue-max-bytes=%d", size), "--shed-hold="+hold.String())
			if tt.freeze {
				if err := influx.Pause(); err != nil {
					t.Fatal(err)
				}
			}
			w := p.watch()
			ledger := audit.NewLedger()
			began := time.Now()
			c := startCrowd(t, p.url, rate, ledger)
			sos := c.startRescue(false)
			eventually(t, "much is given up", func() bool {
				level, err := p.metric("pingline_shed_level")
				return err == nil && level >= 3
			})
			notes := p.overloadedFor(lasts)
			c.end()
			c.report(time.Since(began), false)
			t.Logf("%d SOS", sos.sent.Load())
			t.Logf("notes: %s", notes)
			proxy.limit(0)
			if tt.freeze {
				if err := influx.Continue(); err != nil {
					t.Fatal(err)
				}
			}
			p.settled()
			eventually(t, "nothing is given up any more", func() bool {
				level, err := p.metric("pingline_shed_level")
				return err == nil && level == 0
			})
			w.end()
			t.Logf("levels: %s", strings.Join(w.levels, ", "))
			t.Logf("most memory in use: %d MiB", w.most)
			if w.most > 300 && !underRace {
				t.Errorf("memory rose to %d MiB, want at most 300", w.most)
			}
			if !strings.Contains(notes, "InfluxDB takes") || !strings.Contains(notes, "level") {
				t.Errorf("under overload the notes say %q", notes)
			}
			auditCrowd(t, p, dir, influx, ledger)
		})
	}
}

// overloadedFor waits, and returns what /readyz said last with a level above 0.
func (p *process) overloadedFor(d time.Duration) (notes string) {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if _, body := p.readyz(); !strings.Contains(body, `"level":0`) {
			notes = body
		}
	}
	return notes
}

// auditCrowd stops p and holds InfluxDB against the ledger.
func auditCrowd(t *testing.T, p *process, dir string, influx *influxd.Server, ledger *audit.Ledger) {
	t.Helper()
	tr := &traffic{t: t, ledger: ledger}
	restartAndAudit(t, p, tr, dir, influx.URL())
}
