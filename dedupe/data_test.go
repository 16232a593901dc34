package dedupe

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"pingline"
	"pingline/track/tracktest"
)

// tracksOf returns the pings of a set of tracks, in the file's order.
func tracksOf(t testing.TB, kind tracktest.Habit) []pingline.Ping {
	t.Helper()
	return pingsIn(t, tracktest.Find(t, kind).Path)
}

func pingsIn(t testing.TB, name string) []pingline.Ping {
	t.Helper()
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	zr, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	var pings []pingline.Ping
	lines := bufio.NewScanner(zr)
	for lines.Scan() {
		var rec struct {
			Rider    string   `json:"rider_id"`
			TS       int64    `json:"ts"`
			Lat      float64  `json:"lat"`
			Lon      float64  `json:"lon"`
			Accuracy *float64 `json:"accuracy"`
		}
		if err := json.Unmarshal(lines.Bytes(), &rec); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		p := pingline.Ping{Rider: rec.Rider, Fix: pingline.Fix{At: rec.TS}}
		if err := p.SetPosition(rec.Lat, rec.Lon); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if rec.Accuracy != nil {
			p.SetOptional(pingline.HasAccuracy, *rec.Accuracy)
		}
		pings = append(pings, p)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return pings
}

// bare is the rule alone: nothing is stored for the sake of time.
func bare() Config {
	return Config{MaxRiders: 10000, RecentBytes: 64 << 20}
}

// run is a filter, what it put out, and a reader that checks it.
type run struct {
	testing.TB
	*Filter
	reader  *reader
	bound   Bound
	now     time.Duration
	batch   Batch
	tokens  []pingline.Verdict // by token − 1: the verdict as of now
	verdict [pingline.Verdicts]int
	skipped int // as the stored entries say
}

func newRun(t testing.TB, cfg Config, bound Bound) *run {
	f, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	f.ahead.least = 1
	return &run{TB: t, Filter: f, reader: newReader(), bound: bound}
}

func (r *run) judge(p pingline.Ping) pingline.Verdict {
	e := pingline.Entry{Ping: p}
	v, _ := r.Judge(&r.batch, &e, r.bound, uint64(len(r.tokens)+1), r.now)
	r.tokens = append(r.tokens, v)
	r.verdict[v]++
	r.drain()
	r.answered(&p, v)
	if v == pingline.Duplicate && p.Event == "" {
		r.answered(&p, pingline.Redundant) // under one bound, a copy is as good as the first
	}
	return v
}

// answered tells the reader.
func (r *run) answered(p *pingline.Ping, v pingline.Verdict) {
	r.Helper()
	if err := r.reader.answered(p, allowed(&p.Fix, r.bound.MaxError, r.bound.AccuracyCap), v); err != nil {
		r.Fatal(err)
	}
}

func (r *run) judgeAll(pings []pingline.Ping) {
	for _, p := range pings {
		r.judge(p)
	}
}

func (r *run) drain() {
	r.reader.log(r.batch.Entries)
	for i := range r.batch.Entries {
		r.skipped += int(r.batch.Entries[i].Skipped)
	}
	for _, s := range r.batch.Settled {
		if s.Token > 0 {
			if r.tokens[s.Token-1] != pingline.Held {
				r.Fatalf("ping %d was settled, but not held", s.Token)
			}
			r.tokens[s.Token-1] = pingline.Redundant
			if s.Stored {
				r.tokens[s.Token-1] = pingline.Accepted
			}
		}
	}
	r.batch.Reset()
}

// flush stores what is held.
func (r *run) flush() {
	for r.Flush(&r.batch, 100) {
		r.drain()
	}
	r.drain()
}

// finish stores what is held and checks all that was answered.
func (r *run) finish() (vertices, late int, worst float64) {
	r.Helper()
	r.flush()
	if r.Holding() != 0 {
		r.Errorf("%d pings held after Flush", r.Holding())
	}
	worst, err := r.reader.check()
	if err != nil {
		r.Error(err)
	}
	vertices, late = r.reader.kept()
	return vertices, late, worst
}

// Of recorded tracks at most 5 % more is kept, in per cent, than the best offline
// algorithm keeps; of simulated ones little more than when the limits were set.
func TestRecordedTracksKeepLittle(t *testing.T) {
	for _, tt := range []struct {
		file                tracktest.Habit
		cfg                 Config
		recorded, simulated float64
	}{
		{tracktest.EverySecond, bare(), 6.8, 5.9},
		{tracktest.EveryFew, bare(), 47.6, 28.5},
		{tracktest.Disordered, bare(), 6.2, 5.4},
		{tracktest.Sparse, bare(), 100, 75},
		{tracktest.EverySecond, DefaultConfig(), 7.3, 5.9},
		{tracktest.EveryFew, DefaultConfig(), 50, 28.9},
	} {
		t.Run(fmt.Sprintf("%s with live gap %v", tt.file, tt.cfg.LiveGap), func(t *testing.T) {
			set := tracktest.Find(t, tt.file)
			atMost := tt.simulated
			if set.Recorded {
				atMost = tt.recorded
			}
			pings := pingsIn(t, set.Path)
			r := newRun(t, tt.cfg, Bound{MaxError: 10})
			r.judgeAll(pings)
			vertices, late, worst := r.finish()
			kept := 100 * float64(vertices+late) / float64(len(pings))
			t.Logf("kept %.3f %% (%d and %d late of %d), worst %.4f of the bound", kept, vertices, late, len(pings), worst)
			if kept > atMost {
				t.Errorf("kept %.3f %%, want at most %.1f", kept, atMost)
			}
			dropped := 0
			for _, v := range r.tokens {
				if v == pingline.Redundant {
					dropped++
				}
			}
			for _, i := range r.inOrder() {
				r.skipped += int(r.tracks.At(i).skipped) // by the next to be stored
			}
			if r.skipped != dropped {
				t.Errorf("%d pings were dropped, the stored ones tell of %d", dropped, r.skipped)
			}
		})
	}
}

// At every bound, nothing is off by more.
func TestRecordedTracksHoldAtEveryBound(t *testing.T) {
	for _, file := range tracktest.Kinds {
		pings := tracksOf(t, file)
		for _, eps := range []float64{0, 5, 10, 25, 50, 1000} {
			for _, accuracyCap := range []float64{0, 50} {
				r := newRun(t, bare(), Bound{MaxError: eps, AccuracyCap: accuracyCap})
				r.judgeAll(pings)
				vertices, late, worst := r.finish()
				t.Logf("%s at %v m, accuracy up to %v: kept %.2f %%, worst %.4f of the bound", file, eps, accuracyCap, 100*float64(vertices+late)/float64(len(pings)), worst)
			}
		}
	}
}

// A rider's newest stored ping is near the newest ping, or not much older.
func TestLiveGapKeepsTheNewestFresh(t *testing.T) {
	for _, file := range []tracktest.Habit{tracktest.EverySecond, tracktest.EveryFew} {
		r := newRun(t, DefaultConfig(), Bound{MaxError: 10})
		for _, p := range tracksOf(t, file) {
			r.judge(p)
			s := r.reader.stored[trackOf(&p)]
			newest := &s[len(s)-1]
			if old := p.At - newest.At; old > 30_000 && haversine(newest.Lat(), newest.Lon(), p.Lat(), p.Lon()) > 10 {
				t.Fatalf("%s: %s at %d: the newest stored ping is %d ms old, and far off", file, p.Rider, p.At, old)
			}
		}
	}
}

// Whatever is sent again meets itself, if what is remembered reaches that far: a
// batch right after the first time, and a whole file, twice.
func TestSentAgainAddsNothing(t *testing.T) {
	for _, file := range tracktest.Kinds {
		pings := tracksOf(t, file)
		for _, cfg := range []Config{bare(), DefaultConfig()} {
			for _, size := range []int{700, 1000, len(pings)} {
				r := newRun(t, cfg, Bound{MaxError: 10, AccuracyCap: 50})
				for batch := range slices.Chunk(pings, size) {
					r.judgeAll(batch)
					r.judgeAgain(batch)
				}
				r.judgeAgain(pings)
				r.flush()
				r.judgeAgain(pings)
				r.finish()
			}
		}
	}
}

// judgeAgain sends pings that were sent before. One that is late is stored again,
// as the same point: a copy that was left out would be off the line, which it is
// no part of.
func (r *run) judgeAgain(pings []pingline.Ping) {
	r.Helper()
	for i := range pings {
		p := &pings[i]
		late := r.reader.late[trackOf(p)][momentOf(&p.Fix)]
		before := r.reader.points(trackOf(p))
		v := r.judge(*p)
		known := v == pingline.Duplicate || v == pingline.Redundant || v == pingline.Accepted && late
		if added := r.reader.points(trackOf(p)) - before; added != 0 || !known {
			r.Fatalf("ping %d of %d sent again, of %s at %d, is %v and adds %d points", i, len(pings), trackOf(p), p.At, v, added)
		}
	}
}

// A phone that was offline sends what is now, and then what was: a hole of ten
// minutes in every track comes after all the rest.
func TestBacklogsBecomeVertices(t *testing.T) {
	for _, file := range []tracktest.Habit{tracktest.EverySecond, tracktest.EveryFew} {
		for _, liveFirst := range []int{5, 60, 1 << 30} {
			pings := tracksOf(t, file)
			byRider := map[string][]pingline.Ping{}
			for _, p := range pings {
				byRider[p.Rider] = append(byRider[p.Rider], p)
			}
			inOrder, holed := newRun(t, DefaultConfig(), Bound{MaxError: 10}), newRun(t, DefaultConfig(), Bound{MaxError: 10})
			inOrder.judgeAll(pings)
			inHoles := 0
			for _, track := range byRider {
				from := track[0].At + (track[len(track)-1].At-track[0].At)/3
				var hole []pingline.Ping
				live := 0
				for _, p := range track {
					if p.At > from && p.At <= from+600_000 {
						hole = append(hole, p)
						continue
					}
					holed.judge(p)
					if p.At > from {
						if live++; live == liveFirst {
							holed.judgeAll(hole)
							inHoles += len(hole)
							hole = nil
						}
					}
				}
				holed.judgeAll(hole)
				inHoles += len(hole)
			}
			v, l, _ := inOrder.finish()
			hv, hl, worst := holed.finish()
			n := float64(len(pings))
			t.Logf("%s, %d live pings first: %d pings in holes, kept %.2f %% in order, %.2f %% with holes (%d late), worst %.4f", file, liveFirst, inHoles, 100*float64(v+l)/n, 100*float64(hv+hl)/n, hl, worst)
			if 100*float64(hv+hl-v-l)/n > 2 {
				t.Errorf("%s: holes keep %d points more", file, hv+hl-v-l)
			}
			if hl > l {
				t.Errorf("%s: %d points of backlogs are late", file, hl)
			}
		}
	}
}

// What the filter has forgotten, by restart or for lack of room, it does not
// take for new.
func TestForgottenIsNotNew(t *testing.T) {
	for _, file := range tracktest.Kinds {
		pings := tracksOf(t, file)
		newest := int64(0)
		for _, p := range pings {
			newest = max(newest, p.At)
		}
		t.Run(string(file)+" after a restart without a checkpoint", func(t *testing.T) {
			r := newRun(t, bare(), Bound{MaxError: 10})
			r.judgeAll(pings)
			r.finish()
			f, err := New(r.cfg)
			if err != nil {
				t.Fatal(err)
			}
			f.Forgot(newest)
			r.Filter = f
			for i := 0; i < len(pings); i += 3 { // other lines than before
				if v := r.judge(pings[i]); v != pingline.Accepted {
					t.Fatalf("ping %d of what was forgotten is %v", i, v)
				}
			}
			r.finish()
		})
		t.Run(string(file)+" with a filter too small", func(t *testing.T) {
			cfg := bare()
			cfg.MaxRiders = 2
			r := newRun(t, cfg, Bound{MaxError: 10})
			for range 3 {
				r.judgeAll(pings)
				for i := 0; i < len(pings); i += 3 {
					r.judge(pings[i])
				}
			}
			r.finish()
			if r.Riders() > 2 {
				t.Errorf("%d tracks are known, want at most 2", r.Riders())
			}
		})
	}
}
