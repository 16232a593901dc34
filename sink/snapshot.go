package sink

import (
	"cmp"
	"time"

	"pingline"
	"pingline/queue"
	"pingline/sink/route"
)

// progressAt returns the lane's position, with the head of the log at head.
func (l *lane) progressAt(head queue.Cursor) lanePosition {
	l.mu.Lock()
	next, since := l.delivered.Next, time.Time{}
	if len(l.inFlight) > 0 {
		since = l.inFlight[0].since
	}
	l.mu.Unlock()
	return l.progress.at(next, since, head, l.batcher.End)
}

// lanesProgress returns the positions of a shard's lanes, as of head; holes count
// as backfill.
func (s *Sink) lanesProgress(i int, head queue.Cursor) (list [route.LaneKinds]lanePosition) {
	for kind := range route.LaneKinds {
		list[kind] = s.lane(i, kind).progressAt(head)
	}
	// Holes are read after the live lane, so that they show all that it has
	// skipped.
	hs, p := &s.shards[i].holes, s.lane(i, route.Live).progress
	hs.mu.Lock()
	defer hs.mu.Unlock()
	for j, h := range hs.list {
		st := p.leftOut(h.At, head, h.End)
		if j == 0 && hs.active != nil {
			st = hs.active.progressAt(head)
		}
		list[route.Backfill].join(st)
	}
	return list
}

// sinkProgress is the position of all lanes at a moment.
type sinkProgress struct {
	Account
	head  queue.Cursor
	lanes [][route.LaneKinds]lanePosition
}

// head is the end of the log as far as it is for the sink.
func (s *Sink) head() queue.Cursor { return s.cfg.Until.Clamp(s.cfg.Log.Head()) }

func (s *Sink) snapshot() (v sinkProgress) {
	head := s.head()
	v.head = head
	atHead := [...]bool{pingline.TotalStored: true, pingline.TotalLines: true}
	for i := range s.shards {
		list := s.lanesProgress(i, head)
		v.lanes = append(v.lanes, list)
		for kind, st := range list {
			total := route.LaneKind(kind).Total()
			atHead[total] = atHead[total] && st.next >= head.Next
		}
	}
	var sums [len(atHead)]Tally
	s.reconciling.Lock()
	defer s.reconciling.Unlock()
	for total, start := range s.start {
		sums[total].Start = start
	}
	for _, sh := range s.shards {
		for total, n := range sh.counters.passed() {
			if sh.Name == route.Nobody {
				sums[total].Elsewhere += n.written
				n.written = 0
			}
			sums[total].Written += n.written
			sums[total].DeadLettered += n.deadLettered
			sums[total].Damaged += n.damaged
			sums[total].GivenUp += n.givenUp
		}
	}
	// The log is read last, so that it is never behind the lanes.
	now := s.head()
	var queued [len(atHead)]uint64
	for total := range sums {
		t := &sums[total]
		passed := t.Start + t.Written + t.DeadLettered + t.Damaged + t.Elsewhere + t.GivenUp
		switch still := atHead[total] && now.Next == head.Next; {
		case still:
			t.Damaged += s.reconcile(total, now.Totals[total]-passed)
		case now.Totals[total] > passed:
			t.Queued = now.Totals[total] - passed
			queued[total] = t.Queued
		}
	}
	v.Pings, v.Lines = sums[pingline.TotalStored], sums[pingline.TotalLines]
	splitQueued(v.lanes, queued)
	return v
}

// reconcile closes the gap that damage has left, once all lanes are at the end of the log.
// It returns how many entries are damaged beyond the count, which may be below zero. The
// lane that counts a lost commit cannot know which of its entries other lanes had passed
// before it was lost, nor which entries it had passed itself that other lanes find lost.
// Without damage, or beyond it, gap is a fault of Pingline and stays. The caller holds
// reconciling.
func (s *Sink) reconcile(total int, gap uint64) uint64 {
	if gap == 0 {
		return 0
	}
	var lost uint64
	for _, d := range s.cfg.Log.Damage() {
		lost += d.Lost[total]
	}
	if min(gap, -gap) > lost {
		return 0
	}
	for _, l := range s.lanes {
		if l.batcher.Counts && l.batcher.Total == total {
			l.correct(gap)
		}
	}
	return gap
}

// Memory returns how many bytes are taken by batches, in flight or being filled,
// and by the cache of routes. Rows take about Config.BatchMemory, and the
// batches batch.MostTimes as much while all of them are being written; the cache
// takes route.CacheBytes at most.
func (s *Sink) Memory() int64 {
	sum := int64(s.routes.Size())
	for _, sh := range s.shards {
		sum += sh.memory.Load()
	}
	return sum
}

// Account returns the fates of all entries in the log.
func (s *Sink) Account() Account { return s.snapshot().Account }

// Stats returns how each shard does, in the order of Config.Shards.
func (s *Sink) Stats() []Stats {
	v := s.snapshot()
	list := make([]Stats, len(s.known()))
	for i, sh := range s.known() {
		st := &list[i]
		sh.stats(st)
		st.HandedOver, st.Pings = s.away(sh), s.router.Pings(i)
		for _, l := range s.lanesOf(i) {
			reason, problem := l.halt.Halted()
			st.Stopped, st.LastError = cmp.Or(st.Stopped, reason), cmp.Or(st.LastError, problem)
		}
		for kind, at := range v.lanes[i] {
			l := LaneStats{Lane: route.LaneKind(kind).String(), Queued: at.pending, Behind: v.head.Next - min(at.next, v.head.Next)}
			if !at.since.IsZero() {
				l.Oldest = max(time.Since(at.since), 0)
			}
			st.Lanes = append(st.Lanes, l)
			st.Queued += l.Queued
			st.Oldest = max(st.Oldest, l.Oldest)
		}
	}
	return list
}

func (s *shard) stats(st *Stats) {
	st.Shard, st.Breaker, st.BreakerOpen = s.Name, s.breaker.State(), s.breaker.NotClosed()
	st.Down = s.health.Down()
	st.Unkept = s.expiry.Skipped()
	st.InFlight, st.Limit = s.writes.InFlight()
	st.Lost, _ = attrsLost(s.Store)
	st.DeadLetters, st.Bare = s.counters.refusals(), s.counters.withoutAttrs()+st.Lost
	took, retries := s.health.Counted()
	st.Written, st.Lines, st.Retries = took[route.Critical]+took[route.Live]+took[route.Backfill], took[route.Own], retries
	if stop, err := s.health.Trouble(); err != nil {
		st.LastError, st.Stopped = err.Error(), stop
	}
}
