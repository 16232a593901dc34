package audit_test

import (
	"context"
	"os"
	"regexp"
	"strconv"
	"testing"
	"time"

	"pingline"
	"pingline/sim/audit"
	"pingline/sink/store"
)

// columns are riders who drive side by side, a ping every 5 s of each; every third is
// stored, and those between are on the line. What there is of them is made when it is
// asked for.
type columns struct{ riders, pings int }

func (c columns) ping(names []string, rider, n int) pingline.Ping {
	p := straight(5 * n)
	p.Rider = names[rider]
	p.LatE7 += int32(rider) * 100
	p.At += int64(rider) % 5000
	p.SetOptional(pingline.HasHeading, float64(rider%360))
	p.SetOptional(pingline.HasBattery, float64(n%100)/100)
	return p
}

func (c columns) names() []string {
	names := make([]string, c.riders)
	for i := range names {
		names[i] = "r-" + strconv.Itoa(i)
	}
	return names
}

func (c columns) record(to audit.Recorder) {
	names := c.names()
	pings, verdicts := make([]pingline.Ping, 0, 100), make([]pingline.Verdict, 0, 100)
	for n := range c.pings / c.riders {
		for rider := range c.riders {
			v := pingline.Redundant
			if c.stores(n) {
				v = pingline.Accepted
			}
			pings, verdicts = append(pings, c.ping(names, rider, n)), append(verdicts, v)
			if len(pings) == cap(pings) {
				to.Record(pings, verdicts, 10, 50)
				pings, verdicts = pings[:0], verdicts[:0]
			}
		}
	}
	to.Record(pings, verdicts, 10, 50)
}

func (c columns) stores(n int) bool { return n%3 == 0 || n == c.pings/c.riders-1 }

func (c columns) points(ctx context.Context, q store.Query, each func(*pingline.Entry, int64) error) error {
	names := c.names()
	for rider := range c.riders {
		for n := range c.pings / c.riders {
			e := stored(c.ping(names, rider, n))
			if !c.stores(n) || e.At < q.From || e.At >= q.To {
				continue
			}
			if err := each(&e, 0); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

// Millions of pings are audited in minutes and in bounded memory: PINGLINE_TEST_AUDIT_PINGS
// says how many, as make sim-audit does.
func TestAuditOfMillions(t *testing.T) {
	pings, limit := 200_000, time.Duration(0)
	if text := os.Getenv("PINGLINE_TEST_AUDIT_PINGS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		pings, limit = n, 5*time.Minute
	}
	c := columns{riders: min(20_000, pings/50), pings: pings}
	l, path := createAckLog(t)
	began := time.Now()
	c.record(l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	wrote := time.Since(began)
	began = time.Now()
	progress := 0
	report, err := audit.Config{Dir: t.TempDir(), Progress: func(audit.Reached) { progress++ }}.Check(t.Context(), audit.AckFiles{path}, c.points)
	if err != nil || report.Err() != nil || report.Checked != uint64(pings) || report.Stored < uint64(pings)/4 || progress == 0 {
		t.Fatalf("%+v, %v", report, err)
	}
	took := time.Since(began)
	t.Logf("%d pings of %d riders: ack log of %.1f B a ping, made in %v; audited against %d points in %v; peak of this process %d MiB",
		pings, c.riders, float64(info.Size())/float64(pings), wrote.Round(time.Millisecond), report.Stored, took.Round(time.Millisecond), peak(t))
	if limit > 0 && (took > limit || peak(t) > 1<<10) {
		t.Errorf("took %v and %d MiB", took, peak(t))
	}
}

// peak returns the most memory that the process had, MiB; 0 if that is not told here.
func peak(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	m := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(text)
	if m == nil {
		return 0
	}
	kB, err := strconv.Atoi(string(m[1]))
	if err != nil {
		t.Fatal(err)
	}
	return kB / 1024
}
