package sink

import (
	"cmp"
	"fmt"
	"maps"
	"sync"
	"time"

	"pingline"
	"pingline/queue"
	"pingline/sink/limit"
)

// Breaker states, as Stats has them.
const (
	Closed   = limit.Closed
	HalfOpen = limit.HalfOpen
	Open     = limit.Open
)

// Account says what became of the pings in the log, and of our own lines. All
// lanes together make it up: each entry is counted once, as its lane passes it.
type Account struct {
	Pings, Lines Tally
}

// Tally is one of these equations. Every entry the log ever held is in one place:
//
//	total of the log = Start + Written + DeadLettered + Damaged + Queued
//
// Queued follows from the others while lanes are on their way. Once all of them
// have come to the end of the log nothing waits, and it is 0 whatever they have
// counted: then the equation shows whether an entry was missed, or taken by two.
type Tally struct {
	Start        uint64 // passed at New, and what lies before all cursors
	Written      uint64 // taken by the stores
	DeadLettered uint64 // refused and put aside
	Damaged      uint64 // lost by the log
	Queued       uint64 // not passed yet
}

// Stats says how one shard does, since New.
type Stats struct {
	Shard       string
	Pings       bool              // pings are spread over it, or a route leads some to it; else it gets our own lines only
	Written     uint64            // pings it has taken, those of shards it stands in for among them
	Lines       uint64            // our own lines it has taken, likewise
	DeadLetters map[string]uint64 // that it refused, whoever's they are, and that were put aside, by reason
	Unkept      uint64            // of those, rows beyond its retention that were counted, and not kept
	Queued      uint64            // entries that its lanes have not passed: the sum of theirs
	Lanes       []LaneStats

	Oldest      time.Duration // how long the oldest commit not passed has waited; 0 if none is known
	Retries     uint64        // attempts that have to be made again
	Breaker     int           // Closed, HalfOpen or Open
	BreakerOpen time.Duration // how long it has not been closed; 0 if it is
	Down        time.Duration // how long it has not stored what it was given; 0 if it does
	HandedOver  bool          // others stand in for it
	InFlight    int           // writes under way
	Limit       int           // how many there may be
	LastError   string        // why the last attempt failed, or a lane stands still; "" if neither is so
	Stopped     string        // what an operator must put right, one of Stops; "" if nothing
}

// LaneStats says how far a lane is; backfill includes holes.
type LaneStats struct {
	Lane string // critical, live, backfill or own
	// Queued is how many entries it has not passed. What is not read yet is an
	// estimate by the lane's part of what was; over all lanes the sum is exact.
	Queued uint64
	Oldest time.Duration // how long the oldest commit it has not passed has waited; 0 if none is known
	Behind uint64        // how many commits that are
}

// DeadLettered returns the number of dead letters for all reasons.
func (s *Stats) DeadLettered() (n uint64) {
	for _, c := range s.DeadLetters {
		n += c
	}
	return n
}

// accounts are what became of the entries of a shard's lanes, safe for concurrent use.
type accounts struct {
	mu          sync.Mutex
	tallies     [pingline.TotalLines + 1]Tally // by total, without Start and Queued
	deadLetters map[string]uint64              // what the shard refused, by reason, of which there are few
}

// books are what is known of one lane, safe for concurrent use, and what keeps
// it from going on other than its store.
type books struct {
	*accounts
	total int

	own     sync.Mutex
	read    queue.Cursor // by the batcher
	seen    uint64       // entries of its kind in that
	claimed uint64       // its own among them
	pending uint64       // its own, not settled
	filling time.Time    // since of the batch that waits to go; zero if none
	latest  time.Time    // since of the last batch

	stands       int       // batches that cannot go on
	problem      error     // of one of them; nil if there is none
	reason       string    // one of Stops
	advice       string    // what to do about it
	troubled     time.Time // since when
	lastReported time.Time
}

// filled notes that b waits to go.
func (k *books) filled(b *batch) {
	k.own.Lock()
	defer k.own.Unlock()
	k.filling = b.since
}

// took notes that b goes, and how far the batcher has read.
func (k *books) took(b *batch, r *batcher) {
	k.own.Lock()
	defer k.own.Unlock()
	k.filling, k.latest = time.Time{}, b.since
	k.pending += uint64(b.len())
	k.read, k.seen, k.claimed = r.done, r.seen, r.claimed
}

// jumped notes that the batcher goes on elsewhere.
func (k *books) jumped(to queue.Cursor) {
	k.own.Lock()
	defer k.own.Unlock()
	k.read = to
}

