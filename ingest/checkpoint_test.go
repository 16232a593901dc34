package ingest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"pingline"
	"pingline/dedupe"
	"pingline/internal/statefile"
	"pingline/queue"
	"pingline/sim/audit"
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
	if list, err := statefile.List(s.cfg.Dir); err != nil || len(list) != checkpointsKept {
		t.Fatalf("checkpoints after two stops: %v, %v", list, err)
	}
	return s, pings
}

// trimmed returns a site that has taken several checkpoints while it ran and was
// killed, with its log trimmed as far as they allow, and what it was sent.
func trimmed(t *testing.T) (s *site, pings []pingline.Ping, held int) {
	return trimmedOn(t, queue.Embedded)
}

func trimmedOn(t *testing.T, url string) (s *site, pings []pingline.Ping, held int) {
	s = newSiteOn(t, WriterConfig{Filter: dedupe.DefaultConfig(), Bound: dedupe.Bound{MaxError: 10}, CheckpointEntries: 2000}, url)
	quiet := job("quiet", time.Now().UnixMilli()-100_000, 2) // held in the oldest commits
	pings = append(quiet.Pings, madeUp(5, 2400)...)
	for part := range slices.Chunk(pings, 500) {
		s.send(part, 50)
		for s.writer.checkpoint.saved != nil {
			s.commit(nil, false)
		}
		s.write()
		s.trim()
	}
	list, err := statefile.List(s.cfg.Dir)
	if err != nil || len(list) != checkpointsKept {
		t.Fatalf("checkpoints %v, %v", list, err)
	}
	if first := s.log.First(); first < 50 || s.writer.checkpoint.path(first) != list[1] {
		t.Fatalf("the log begins at %d, the older checkpoint is %s: it is not trimmed, or too far", first, list[1])
	}
	held = s.writer.filter.Holding()
	s.kill()
	return s, pings, held
}

func (s *site) harmCheckpoint(i int, harm func([]byte) []byte) {
	s.t.Helper()
	list, err := statefile.List(s.cfg.Dir)
	if err != nil {
		s.t.Fatal(err)
	}
	b, err := os.ReadFile(list[i])
	if err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(list[i], harm(b), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// A checkpoint that cannot be read costs nothing as long as the one before can,
// though the log is trimmed as far as it may be. The next ones take its place.
func TestBrokenCheckpoint(t *testing.T) {
	for _, tt := range []struct {
		name string
		harm func(b []byte) []byte
	}{
		{"cut off", func(b []byte) []byte { return b[:len(b)/2] }},
		{"without its end", func(b []byte) []byte { return b[:len(b)-4] }},
		{"empty", func([]byte) []byte { return nil }},
		{"one bit wrong", func(b []byte) []byte { b[len(b)/2] ^= 1; return b }},
		{"a length wrong", func(b []byte) []byte { b[len(statefile.Magic)+3] = 0xff; return b }},
		{"a torn magic", func(b []byte) []byte { return b[:len(statefile.Magic)-2] }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, pings, held := trimmed(t)
			s.harmCheckpoint(0, tt.harm)
			s.start()
			if n := s.writer.filter.Holding(); n != held {
				t.Errorf("%d pings are held, %d before", n, held)
			}
			s.sendAgain(pings, 50)
			s.stop()
			if list, err := statefile.List(s.cfg.Dir); err != nil || len(list) != checkpointsKept {
				t.Fatalf("checkpoints %v, %v", list, err)
			}
			s.harmCheckpoint(0, tt.harm) // it leans on the one that the last start has used
			s.start()
			s.sendAgain(pings, 50)
			s.flush()
			s.audit()
		})
	}
}

// Another node that takes a log on servers over has the filter's state though the log is trimmed:
// of pings that were held before the log's first record none is missing or out of its bound. If the
// newest copy is damaged on the servers it has the copy before.
func TestAnotherNodeHasTheFilter(t *testing.T) {
	for _, damage := range []bool{false, true} {
		s, pings, held := trimmedOn(t, "nats://"+natsServer(t))
		list, err := statefile.List(s.cfg.Dir)
		if err != nil || held == 0 {
			t.Fatalf("%d pings are held, %v", held, err)
		}
		if damage {
			harmCopy(t, s.queue.URL, filepath.Base(list[0]))
		}
		if err := s.log.Close(); err != nil {
			t.Fatal(err)
		}
		s.cfg.Dir, s.queue.Dir = t.TempDir(), t.TempDir()
		s.start()
		if n := s.writer.filter.Holding(); n != held {
			t.Errorf("%d pings are held, %d before", n, held)
		}
		if found, err := statefile.List(s.cfg.Dir); err != nil || len(found) != map[bool]int{false: 2, true: 1}[damage] {
			t.Errorf("the next node has %d checkpoints, %v", len(found), err)
		}
		s.sendAgain(pings, 50)
		s.flush()
		s.audit()
	}
}

// harmCopy removes the first part of a file that lies beside a log.
func harmCopy(t *testing.T, url, name string) {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	files, err := js.ObjectStore(t.Context(), "PINGLINE-filter")
	if err != nil {
		t.Fatal(err)
	}
	info, err := files.GetInfo(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), "OBJ_PINGLINE-filter")
	if err != nil {
		t.Fatal(err)
	}
	part, err := stream.GetLastMsgForSubject(t.Context(), "$O.PINGLINE-filter.C."+info.NUID)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.DeleteMsg(t.Context(), part.Sequence); err != nil {
		t.Fatal(err)
	}
}

