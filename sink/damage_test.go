package sink

import (
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pingline"
	"pingline/sink/route"
)

// A commit is lost that some lanes have passed and others have not: what is
// damaged is what was not written, whichever lane counts it.
func TestDamageBetweenTheLanes(t *testing.T) {
	for _, tt := range []struct {
		name  string
		stuck func(line string) bool // what is not written before the damage

		Least, most uint64 // damaged, of a commit of 100
	}{
		{"the rest is behind", func(line string) bool { return !strings.Contains(line, "event=") }, 80, 99},
		{"events are behind", func(line string) bool { return strings.Contains(line, "event=") }, 1, 20},
		{"all are", func(string) bool { return true }, 100, 100},
		{"none is", func(string) bool { return false }, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			w := openLog(t, dir)
			for i := range 40 {
				w.commit(mixed(uint64(i), 100)...)
			}
			store := recording(t, func(lines []string) int {
				if tt.stuck(lines[0]) {
					return http.StatusServiceUnavailable
				}
				return http.StatusNoContent
			})
			s := testSink(t, w, store.Bucket, nil)
			stop := start(t, s)
			events, others := tt.stuck("event="), tt.stuck("")
			eventually(t, "what is not stuck is written", func() bool {
				lanes := s.Stats()[0].Lanes
				return (events || lanes[route.Critical].Behind == 0) && (others || lanes[route.Live].Behind+lanes[route.Backfill].Behind == 0)
			})
			stop()
			w.close()
			flipByte(t, dir)

			w = openLog(t, dir)
			w.totals = w.log.LastTotals()
			store.answer = nil
			var damaged uint64
			for i := range 2 {
				s = testSink(t, w, store.Bucket, nil)
				stop = start(t, s)
				drained(t, s)
				w.commit(mixed(uint64(1000+i), 100)...)
				drained(t, s)
				balanced(t, s, w)
				damaged += s.Account().Pings.Damaged
				stop()
			}
			all := w.log.LastTotals()[pingline.TotalStored]
			stored := uint64(len(slices.Compact(store.taken())))
			if stored+damaged != all {
				t.Errorf("%d pings are stored and %d damaged, want %d together", stored, damaged, all)
			}
			if damaged < tt.Least || damaged > tt.most {
				t.Errorf("%d pings are damaged, want %d to %d", damaged, tt.Least, tt.most)
			}
		})
	}
}

// flipByte breaks a record in the middle of the log in dir.
func flipByte(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "1.blk") || !strings.Contains(path, "msgs") {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		b[len(b)/2] ^= 0xff
		return os.WriteFile(path, b, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}
