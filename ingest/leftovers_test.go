package ingest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pingline"
	"pingline/dedupe"
	"pingline/internal/statefile"
)

// More pings are to be flushed than one commit takes, while requests come that fill
// it: each commit stays within the most that the log takes.
func TestFlushBesideFullCommits(t *testing.T) {
	filter := dedupe.DefaultConfig()
	filter.IdleFlush = time.Millisecond
	s := newSite(t, WriterConfig{Filter: filter, Bound: dedupe.Bound{MaxError: 10}, MaxCommit: 64 << 20})
	s.queue.MaxBytes = 256 << 20
	s.stop()
	s.start()
	long := strings.Repeat("x", pingline.MaxID-6)
	var pings []pingline.Ping
	for i := range 3 * flushPings {
		for _, p := range job(fmt.Sprint(long, i), time.Now().UnixMilli()-2000, 2).Pings {
			p.Device, p.Trip = long, long
			pings = append(pings, p)
		}
	}
	s.send(pings, 1000)
	full := func() *Job {
		j := new(Job)
		for range (s.log.MaxPayload() - commitSlack) / (maxEntryOverhead + pingline.MaxReadyLine) {
			j.Entries = append(j.Entries, pingline.Entry{Kind: pingline.Self, Line: strings.Repeat("x", pingline.MaxReadyLine)})
		}
		if err := s.writer.prepare(j); err != nil {
			t.Fatal(err)
		}
		return j
	}
	time.Sleep(10 * time.Millisecond)
	s.commit(nil, true)
	if !s.writer.idleMore {
		t.Fatal("all was flushed at once: this shows nothing")
	}
	for s.writer.idleMore || s.writer.putOff {
		if !s.writer.putOff {
			s.writer.waiting.jobs.push(full())
		}
		flush, _ := s.writer.wait(t.Context(), nil)
		s.commit(nil, flush)
	}
	if n := s.writer.filter.Holding(); n > 0 {
		t.Errorf("%d pings are still held", n)
	}
	s.audit()
}

// Half a checkpoint that a crash has left goes at the next start, so that crashes do
// not fill the disk.
func TestLeftoversOfCrashes(t *testing.T) {
	s, _ := checkpointed(t)
	path := filepath.Join(s.cfg.Dir, "1234.tmp")
	if err := os.WriteFile(path, []byte(statefile.Magic), 0o600); err != nil {
		t.Fatal(err)
	}
	s.start()
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("half a checkpoint is still there: %v", err)
	}
	if list, err := statefile.List(s.cfg.Dir); err != nil || len(list) != checkpointsKept {
		t.Errorf("checkpoints %v, %v", list, err)
	}
}
