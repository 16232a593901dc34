package ingest

import (
	"os"
	"testing"
	"time"

	"pingline"
	"pingline/dedupe"
	"pingline/sim"
)

// checkpointed returns a site that was stopped twice, with two checkpoints, and
// what it was sent.
func checkpointed(t *testing.T) (s *site, pings []pingline.Ping) {
	s = newSite(t, WriterConfig{Filter: dedupe.DefaultConfig(), Bound: dedupe.Bound{MaxError: 10}})
	pings = madeUp(5, 200)
	s.send(pings[:500], 100)
	s.stop()
	s.start()
	s.send(pings[500:], 100)
	s.stop()
	if list, err := checkpoints(s.cfg.Dir); err != nil || len(list) != checkpointsKept {
		t.Fatalf("checkpoints after two stops: %v, %v", list, err)
	}
	return s, pings
}

// A checkpoint that cannot be read costs nothing as long as the one before can.
func TestBrokenCheckpoint(t *testing.T) {
	for _, tt := range []struct {
		name string
		harm func(b []byte) []byte
	}{
		{"cut off", func(b []byte) []byte { return b[:len(b)/2] }},
		{"without its end", func(b []byte) []byte { return b[:len(b)-4] }},
		{"empty", func([]byte) []byte { return nil }},
		{"one bit wrong", func(b []byte) []byte { b[len(b)/2] ^= 1; return b }},
		{"a length wrong", func(b []byte) []byte { b[len(checkpointMagic)+3] = 0xff; return b }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, pings := checkpointed(t)
			list, err := checkpoints(s.cfg.Dir)
			if err != nil {
				t.Fatal(err)
			}
			b, err := os.ReadFile(list[0])
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(list[0], tt.harm(b), 0o600); err != nil {
				t.Fatal(err)
			}
			s.start()
			s.sendAgain(pings, 100)
			s.flush()
			s.audit()
		})
	}
}

// Checkpoints of a log that is gone tell that there was one, and do not stand in
// the way of those to come.
func TestCheckpointsOfAnotherLog(t *testing.T) {
	s, pings := checkpointed(t)
	s.queue.Dir, s.ledger, s.cfg.MaxAhead = t.TempDir(), sim.NewLedger(), time.Millisecond
	s.start()
	s.send(pings, 100)
	s.kill()
	s.start()
	if n := s.writer.filter.Riders(); n != 0 {
		t.Errorf("%d riders are known by pings that may have been forgotten", n)
	}
	for i := range pings {
		pings[i].At += time.Hour.Milliseconds()
	}
	s.send(pings, 100)
	s.stop()
	if list, err := checkpoints(s.cfg.Dir); err != nil || len(list) != 1 {
		t.Errorf("checkpoints of the new log: %v, %v", list, err)
	}
	s.start()
	if n := s.writer.filter.Riders(); n != 5 {
		t.Errorf("%d riders are known after a restart, want 5", n)
	}
	s.sendAgain(pings, 100)
	s.flush()
	s.audit()
}
