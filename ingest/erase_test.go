package ingest

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pingline"
	"pingline/dedupe"
	"pingline/queue"
)

// A rider who is erased is unknown from the next commit on, and stays so when the filter is
// made anew from the log, or from a checkpoint; other riders are as before.
func TestErase(t *testing.T) {
	for _, dir := range []string{"", t.TempDir()} {
		log := testLog(t, queue.Config{})
		var list []Erasure
		cfg := WriterConfig{Log: log, Dir: dir, Bound: dedupe.Bound{MaxError: 10}, Erasures: func() []Erasure { return list }}
		w, stop := testWriter(t, cfg)
		submit(t, w, job("r-other", t0, 50))
		submit(t, w, job("r-gone", t0, 50))
		gone, err := w.Erase("r-gone", selfPoint(1))
		if err != nil || gone.Upto != log.Last() || gone.Behind != log.Head() || gone.Tracks != 1 || gone.Held != 1 {
			t.Fatalf("%+v, the log is at %d: %v", gone, log.Last(), err)
		}
		list = append(list, Erasure{"r-gone", gone.Upto})
		known := func(rider string) int {
			t.Helper()
			l, err := w.RiderState(rider)
			if err != nil {
				t.Fatal(err)
			}
			return len(l.Tracks)
		}
		if known("r-gone") != 0 || known("r-other") != 1 {
			t.Errorf("%d and %d tracks are known", known("r-gone"), known("r-other"))
		}
		if dir != "" {
			for end := time.Now().Add(10 * time.Minute); ; time.Sleep(time.Millisecond) {
				if at, _ := log.Cursor(FilterCursor); at.Next > gone.Upto {
					break
				}
				if time.Now().After(end) {
					t.Fatal("there is no new checkpoint")
				}
			}
			names, err := filepath.Glob(filepath.Join(dir, "*"))
			if err != nil || len(names) != 1 {
				t.Errorf("checkpoints: %v, %v", names, err)
			}
			for _, name := range names {
				if text, err := os.ReadFile(name); err != nil || bytes.Contains(text, []byte("r-gone")) || !bytes.Contains(text, []byte("r-other")) {
					t.Errorf("%s has the rider who is gone, or not the other: %v", name, err)
				}
			}
		}
		back := job("r-gone", t0, 5) // the pings of before are first ones again
		submit(t, w, back)
		if !slices.Contains(back.Verdicts, pingline.Accepted) || slices.Contains(back.Verdicts, pingline.Duplicate) {
			t.Errorf("verdicts of a rider who is back: %v", back.Verdicts)
		}
		st := w.Stats()
		if held := st.Verdicts[pingline.Held]; held != st.Promoted+st.Covered+uint64(st.Holding) {
			t.Errorf("%d were held; %d promoted, %d covered, %d are held", held, st.Promoted, st.Covered, st.Holding)
		}
		stop()
		w, _ = testWriter(t, cfg)
		if dir == "" {
			submit(t, w, job("r-gone", t0+5000, 1))
		}
		again := job("r-gone", t0, 5)
		submit(t, w, again)
		if slices.Contains(again.Verdicts, pingline.Accepted) {
			t.Errorf("verdicts after a restart: %v", again.Verdicts)
		}
		old := job("r-gone", t0, 50)
		submit(t, w, old)
		if slices.Contains(old.Verdicts[10:], pingline.Duplicate) {
			t.Errorf("pings of before the erasure are known after a restart: %v", old.Verdicts)
		}
	}
}