// The log is not trimmed behind a checkpoint that the servers do not have.
func TestLogWaitsForTheCopy(t *testing.T) {
	s := newSiteOn(t, WriterConfig{Filter: dedupe.DefaultConfig(), Bound: dedupe.Bound{MaxError: 10}, CheckpointEntries: 500}, "nats://"+natsServer(t))
	nc, err := nats.Connect(s.queue.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(t.Context(), "OBJ_PINGLINE-filter"); err != nil {
		t.Fatal(err)
	}
	for part := range slices.Chunk(madeUp(5, 1200), 500) {
		s.send(part, 50)
		for s.writer.checkpoint.saved != nil {
			s.commit(nil, false)
		}
		s.writer.checkpoint.pause = time.Time{}
		s.write()
		s.trim()
	}
	list, err := statefile.List(s.cfg.Dir)
	if err != nil || len(list) < 2 {
		t.Fatalf("checkpoints %v, %v: too few were tried", list, err)
	}
	if at, ok := s.log.Cursor(FilterCursor); !ok || at.Next != 1 || s.log.First() != 1 {
		t.Errorf("the log is needed from %d on and begins at %d, want 1", at.Next, s.log.First())
	}
}

// A stop that has nothing new to save leaves the checkpoint before the newest, and
// the log that it needs.
func TestStopsWithoutCommits(t *testing.T) {
	s, pings, held := trimmed(t)
	for range 3 {
		s.start()
		s.kill() // so that the pings stay held
		s.start()
		s.writer.checkpoint.finish(s.writer.filter, s.log)
		s.writer.checkpoint.finish(s.writer.filter, s.log)
		s.trim()
		s.kill()
	}
	s.harmCheckpoint(0, func([]byte) []byte { return nil })
	s.start()
	if n := s.writer.filter.Holding(); n != held {
		t.Errorf("%d pings are held, %d before", n, held)
	}
	s.sendAgain(pings, 50)
	s.flush()
	s.audit()
}

// With both checkpoints damaged, what the log still holds is kept, and what may
// have been forgotten is not taken for new.
func TestBothCheckpointsBroken(t *testing.T) {
	s, pings, held := trimmed(t)
	for i := range checkpointsKept {
		s.harmCheckpoint(i, func(b []byte) []byte { return b[:len(b)/2] })
	}
	first := s.log.First()
	s.start()
	if s.log.First() != first {
		t.Errorf("the log begins at %d, %d before", s.log.First(), first)
	}
	if n := s.writer.filter.Holding(); n != held-1 {
		t.Errorf("%d pings are held, want %d: all but the one before the log's first commit", n, held-1)
	}
	s.send(pings[2:], 50)
	s.stop()
	s.start()
	s.flush()
	s.write()
}

// A checkpoint that cannot be saved leaves those there are, and the log that they
// need; it is not tried again at once.
func TestCheckpointThatCannotBeSaved(t *testing.T) {
	s, pings, _ := trimmed(t)
	s.start()
	before, err := statefile.List(s.cfg.Dir)
	if err != nil {
		t.Fatal(err)
	}
	at, _ := s.log.Cursor(FilterCursor)
	dir := s.cfg.Dir
	s.cfg.Dir = "" // of later starts
	s.writer.checkpoint.cfg.dir = filepath.Join(before[0], "is a file, not a directory")
	began, tries := time.Now(), 0
	for i := range 40 {
		for k := range pings[2:502] {
			pings[2+k].At += int64(i+1) * 20_000
		}
		s.send(pings[2:502], 50)
		if s.writer.checkpoint.saved != nil {
			for tries++; s.writer.checkpoint.saved != nil; {
				s.commit(nil, false)
			}
			if c := s.writer.checkpoint; c.pause.Before(began.Add(pauseAfterFailure)) {
				t.Errorf("the next try may come at %v, want a pause after %v", c.pause, began)
			}
			s.writer.checkpoint.pause = began.Add(24 * time.Hour)
		}
	}
	if now, _ := s.log.Cursor(FilterCursor); tries != 1 || now != at {
		t.Errorf("%d tries to save 10 checkpoints during the pause, want 1; the cursor went from %v to %v", tries, at, now)
	}
	if list, err := statefile.List(dir); err != nil || !slices.Equal(list, before) {
		t.Errorf("checkpoints %v, %v, want %v", list, err, before)
	}
}

// A small log can be trimmed to a good half of its limit though it is kept from
// the checkpoint before the newest on.
func TestSmallLogIsTrimmed(t *testing.T) {
	s := newSite(t, WriterConfig{Filter: dedupe.DefaultConfig(), Bound: dedupe.Bound{MaxError: 10}})
	most := int64(0)
	for i := range 400 {
		s.send(job(fmt.Sprint("r-", i%7), time.Now().UnixMilli()-int64(401-i)*300_000, 1000).Pings, 1000)
		for s.writer.checkpoint.saved != nil {
			s.commit(nil, false)
		}
		s.write()
		s.trim()
		most = max(most, s.log.Bytes())
	}
	if limit := s.log.Limit(); most > limit/2 {
		t.Errorf("the log took up to %d bytes of %d, with all of it read", most, limit)
	}
}

// What a newer version has written is not damage: the start ends with a word, and
// everything stays as it is.
func TestWrittenByANewerVersion(t *testing.T) {
	newer := func(b []byte, at int) []byte { b[at] += 100; return b }
	for _, tt := range []struct {
		name string
		harm func(s *site)
	}{
		{"the newest checkpoint", func(s *site) {
			s.harmCheckpoint(0, func(b []byte) []byte { return append([]byte("pingline filter 9\n"), b[len(statefile.Magic):]...) })
		}},
		{"a checkpoint's first piece", func(s *site) {
			s.harmCheckpoint(0, func(b []byte) []byte {
				at := len(statefile.Magic) + 4
				n := int(binary.LittleEndian.Uint32(b[len(statefile.Magic):]))
				newer(b, at)
				sum := crc32.Checksum(b[at:at+n-4], crc32.MakeTable(crc32.Castagnoli))
				binary.LittleEndian.PutUint32(b[at+n-4:], sum)
				return b
			})
		}},
		{"the newest commit", func(s *site) {
			log := testLog(s.t, s.queue)
			b := newer(pingline.AppendCommitHeader(nil, &pingline.CommitHeader{}), 0)
			if _, err := log.Append(context.Background(), b, log.LastTotals(), false); err != nil {
				s.t.Fatal(err)
			}
			if err := log.Close(); err != nil {
				s.t.Fatal(err)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, _, _ := trimmed(t)
			tt.harm(s)
			before, err := statefile.List(s.cfg.Dir)
			if err != nil {
				t.Fatal(err)
			}
			s.cfg.Log = testLog(t, s.queue)
			at, _ := s.cfg.Log.Cursor(FilterCursor)
			_, err = OpenWriter(context.Background(), s.cfg)
			if !errors.Is(err, pingline.ErrNewer) {
				t.Errorf("OpenWriter = %v, want ErrNewer", err)
			}
			if list, err := statefile.List(s.cfg.Dir); err != nil || !slices.Equal(list, before) {
				t.Errorf("checkpoints %v, %v, want %v", list, err, before)
			}
			if now, _ := s.cfg.Log.Cursor(FilterCursor); now != at {
				t.Errorf("the cursor moved from %v to %v", at, now)
			}
		})
	}
}

// Checkpoints of a log that is gone tell that there was one, and do not stand in
// the way of those to come.
func TestCheckpointsOfAnotherLog(t *testing.T) {
	s, pings := checkpointed(t)
	s.queue.Dir, s.ledger = t.TempDir(), audit.NewLedger()
	s.start()
	s.send(pings, 100)
	s.kill()
	s.start()
	for i := range pings {
		if known := s.writer.filter.Known(nil, pings[i].Rider); len(known) > 0 {
			t.Fatalf("pings that may have been forgotten are not late: known is %+v", known)
		}
	}
	for i := range pings {
		pings[i].At += time.Hour.Milliseconds()
	}
	s.send(pings, 100)
	s.stop()
	if list, err := statefile.List(s.cfg.Dir); err != nil || len(list) != 1 {
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
