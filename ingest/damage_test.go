package ingest

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pingline"
	"pingline/dedupe"
	"pingline/sim/audit"
)

// A commit is lost that the checkpoint is behind of and that is not written yet. The
// filter relies on none of its vertices any more, be the damage found at the start or
// by a reader later, and not after another restart either.
func TestDamageBehindTheCheckpoint(t *testing.T) {
	for _, tt := range []struct {
		name  string
		found func(s *site) // by whom
	}{
		{"found by the start", func(s *site) { s.kill(); s.loseCommit(); s.start() }},
		{"found by a reader", func(s *site) {
			s.stop()
			s.loseCommit()
			s.start()
			s.write()
			s.commit(nil, true)
		}},
		{"found by a reader, then killed", func(s *site) {
			s.stop()
			s.loseCommit()
			s.start()
			s.write()
			s.commit(nil, true)
			s.kill()
			s.start()
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			filter := dedupe.DefaultConfig()
			filter.LiveGap, filter.MaxGap = 0, 0
			s := newSite(t, WriterConfig{Filter: filter, Bound: dedupe.Bound{MaxError: 10}})
			s.lossy = true
			before, lost, after := straight(100)
			s.send(before, 1000)
			s.send(lost, 1000)
			s.writer.checkpoint.finish(s.writer.filter, s.log)
			tt.found(s)
			if len(s.log.Damage()) == 0 {
				t.Fatal("nothing is lost: this shows nothing")
			}
			s.ledger = audit.NewLedger() // of what is answered from now on
			s.send(after, 1000)
			s.flush()
			s.audit()

			s.stop()
			s.start()
			for i := range after {
				after[i].At += 100_000
			}
			stored := s.counts[pingline.Accepted]
			s.send(after, 1)
			if s.counts[pingline.Accepted] != stored {
				t.Error("the tracks begin anew at each start")
			}
		})
	}
}

// straight returns pings of a rider who drives straight on, to and fro, and from now on
// straight on again.
func straight(n int) (before, lost, after []pingline.Ping) {
	at := time.Now().UnixMilli() - int64(2*n)*1000 + 30_000
	for i := range 3 * n {
		p := pingline.Ping{Rider: "r-1", Fix: pingline.Fix{At: at + int64(i)*1000}}
		lat, lon := 41.0, float64(i)/10_000
		switch {
		case i >= 2*n:
			lat += 0.05 + float64(i-2*n)/10_000
			after = append(after, p)
		case i >= n:
			lat += 0.05 * float64(i%2)
			lost = append(lost, p)
		default:
			before = append(before, p)
		}
		list := [...]*[]pingline.Ping{&before, &lost, &after}[i/n]
		if err := (*list)[len(*list)-1].SetPosition(lat, lon); err != nil {
			panic(err)
		}
	}
	lost[n-1].Event = "sos" // so that nothing is held
	return before, lost, after
}

// loseCommit breaks the record in the middle of the log, which is closed.
func (s *site) loseCommit() {
	s.t.Helper()
	err := filepath.WalkDir(s.queue.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".blk") || !strings.Contains(path, "PINGLINE") {
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
		s.t.Fatal(err)
	}
}
