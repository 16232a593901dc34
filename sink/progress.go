package sink

import (
	"cmp"
	"maps"
	"sync"
	"time"

	"pingline"
	"pingline/queue"
	"pingline/sink/batch"
	"pingline/sink/route"
)

// shardCounters count the entries of a shard's lanes by their fate, and the rows
// that the shard refused. Safe for concurrent use.
type shardCounters struct {
	// mu guards the fields below. It is taken behind a lane's and
	// Sink.reconciling.
	mu          sync.Mutex
	tallies     [pingline.TotalLines + 1]Tally // by total, without Start and Queued
	deadLetters map[string]uint64              // rows that the shard refused, by reason, of which there are few
}

// progress is how far one lane has come. Safe for concurrent use.
type progress struct {
	counters *shardCounters // of the lane's shard
	total    int

	// mu guards the fields below. It is taken behind that of the shard's holes;
	// nothing else is locked under it.
	mu      sync.Mutex
	read    queue.Cursor // by the batcher
	seen    uint64       // entries of its kind in that
	claimed uint64       // those of the lane among them
	pending uint64       // of the lane, read and not delivered
	filling time.Time    // since of the batch that waits to go; zero if none
	latest  time.Time    // since of the last batch
}

// filled records that b waits to be dispatched.
func (p *progress) filled(b *batch.Encoded) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.filling = b.Since
}

// dispatched counts b as in flight and records the batcher's position.
func (p *progress) dispatched(b *batch.Encoded, r *batch.Batcher) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.filling, p.latest = time.Time{}, b.Since
	p.pending += uint64(b.Len())
	p.read, p.seen, p.claimed = r.Done, r.Seen, r.Claimed
}

// skipped records that the batcher goes on elsewhere.
func (p *progress) skipped(to queue.Cursor) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.read = to
}

func (p *progress) written(rows int) {
	p.counters.mu.Lock()
	p.counters.tallies[p.total].Written += uint64(rows)
	p.counters.mu.Unlock()
	p.delivered(rows)
}

func (p *progress) deadLettered(bad []refusedRow) {
	for _, r := range bad {
		r.why.by.counters.refused(r.why.Reason)
	}
	p.counters.mu.Lock()
	p.counters.tallies[p.total].DeadLettered += uint64(len(bad))
	p.counters.mu.Unlock()
	p.delivered(len(bad))
}

// refused counts a row that the shard itself refused, of any shard's lanes.
func (a *shardCounters) refused(reason string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.deadLetters == nil {
		a.deadLetters = make(map[string]uint64)
	}
	a.deadLetters[reason]++
}

func (p *progress) delivered(rows int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pending -= uint64(rows)
}

func (p *progress) damage(n uint64) {
	p.counters.mu.Lock()
	defer p.counters.mu.Unlock()
	p.counters.tallies[p.total].Damaged += n
}

// laneProgress is the position of a lane at one moment.
type laneProgress struct {
	next    uint64    // of the first commit that is not all delivered
	since   time.Time // when the commit there was written, if known
	pending uint64    // read and not delivered
	unread  float64   // estimate of the entries not read
}

// progressAt returns the lane's position, with the head of the log at head.
func (l *lane) progressAt(head queue.Cursor) (st laneProgress) {
	l.mu.Lock()
	st.next = l.delivered.Next
	if len(l.inFlight) > 0 {
		st.since = l.inFlight[0].since
	}
	l.mu.Unlock()
	p := &l.progress
	p.mu.Lock()
	defer p.mu.Unlock()
	st.pending = p.pending
	if st.since.IsZero() {
		st.since = p.filling
	}
	if st.since.IsZero() && st.next < head.Next {
		st.since = p.latest
	}
	st.unread = p.unread(p.read, head, l.batcher.End)
	return st
}

// unread estimates how many entries of a lane lie from at to end, or to the head
// if that is 0: the same part of them as of the entries that it has read.
func (p *progress) unread(at, head queue.Cursor, end uint64) float64 {
	ahead := float64(batch.Lack(head.Totals, at.Totals, p.total))
	if end != 0 && head.Next > at.Next { // a part of that
		ahead *= float64(max(end, at.Next)-at.Next) / float64(head.Next-at.Next)
	}
	return ahead * float64(p.claimed+1) / float64(p.seen+uint64(route.LaneKinds))
}

