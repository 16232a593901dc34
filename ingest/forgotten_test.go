package ingest

import (
	"slices"
	"testing"
	"time"

	"pingline"
	"pingline/dedupe"
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
			for _, file := range recordedFiles {
				t.Run(file, func(t *testing.T) { sendForgotten(t, recorded(t, file), tt.maxRiders, tt.restart) })
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