func (k *books) wrote(_ *batch, rows []int) {
	k.mu.Lock()
	k.tallies[k.total].Written += uint64(len(rows))
	k.mu.Unlock()
	k.settled(len(rows))
}

func (k *books) buried(_ *batch, rows []int, why *refusal) {
	why.by.books.refused(why.Reason, len(rows))
	k.mu.Lock()
	k.tallies[k.total].DeadLettered += uint64(len(rows))
	k.mu.Unlock()
	k.settled(len(rows))
}

// refused counts rows that the shard itself refused, whoever's they are.
func (a *accounts) refused(reason string, rows int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.deadLetters == nil {
		a.deadLetters = make(map[string]uint64)
	}
	a.deadLetters[reason] += uint64(rows)
}

func (k *books) settled(rows int) {
	k.own.Lock()
	defer k.own.Unlock()
	k.pending -= uint64(rows)
}

func (k *books) damage(n uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.tallies[k.total].Damaged += n
}

// reportEvery is how often a trouble that lasts is logged.
const reportEvery = time.Minute

// trouble notes that a batch of the lane cannot go on for now, which is news if
// it is its first trouble.
func (k *books) trouble(l *lane, err error, first bool) {
	now := time.Now()
	reason, advice := stop(err)
	k.own.Lock()
	defer k.own.Unlock()
	if first {
		k.stands++
	}
	news := k.problem == nil || k.reason != reason
	if k.problem == nil {
		k.troubled = now
	}
	k.problem, k.reason, k.advice = err, reason, advice
	if !news && now.Sub(k.lastReported) < reportEvery {
		return
	}
	k.lastReported = now
	l.cfg.Logger.Error("a lane stands still until this is put right; all is kept", "shard", l.home.Name, "lane", l.class, "reason", reason, "error", err, "advice", advice)
}

// fine notes that a batch that stood can go on.
func (k *books) fine(l *lane) {
	k.own.Lock()
	defer k.own.Unlock()
	if k.stands--; k.stands > 0 {
		return
	}
	k.problem = nil
	l.cfg.Logger.Info("the lane goes on", "shard", l.home.Name, "lane", l.class, "after", time.Since(k.troubled).Round(time.Millisecond))
}

// note says what keeps the lane from going on, or nothing.
func (k *books) note(l *lane) string {
	k.own.Lock()
	defer k.own.Unlock()
	if k.problem == nil {
		return ""
	}
	return fmt.Sprintf("shard %s, %v: nothing written for %v: %v", l.home.Name, l.class, time.Since(k.troubled).Round(time.Second), k.problem) + advised(k.advice)
}

// stopped tells what the lane stands still for, in few words and in full; ""
// if it does not.
func (k *books) stopped() (reason, problem string) {
	k.own.Lock()
	defer k.own.Unlock()
	if k.problem == nil {
		return "", ""
	}
	return k.reason, k.problem.Error()
}

// standing is where a lane is.
type standing struct {
	next    uint64    // before all that is not settled
	since   time.Time // when the commit there was written, if known
	pending uint64    // read and not settled
	unread  float64   // estimate of what is not read
}

// standing returns where the lane is, with the head of the log at head.
func (l *lane) standing(head queue.Cursor) (st standing) {
	l.mu.Lock()
	st.next = l.settled.Next
	if len(l.flight) > 0 {
		st.since = l.flight[0].since
	}
	l.mu.Unlock()
	k := &l.books
	k.own.Lock()
	defer k.own.Unlock()
	st.pending = k.pending
	if st.since.IsZero() {
		st.since = k.filling
	}
	if st.since.IsZero() && st.next < head.Next {
		st.since = k.latest
	}
	st.unread = k.unread(k.read, head, l.batcher.end)
	return st
}

// unread estimates how many entries of a lane lie from at to end, or to the head
// if that is 0: as many as were its own of what it has read.
func (k *books) unread(at, head queue.Cursor, end uint64) float64 {
	ahead := float64(lack(head.Totals, at.Totals, k.total))
	if end != 0 && head.Next > at.Next { // a part of that
		ahead *= float64(max(end, at.Next)-at.Next) / float64(head.Next-at.Next)
	}
	return ahead * float64(k.claimed+1) / float64(k.seen+uint64(laneKinds))
}

