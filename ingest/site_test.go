package ingest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pingline"
	"pingline/internal/statefile"
	"pingline/queue"
	"pingline/sim/audit"
	"pingline/sink/influx"
	"pingline/sink/store"
	"pingline/track"
	"pingline/track/tracktest"
)

// site is a writer and its log, a store that holds what a sink would have
// written, and the books of what was answered. It lives through restarts.
//
// The writer is driven by hand, one commit at a time, so that the test says what
// is on disk when the process ends.
type site struct {
	t      *testing.T
	cfg    WriterConfig // without a log
	queue  queue.Config
	log    *queue.Log
	writer *Writer
	store  map[point]pingline.Entry
	ledger *audit.Ledger
	counts [pingline.Verdicts]int // of all answers
	lossy  bool                   // commits of the log may be lost
}

// point is what makes two writes one point: the tags of a line, and its time.
type point struct{ tags, at string }

func pointAt(e *pingline.Entry) point {
	line := string(influx.AppendLine(nil, e))
	tags, _, _ := strings.Cut(line, " ")
	return point{tags, line[strings.LastIndexByte(line, ' '):]}
}

const siteCursor = "sink"

func newSite(t *testing.T, cfg WriterConfig) *site { return newSiteOn(t, cfg, queue.Embedded) }

// newSiteOn returns a site with a log at url.
func newSiteOn(t *testing.T, cfg WriterConfig, url string) *site {
	s := &site{
		t: t, cfg: cfg, queue: queue.Config{Dir: t.TempDir(), URL: url, MaxBytes: 4 << 20},
		store: map[point]pingline.Entry{}, ledger: audit.NewLedger(),
	}
	s.cfg.Dir = t.TempDir()
	s.cfg.Logger = slog.New(slog.DiscardHandler)
	s.queue.Logger = s.cfg.Logger
	s.start()
	return s
}

func (s *site) start() {
	s.t.Helper()
	s.log = testLog(s.t, s.queue)
	s.cfg.Log = s.log
	if _, ok := s.log.Cursor(siteCursor); !ok {
		s.log.SetCursor(siteCursor, queue.Cursor{Next: 1})
	}
	var err error
	if s.writer, err = OpenWriter(context.Background(), s.cfg); err != nil {
		s.t.Fatal(err)
	}
}

// send sends pings in requests of so many, and notes the answers.
func (s *site) send(pings []pingline.Ping, batch int) {
	s.t.Helper()
	for request := range slices.Chunk(pings, batch) {
		j := &Job{Pings: request}
		for i := range request {
			j.Cells = append(j.Cells, testCells.Of(&request[i].Fix))
		}
		if err := s.writer.prepare(j); err != nil {
			s.t.Fatal(err)
		}
		s.commit(j, false)
		if err := <-j.done; err != nil {
			s.t.Fatalf("send %d pings: %v", len(request), err)
		}
		s.note(j)
	}
}

func (s *site) note(j *Job) {
	for i := range j.Pings {
		s.counts[j.Verdicts[i]]++
		s.ledger.Add(&j.Pings[i], j.Verdicts[i], float32(j.Bound.MaxError), float32(j.Bound.AccuracyCap))
	}
}

func (s *site) commit(j *Job, flush bool) {
	s.t.Helper()
	if err := s.writer.commitOne(context.Background(), j, flush); err != nil {
		s.t.Fatal(err)
	}
}

// idle lets time pass until nothing is held and no checkpoint is being taken.
func (s *site) idle() {
	s.t.Helper()
	for s.writer.filter.Holding() > 0 || s.writer.checkpoint.saved != nil {
		s.commit(nil, true)
	}
}

// write brings to the store what the log has for it.
func (s *site) write() {
	s.t.Helper()
	at, _ := s.log.Cursor(siteCursor)
	last := s.log.Last()
	r := s.log.Read(at.Next)
	defer r.Close()
	for at.Next <= last {
		rec, err := r.Next(context.Background())
		if damage := new(queue.DamageError); s.lossy && errors.As(err, &damage) {
			at.Next = damage.To + 1
			continue
		}
		if err != nil {
			s.t.Fatal(err)
		}
		_, entries, err := pingline.DecodeCommit(rec.Payload)
		if err != nil {
			s.t.Fatal(err)
		}
		for e := (pingline.Entry{}); ; {
			ok, err := entries.Next(&e)
			if err != nil {
				s.t.Fatal(err)
			}
			if !ok {
				break
			}
			if e.Stored() {
				s.store[pointAt(&e)] = e
			}
		}
		at = queue.Cursor{Next: rec.Number + 1, Totals: rec.Totals}
	}
	s.log.SetCursor(siteCursor, at)
}