// lanesProgress returns the positions of a shard's lanes, as of head; holes count
// as backfill.
func (s *Sink) lanesProgress(i int, head queue.Cursor) (list [route.LaneKinds]laneProgress) {
	for kind := range route.LaneKinds {
		list[kind] = s.lane(i, kind).progressAt(head)
	}
	// Holes are read after live, so that they show all that live has skipped.
	hs, p := &s.shards[i].holes, &s.lane(i, route.Live).progress
	hs.mu.Lock()
	defer hs.mu.Unlock()
	for j, h := range hs.list {
		var st laneProgress
		if j == 0 && hs.active != nil {
			st = hs.active.progressAt(head)
		} else {
			p.mu.Lock()
			st = laneProgress{next: h.At.Next, unread: p.unread(h.At, head, h.End)}
			p.mu.Unlock()
		}
		list[route.Backfill].join(st)
	}
	return list
}

func (s *laneProgress) join(o laneProgress) {
	s.next = min(s.next, o.next)
	s.pending += o.pending
	s.unread += o.unread
	if s.since.IsZero() || !o.since.IsZero() && o.since.Before(s.since) {
		s.since = o.since
	}
}

// sinkProgress is the position of all lanes at one moment.
type sinkProgress struct {
	Account
	head  queue.Cursor
	lanes [][route.LaneKinds]laneProgress
}

func (s *Sink) snapshot() (v sinkProgress) {
	head := s.cfg.Log.Head()
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
		sh.counters.mu.Lock()
		for total, t := range sh.counters.tallies {
			sums[total].Written += t.Written
			sums[total].DeadLettered += t.DeadLettered
			sums[total].Damaged += t.Damaged
		}
		sh.counters.mu.Unlock()
	}
	// The log is read last, so that it is never behind the lanes.
	now := s.cfg.Log.Head()
	for total := range sums {
		t := &sums[total]
		passed := t.Start + t.Written + t.DeadLettered + t.Damaged
		switch still := atHead[total] && now.Next == head.Next; {
		case still:
			t.Damaged += s.reconcile(total, now.Totals[total]-passed)
		case now.Totals[total] > passed:
			t.Queued = now.Totals[total] - passed
		}
	}
	v.Pings, v.Lines = sums[pingline.TotalStored], sums[pingline.TotalLines]
	v.splitQueued()
	return v
}

// reconcile closes the gap that damage has left, once all lanes are at the end of
// the log, and returns how many entries are damaged beyond those counted, below
// zero if need be: the one lane that counts a lost commit cannot know which of its
// entries others had passed before it was lost, nor which entries others find lost
// that it had passed itself. Without damage, or beyond it, gap is a fault of ours and stays.
// The caller holds reconciling.
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
		if l.batcher.Counts && l.progress.total == total {
			l.correct(gap)
		}
	}
	return gap
}

// splitQueued turns the estimates of the lanes into parts of the exact total.
func (v *sinkProgress) splitQueued() {
	for total, queued := range map[int]uint64{pingline.TotalStored: v.Pings.Queued, pingline.TotalLines: v.Lines.Queued} {
		var known uint64
		var unread float64
		var most *laneProgress
		for i := range v.lanes {
			for kind := range route.LaneKinds {
				if st := &v.lanes[i][kind]; kind.Total() == total {
					known += st.pending
					unread += st.unread
					if most == nil || st.unread > most.unread {
						most = st
					}
				}
			}
		}
		rest := queued - min(known, queued)
		for i, left := 0, rest; i < len(v.lanes); i++ {
			for kind := range route.LaneKinds {
				if st := &v.lanes[i][kind]; kind.Total() == total && unread > 0 {
					part := min(uint64(float64(rest)*st.unread/unread), left)
					st.pending += part
					left -= part
				}
			}
			if i == len(v.lanes)-1 {
				most.pending += left
			}
		}
	}
}

// Memory returns how many bytes are taken by batches, in flight or being filled,
// and by the cache of routes. The batches take about Config.BatchMemory, three times
// that while all of it is being written; the cache takes route.CacheBytes at most.
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
	list := make([]Stats, len(s.shards))
	for i, sh := range s.shards {
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
	s.counters.mu.Lock()
	st.DeadLetters = maps.Clone(s.counters.deadLetters)
	s.counters.mu.Unlock()
	took, retries := s.health.Counted()
	st.Written, st.Lines, st.Retries = took[route.Critical]+took[route.Live]+took[route.Backfill], took[route.Own], retries
	if stop, err := s.health.Trouble(); err != nil {
		st.LastError, st.Stopped = err.Error(), stop
	}
}
