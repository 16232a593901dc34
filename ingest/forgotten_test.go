package ingest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pingline"
	"pingline/dedupe"
	"pingline/track/tracktest"
)

// What was sent, flushed, written and trimmed is not new when it comes again,
// nor is what was left out of it, whatever became of the process meanwhile.
func TestForgottenIsNotNew(t *testing.T) {
	for _, tt := range []struct {
		name      string
		maxRiders int
		restart   func(s *site)
	}{
		{"stopped in order", 1000, func(s *site) { s.stop() }},
		{"killed", 1000, func(s *site) { s.kill() }},
		{"stopped, its checkpoint deleted", 1000, func(s *site) { s.stop(); s.loseCheckpoints() }},
		{"killed, its checkpoint deleted", 1000, func(s *site) { s.kill(); s.loseCheckpoints() }},
		{"stopped, with a filter too small", 2, func(s *site) { s.stop() }},
		{"killed, with a filter too small", 2, func(s *site) { s.kill() }},
		{"killed, with a filter made smaller", 1000, func(s *site) { s.kill(); s.cfg.Filter.MaxRiders = 1 }},
		{"stopped, its checkpoint deleted and the filter made larger", 2, func(s *site) { s.stop(); s.loseCheckpoints(); s.cfg.Filter.MaxRiders = 1000 }},
		{"not restarted, with a filter too small", 2, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Run("made up", func(t *testing.T) { sendForgotten(t, madeUp(10, 600), tt.maxRiders, tt.restart) })
			for _, file := range tracktest.Kinds {
				t.Run(string(file), func(t *testing.T) { sendForgotten(t, tracksOf(t, file), tt.maxRiders, tt.restart) })
			}
		})
	}
}

func sendForgotten(t *testing.T, pings []pingline.Ping, maxRiders int, restart func(s *site)) {
	filter := dedupe.DefaultConfig()
	filter.MaxRiders, filter.IdleFlush = maxRiders, time.Millisecond
	s := newSite(t, WriterConfig{Filter: filter, Bound: dedupe.Bound{MaxError: 10}, CheckpointEntries: 100})
	var first, others []pingline.Ping
	for i, p := range pings {
		if i%3 == 1 {
			others = append(others, p)
		} else {
			first = append(first, p)
		}
	}
	for half := range slices.Chunk(first, (len(first)+1)/2) { // the log is kept from the checkpoint before the newest on
		s.send(half, 500)
		s.idle()
		s.writer.checkpoint.finish(s.writer.filter, s.log)
	}
	s.write()
	s.trim()
	if s.log.First() == 1 && len(pings) > 1000 {
		t.Fatal("nothing was trimmed: this shows nothing")
	}
	if restart != nil {
		restart(s)
		s.start()
	}
	s.send(others, 500)
	s.flush()
	s.audit()
	s.send(first, 700)
	s.idle()
	s.audit()
	s.send(byTime(pings), 1000)
	s.flush()
	s.audit()
}

// Riders whose pings are ahead of our clock, more than the filter has room for, make
// nobody else's pings late, not even if the process dies, or its checkpoint is lost.
func TestForgottenAheadMakesNobodyLate(t *testing.T) {
	for _, tt := range []struct {
		name    string
		restart func(s *site)
	}{
		{"not restarted", nil},
		{"killed", func(s *site) { s.kill(); s.start() }},
		{"stopped", func(s *site) { s.stop(); s.start() }},
		{"stopped, its checkpoint deleted", func(s *site) {
			s.idle()
			s.write()
			s.trim()
			s.stop()
			s.loseCheckpoints()
			s.start()
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			filter := dedupe.DefaultConfig()
			filter.MaxRiders, filter.IdleFlush = 100, time.Millisecond
			s := newSite(t, WriterConfig{Filter: filter, Bound: dedupe.Bound{MaxError: 10}, CheckpointEntries: 100})
			ahead := madeUp(1000, 3)
			for i := range ahead {
				ahead[i].At += 120_000
			}
			s.send(ahead, 100)
			if s.writer.filter.Counts().Evicted == 0 {
				t.Fatal("nothing was forgotten: this shows nothing")
			}
			if tt.restart != nil {
				tt.restart(s)
			}
			s.commit(nil, false)
			before := s.writer.stats.Late
			fresh := madeUp(100, 1)
			for i := range fresh {
				fresh[i].Rider = "new-" + fresh[i].Rider
				fresh[i].At = time.Now().UnixMilli() + 1000 // after all that was judged
			}
			s.send(fresh, 100)
			if late := s.writer.stats.Late - before; late > 0 {
				t.Errorf("%d first pings of %d riders are late", late, len(fresh))
			}
		})
	}
}

// A trip of any length is on a stored point, whichever way its pings are uploaded,
// and however often the process dies.
func TestNoTripVanishes(t *testing.T) {
	for _, length := range []int{1, 3} {
		for _, newestFirst := range []bool{false, true} {
			s := newSite(t, WriterConfig{Filter: dedupe.DefaultConfig(), Bound: dedupe.Bound{MaxError: 1000}})
			pings := madeUp(2, 60)
			trips := map[string]bool{}
			for i := range pings {
				pings[i].Trip = fmt.Sprint("t", i/2/length)
				trips[pings[i].Rider+pings[i].Trip] = true
			}
			if newestFirst {
				slices.Reverse(pings)
			}
			for n, page := range slices.Collect(slices.Chunk(pings, 11)) {
				s.send(page, 11)
				if n%3 == 0 {
					s.kill()
					s.start()
				}
			}
			s.flush()
			s.audit()
			for _, e := range s.store {
				delete(trips, e.Rider+e.Trip)
			}
			if len(trips) > 0 {
				t.Errorf("trips of %d, newest first %v: no stored point says %v", length, newestFirst, trips)
			}
		}
	}
}
