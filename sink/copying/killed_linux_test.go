package copying_test

import (
	"bufio"
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"pingline/internal/influxd"
	"pingline/sink/copying"
	"pingline/sink/influx"
	"pingline/sink/influx/influxtest"
	"pingline/sink/store"
	"pingline/sink/store/storetest"
)

// copierURL is set in the child of TestKilledInsideAUnit.
const copierURL = "PINGLINE_TEST_COPIER_URL"

// TestCopier is the child of TestKilledInsideAUnit: it copies slowly, and says each write.
func TestCopier(t *testing.T) {
	at := os.Getenv(copierURL)
	if at == "" {
		return // this is for a child
	}
	open := func(bucket string) *influx.Bucket { return influxtest.Open(t, influx.Config{URL: at, Bucket: bucket}) }
	c := resumed(t, open("pingline"), open("copy"), os.Getenv("PINGLINE_TEST_STATE"), 2000)
	plan, err := c.Plan(t.Context(), math.MinInt64, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("copier: begins")
	if err := c.Copy(t.Context(), plan); err != nil {
		t.Fatal(err)
	}
	fmt.Println("copier: done")
}

// resumed returns a Copier that goes on with a state.
func resumed(t *testing.T, from, to *influx.Bucket, state string, rate float64) *copying.Copier {
	t.Helper()
	keep, err := copying.OpenDone(state, copying.CopyJob{})
	if err == nil {
		err = keep.Begin()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = keep.Close() })
	c, err := copying.New(copying.Config{
		From: from, To: []copying.Target{{Store: told{to}}}, Whole: true, Keep: keep, Rate: rate, BatchRows: 100, Writers: 1, Refused: none(t),
		Copied: func(list []copying.Done) (int64, error) { fmt.Println("copier: units", len(list)); return 0, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// told says each write.
type told struct{ *influx.Bucket }

func (b told) Write(ctx context.Context, rows store.Rows) error {
	err := b.Bucket.Write(ctx, rows)
	fmt.Println("copier: rows", rows.N)
	return err
}

// A copier that is killed by SIGKILL again and again, each time after a few writes and so inside
// a unit, ends with the same rows, none twice.
func TestKilledInsideAUnit(t *testing.T) {
	db := influxd.Run(t, influxd.Config{Version: 1})
	influxtest.CreateBucket(t, db, "copy", 0)
	from, to := influxtest.Open(t, influxtest.Access(db, "pingline")), influxtest.Open(t, influxtest.Access(db, "copy"))
	write(t, from, storetest.Days(3000)...)
	state := t.TempDir() + "/state"
	for writes := 2; ; writes += 9 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestCopier$")
		cmd.Env = append(os.Environ(), copierURL+"="+db.URL(), "PINGLINE_TEST_STATE="+state)
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		seen, done := 0, false
		for s := bufio.NewScanner(out); s.Scan(); {
			if strings.HasPrefix(s.Text(), "copier: rows") {
				if seen++; seen == writes {
					_ = cmd.Process.Kill()
				}
			}
			done = done || s.Text() == "copier: done"
		}
		_ = cmd.Wait()
		if done {
			if writes < 12 {
				t.Fatal("it was never killed inside a unit")
			}
			break
		}
	}
	c := resumed(t, from, to, state, 0)
	plan, err := c.Plan(t.Context(), math.MinInt64, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	copies(t, c, plan)
	if c.Status().Rate != 0 {
		t.Error("something was left to copy")
	}
	if d := differences(t, c, plan, false); len(d) > 0 {
		t.Errorf("%d differences: %v", len(d), &d[0])
	}
	if got, want := len(stored(t, to)), len(stored(t, from)); got != want || want == 0 {
		t.Errorf("%d rows of %d", got, want)
	}
}