// standings returns where the lanes of a shard are, as of head; holes count as
// backfill.
func (s *Sink) standings(i int, head queue.Cursor) (list [laneKinds]standing) {
	for kind := range laneKinds {
		list[kind] = s.lane(i, kind).standing(head)
	}
	// Read behind live, holes show whatever live has left out.
	hs, k := &s.shards[i].holes, &s.lane(i, live).books
	hs.mu.Lock()
	defer hs.mu.Unlock()
	for j, h := range hs.list {
		var st standing
		if j == 0 && hs.active != nil {
			st = hs.active.standing(head)
		} else {
			k.own.Lock()
			st = standing{next: h.at.Next, unread: k.unread(h.at, head, h.end)}
			k.own.Unlock()
		}
		list[backfill].join(st)
	}
	return list
}

func (s *standing) join(o standing) {
	s.next = min(s.next, o.next)
	s.pending += o.pending
	s.unread += o.unread
	if s.since.IsZero() || !o.since.IsZero() && o.since.Before(s.since) {
		s.since = o.since
	}
}

// survey is the state of all lanes at one moment.
type survey struct {
	Account
	head  queue.Cursor
	lanes [][laneKinds]standing
}

func (s *Sink) survey() (v survey) {
	head := s.cfg.Log.Head()
	v.head = head
	atHead := [...]bool{pingline.TotalStored: true, pingline.TotalLines: true}
	for i := range s.shards {
		list := s.standings(i, head)
		v.lanes = append(v.lanes, list)
		for kind, st := range list {
			total := laneKind(kind).total()
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
		sh.books.mu.Lock()
		for total, t := range sh.books.tallies {
			sums[total].Written += t.Written
			sums[total].DeadLettered += t.DeadLettered
			sums[total].Damaged += t.Damaged
		}
		sh.books.mu.Unlock()
	}
	// Read behind all else, the log is never behind what was passed.
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
	v.share()
	return v
}

// reconcile settles what damage has left open, once all lanes are at the end of
// the log, and returns what is damaged beyond what was counted, less than nothing
// if need be: the one lane that counts a lost commit cannot know which of its
// entries others had passed before it was lost, nor what others find lost that it
// had passed itself. Without damage, or beyond it, gap is a fault of ours and stays.
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
		if l.batcher.counts && l.books.total == total {
			l.correct(gap)
		}
	}
	return gap
}

// share turns the estimates of the lanes into parts of what is queued.
func (v *survey) share() {
	for total, queued := range map[int]uint64{pingline.TotalStored: v.Pings.Queued, pingline.TotalLines: v.Lines.Queued} {
		var known uint64
		var unread float64
		var most *standing
		for i := range v.lanes {
			for kind := range laneKinds {
				if st := &v.lanes[i][kind]; kind.total() == total {
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
			for kind := range laneKinds {
				if st := &v.lanes[i][kind]; kind.total() == total && unread > 0 {
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

// Memory returns how many bytes batches take, on their way or being filled, and
// what the lanes have been told of commits. It is about Config.BatchMemory, three
// times over while all of it is being written, and dealerBytes at most.
func (s *Sink) Memory() int64 {
	sum := int64(s.dealer.size())
	for _, sh := range s.shards {
		sum += sh.memory.Load()
	}
	return sum
}

// Account returns what became of all that is in the log.
func (s *Sink) Account() Account { return s.survey().Account }

// Stats returns how each shard does, in the order of Config.Shards.
func (s *Sink) Stats() []Stats {
	v := s.survey()
	list := make([]Stats, len(s.shards))
	for i, sh := range s.shards {
		st := &list[i]
		sh.stats(st)
		st.HandedOver, st.Pings = s.away(sh), s.router.pings(i)
		for _, l := range s.lanesOf(i) {
			reason, problem := l.books.stopped()
			st.Stopped, st.LastError = cmp.Or(st.Stopped, reason), cmp.Or(st.LastError, problem)
		}
		for kind, at := range v.lanes[i] {
			l := LaneStats{Lane: laneNames[kind], Queued: at.pending, Behind: v.head.Next - min(at.next, v.head.Next)}
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
	st.Down = s.down()
	st.Unkept = s.expiry.skipped()
	st.InFlight, st.Limit = s.writes.InFlight()
	s.books.mu.Lock()
	st.DeadLetters = maps.Clone(s.books.deadLetters)
	s.books.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	st.Written, st.Lines, st.Retries = s.took[critical]+s.took[live]+s.took[backfill], s.took[own], s.retries
	if s.problem != nil {
		st.LastError, st.Stopped = s.problem.Error(), s.reason
	}
}
