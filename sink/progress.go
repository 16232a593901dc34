package sink

import (
	"maps"
	"pingline"
	"pingline/queue"
	"pingline/sink/batch"
	"pingline/sink/route"
	"sync"
	"time"
)

// fates count entries that lanes have passed.
type fates struct {
	written      uint64 // taken by a store, or of a rider who was erased meanwhile
	deadLettered uint64 // refused and put aside
	damaged      uint64 // lost by the log
	givenUp      uint64 // passed because the log was filling up
}

// shardCounters count the entries of a shard's lanes by their fate, and the rows
// that the shard refused. Safe for concurrent use.
type shardCounters struct {
	// mu guards the fields below. It is taken after the mutexes of lanes;
	// nothing else is locked under it.
	mu          sync.Mutex
	fates       [pingline.TotalLines + 1]fates // by total
	deadLetters map[string]uint64              // rows that the shard refused, by reason; there are few reasons
	bare        uint64                         // pings written without their attributes
}

// progress is how far a lane has come. Safe for concurrent use.
type progress struct {
	counters *shardCounters // of the lane's shard
	total    int

	// mu guards the fields below. It is taken after the mutex of the shard's
	// holes; nothing else is locked under it.
	mu      sync.Mutex
	read    queue.Cursor // position of the batcher
	seen    uint64       // entries of the lane's kind before read
	claimed uint64       // entries of the lane among seen
	pending uint64       // entries of the lane read and not delivered
	filling time.Time    // since of the batch that waits to go; zero if none
	latest  time.Time    // since of the last batch
}

// newProgress returns the progress of a lane that reads on at a cursor and is
// counted in a total.
func newProgress(counters *shardCounters, total int, at queue.Cursor) *progress {
	return &progress{counters: counters, total: total, read: at}
}

// filled records that b waits to be dispatched.
func (p *progress) filled(b *batch.Encoded) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.filling = b.Since
}

// dispatched counts b as in flight and records the batcher's position.
func (p *progress) dispatched(b *batch.Encoded, r *batch.Batcher) {
	if b.Erased > 0 {
		p.counters.mu.Lock()
		p.counters.fates[p.total].written += b.Erased
		p.counters.mu.Unlock()
	}
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

// written counts rows of the lane that a store has taken.
func (p *progress) written(rows int) {
	p.counters.mu.Lock()
	p.counters.fates[p.total].written += uint64(rows)
	p.counters.mu.Unlock()
	p.delivered(rows)
}

// deadLettered counts rows of the lane that became dead letters.
func (p *progress) deadLettered(rows int) {
	p.counters.mu.Lock()
	p.counters.fates[p.total].deadLettered += uint64(rows)
	p.counters.mu.Unlock()
	p.delivered(rows)
}

// givenUp counts rows of the lane that are not written any more.
func (p *progress) givenUp(rows int) {
	p.counters.mu.Lock()
	p.counters.fates[p.total].givenUp += uint64(rows)
	p.counters.mu.Unlock()
	p.delivered(rows)
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

// passed returns the counts, by total.
func (a *shardCounters) passed() [pingline.TotalLines + 1]fates {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.fates
}

// undressed counts pings that were written without their attributes.
func (a *shardCounters) undressed(pings uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.bare += pings
}

// withoutAttrs returns how many pings were written without their attributes.
func (a *shardCounters) withoutAttrs() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.bare
}

// refusals returns how many rows the shard refused, by reason.
func (a *shardCounters) refusals() map[string]uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.deadLetters)
}

func (p *progress) delivered(rows int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pending -= uint64(rows)
}

// damage counts entries that the lane has passed and the log has lost; n wraps around
// to subtract.
func (p *progress) damage(n uint64) {
	p.counters.mu.Lock()
	defer p.counters.mu.Unlock()
	p.counters.fates[p.total].damaged += n
}

// lanePosition is the position of a lane at a moment.
type lanePosition struct {
	next    uint64    // number of the first commit that is not delivered completely
	since   time.Time // when that commit was written, if known
	pending uint64    // read and not delivered
	unread  float64   // estimate of the entries not read
}

// at returns the position of the lane, which begins at next, given the time of its
// first batch in flight, if there is one, and the head of the log. end is where a
// hole ends, 0 if the lane fills none.
func (p *progress) at(next uint64, since time.Time, head queue.Cursor, end uint64) lanePosition {
	p.mu.Lock()
	defer p.mu.Unlock()
	st := lanePosition{next: next, since: since, pending: p.pending}
	if st.since.IsZero() {
		st.since = p.filling
	}
	if st.since.IsZero() && st.next < head.Next {
		st.since = p.latest
	}
	st.unread = p.unread(p.read, head, end)
	return st
}

// leftOut returns the position of a hole that the lane has left from at to end, and that
// no lane fills yet.
func (p *progress) leftOut(at, head queue.Cursor, end uint64) lanePosition {
	p.mu.Lock()
	defer p.mu.Unlock()
	return lanePosition{next: at.Next, unread: p.unread(at, head, end)}
}

// unread estimates how many entries of the lane lie from at to end, or to the
// head if end is 0, by the lane's part of the entries that it has read.
func (p *progress) unread(at, head queue.Cursor, end uint64) float64 {
	ahead := float64(batch.Lack(head.Totals, at.Totals, p.total))
	if end != 0 && head.Next > at.Next { // the part up to end
		ahead *= float64(max(end, at.Next)-at.Next) / float64(head.Next-at.Next)
	}
	return ahead * float64(p.claimed+1) / float64(p.seen+uint64(route.LaneKinds))
}

// join adds the position of another lane of the same kind and shard.
func (s *lanePosition) join(o lanePosition) {
	s.next = min(s.next, o.next)
	s.pending += o.pending
	s.unread += o.unread
	if s.since.IsZero() || !o.since.IsZero() && o.since.Before(s.since) {
		s.since = o.since
	}
}

// splitQueued turns the estimates of the lanes of all shards into parts of the exact
// totals that are queued.
func splitQueued(lanes [][route.LaneKinds]lanePosition, queued [pingline.TotalLines + 1]uint64) {
	for _, total := range [...]int{pingline.TotalStored, pingline.TotalLines} {
		var known uint64
		var unread float64
		var most *lanePosition
		for i := range lanes {
			for kind := range route.LaneKinds {
				if st := &lanes[i][kind]; kind.Total() == total {
					known += st.pending
					unread += st.unread
					if most == nil || st.unread > most.unread {
						most = st
					}
				}
			}
		}
		rest := queued[total] - min(known, queued[total])
		for i, left := 0, rest; i < len(lanes); i++ {
			for kind := range route.LaneKinds {
				if st := &lanes[i][kind]; kind.Total() == total && unread > 0 {
					part := min(uint64(float64(rest)*st.unread/unread), left)
					st.pending += part
					left -= part
				}
			}
			if i == len(lanes)-1 {
				most.pending += left
			}
		}
	}
}
