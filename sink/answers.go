package sink

import (
	"cmp"
	"fmt"
	"math"
	"pingline/internal/unit"
	"pingline/sink/deadletter"
	"pingline/sink/health"
	"pingline/sink/resume"
	"pingline/sink/route"
	"slices"
	"time"
)

// Notes returns a sentence for each trouble that an operator must know of.
func (s *Sink) Notes() []string {
	notes := s.gone.Sentences()
	if note := s.Lacks().Sentence(s.cfg.Set); note != "" && s.cfg.Beside == nil {
		notes = append(notes, note)
	}
	stats := s.Stats()
	for i, sh := range s.known() {
		note := sh.health.Note(stats[i].waits())
		if note != "" && stats[i].HandedOver {
			note += "; other shards stand in for it"
		}
		if note != "" {
			notes = append(notes, note)
		}
	}
	for i, sh := range s.known() {
		if n := stats[i].Unkept; n > 0 {
			notes = append(notes, fmt.Sprintf("shard %s: %s counted, but not kept as dead letters: they may take half of --deadletter-max-bytes, and that half is full", sh.Name, unit.Plural(n, "row older than it keeps was", "rows older than it keeps were")))
		}
		if n := stats[i].Bare; n > 0 {
			note := fmt.Sprintf("shard %s: %s written without attributes", sh.Name, unit.Plural(n, "ping was", "pings were"))
			_, lost := attrsLost(sh.Store)
			if why := cmp.Or(bareReason(sh.Store), lost); why != "" {
				note += ": " + why
			}
			notes = append(notes, note)
		}
		if note := asideNote(sh.Name, stats[i].DeadLetters[reasonAside]); note != "" {
			notes = append(notes, note)
		}
		for _, l := range s.lanesOf(i) {
			if note := l.halt.Note(); note != "" {
				notes = append(notes, note)
			}
		}
	}
	return notes
}

// lanesOf returns the lanes of shard i, that of the hole being filled included.
func (s *Sink) lanesOf(i int) []*lane {
	list := slices.Clone(s.lanes[i*int(route.LaneKinds) : (i+1)*int(route.LaneKinds)])
	hs := &s.shards[i].holes
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if hs.active != nil {
		list = append(list, hs.active)
	}
	return list
}

// GoneBefore returns the time, ms, before which points may be in shards that are
// gone and not read, or missing in this set; 0 if there are none.
func (s *Sink) GoneBefore() int64 {
	if s.cfg.Beside != nil {
		return s.gone.Before()
	}
	return max(s.gone.Before(), s.Lacks().Until)
}

// DeadLetters returns the dead letters of all shards.
func (s *Sink) DeadLetters() *deadletter.Dir { return s.dead }

// Written returns the number of the first commit of which some ping may be
// neither stored nor a dead letter yet: all lanes have passed every commit before
// it. It never goes back.
func (s *Sink) Written() uint64 {
	next := uint64(math.MaxUint64)
	for _, l := range s.lanes {
		if l.kind != route.Own {
			next = min(next, l.position())
		}
	}
	// The lanes are read first: a hole that a lane leaves meanwhile is then in
	// the list.
	for _, sh := range s.shards {
		next = min(next, sh.holes.lowest())
	}
	return next
}

// Ended reports whether the part of the log that is for the sink has an end, and all of it is
// passed.
func (s *Sink) Ended() bool {
	end, ok := s.cfg.Until.End()
	return ok && s.Lowest() >= end.Next
}

// Kept returns how long the stores keep pings without an event, and pings with
// an event: the least of several shards. 0 means for ever, or not known.
func (s *Sink) Kept() (pings, events time.Duration) {
	return s.kept(route.Location), s.kept(route.Event)
}

func (s *Sink) kept(route int) (keep time.Duration) {
	from, to := s.router.Goals(route)
	for _, sh := range s.shards[from:to] {
		keep = health.Least(keep, sh.expiry.Keeps())
	}
	return keep
}

// Lowest returns the number of the first commit that some lane has not passed, with those of
// our own lines.
func (s *Sink) Lowest() uint64 {
	next := s.Written()
	for _, l := range s.lanes {
		next = min(next, l.position())
	}
	return next
}

// Lacks returns the gaps of the set.
func (s *Sink) Lacks() resume.Lacks {
	s.lacking.Lock()
	defer s.lacking.Unlock()
	return s.lacks
}