// trim drops from the log what is written and checkpointed.
func (s *site) trim() {
	s.t.Helper()
	if err := errors.Join(s.log.KeepCursors(), s.log.TrimKept()); err != nil {
		s.t.Fatal(err)
	}
}

// stop ends the process in order.
func (s *site) stop() {
	s.t.Helper()
	if err := errors.Join(s.writer.shutdown(context.Background()), s.log.Close()); err != nil {
		s.t.Fatal(err)
	}
}

// kill ends the process as kill -9 does: what comes next finds the files as they
// are now.
func (s *site) kill() {
	s.t.Helper()
	for _, dir := range []*string{&s.cfg.Dir, &s.queue.Dir} {
		*dir = copyOf(s.t, *dir)
	}
	s.writer.checkpoint.abandon()
}

// copyOf copies a directory in use. A file that is renamed or removed after it was
// listed makes the copy one of no moment at all, so it is made again.
func copyOf(t *testing.T, dir string) string {
	t.Helper()
	for {
		to := t.TempDir()
		err := os.CopyFS(to, os.DirFS(dir))
		if err == nil {
			return to
		}
		if _, gone := os.Stat(dir); gone != nil || !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
}

// loseCheckpoints deletes the filter's saved state.
func (s *site) loseCheckpoints() {
	s.t.Helper()
	list, err := statefile.List(s.cfg.Dir)
	if err != nil || len(list) == 0 {
		s.t.Fatalf("no checkpoint to lose: %v", err)
	}
	for _, path := range list {
		if err := os.Remove(path); err != nil {
			s.t.Fatal(err)
		}
	}
}

// flush stores what is held.
func (s *site) flush() {
	s.t.Helper()
	for more := true; more; {
		s.writer.begin()
		more = s.writer.filter.Flush(&s.writer.batch, flushPings)
		s.writer.logBatch(0, nil)
		if err := s.writer.append(context.Background(), true); err != nil {
			s.t.Fatal(err)
		}
	}
}

// audit holds every answer given against what is stored.
func (s *site) audit() {
	s.t.Helper()
	s.write()
	report, err := audit.Check(context.Background(), s.ledger, func(_ context.Context, q store.Query, each func(*pingline.Entry, int64) error) error {
		for _, e := range s.store {
			if e.At < q.From || e.At >= q.To {
				continue
			}
			if err := each(&e, 0); err != nil {
				return err
			}
		}
		return nil
	})
	if err = errors.Join(err, report.Err()); err != nil {
		s.t.Error(err)
	}
	s.t.Logf("%d sent, %d points, %v, worst %.2f m", report.Sent, report.Stored, s.counts, report.WorstError)
}

// tracksOf returns the pings of a set of tracks, moved in time so that each rider's
// newest was made now.
func tracksOf(t *testing.T, kind tracktest.Habit) (pings []pingline.Ping) {
	t.Helper()
	r, err := track.Open(tracktest.Find(t, kind).Path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	newest := map[string]int64{}
	for {
		p, _, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		pings = append(pings, p)
		newest[p.Rider] = max(newest[p.Rider], p.At)
	}
	now := time.Now().UnixMilli()
	for i := range pings {
		pings[i].At += now - newest[pings[i].Rider]
	}
	return pings
}

// madeUp returns pings of riders who drive, turn and stop, one every 5 s, up to
// now.
func madeUp(riders, rounds int) (pings []pingline.Ping) {
	rng := rand.New(rand.NewPCG(5, 6))
	now := time.Now().UnixMilli()
	type cab struct{ lat, lon, course, speed float64 }
	cabs := make([]cab, riders)
	for i := range cabs {
		cabs[i] = cab{41 + rng.Float64()/10, -8 + rng.Float64()/10, 6 * rng.Float64(), 10}
	}
	for round := range rounds {
		for i := range cabs {
			c := &cabs[i]
			switch rng.IntN(8) {
			case 0:
				c.course += rng.NormFloat64()
			case 1:
				c.speed = max(0, 20*rng.Float64()-5)
			}
			c.lat += c.speed * 5 / 111e3 * math.Cos(c.course)
			c.lon += c.speed * 5 / 84e3 * math.Sin(c.course)
			p := pingline.Ping{Rider: fmt.Sprint("r-", i), Fix: pingline.Fix{At: now - int64(rounds-round)*5000}}
			if err := p.SetPosition(c.lat+rng.NormFloat64()*3/111e3, c.lon+rng.NormFloat64()*3/84e3); err != nil {
				panic(err)
			}
			pings = append(pings, p)
		}
	}
	return pings
}

// byTime sorts pings as they would have come if nothing had disturbed them.
func byTime(pings []pingline.Ping) []pingline.Ping {
	sorted := slices.Clone(pings)
	slices.SortStableFunc(sorted, func(a, b pingline.Ping) int { return cmp.Compare(a.At, b.At) })
	return sorted
}
