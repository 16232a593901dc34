package forward

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"pingline"
	"pingline/dedupe"
	"pingline/ingest"
	"pingline/partition"
)

// Submit has j judged as ingest.Writer.Submit does, by the owners of its pings' parts. Bound is the largest that is in
// force in the parts. A request that no part can take whole is refused by ingest.ErrTooLarge; a part away by an error
// wrapping ingest.ErrUnavailable that names the part. If j.Partial is set, and another part has judged its pings, that
// error is j.Away instead, and the pings of parts that are away have no verdict.
//
// Each part may bring as many new tracks as the Allowance has room for, so a request can bring that many times the
// number of its parts; all of them are charged.
func (f *Forwarder) Submit(j *ingest.Job) error {
	if f.ours(j) {
		return f.cfg.Local(j)
	}
	s := f.splits.Get().(*split)
	err := f.submit(s, j)
	f.put(s)
	if err != nil {
		j.New = 0
		var now ingest.Job
		if f.cfg.Local(&now) == nil { // a job without pings is told the bound
			j.Bound = now.Bound
		}
	}
	return err
}

// ours reports whether a job is for the own writer alone.
func (f *Forwarder) ours(j *ingest.Job) bool {
	if len(j.Entries) > 0 {
		return true
	}
	last := ""
	for i := range j.Pings {
		rider := j.Pings[i].Rider
		if rider == last {
			continue
		}
		if partition.Part(rider, f.cfg.Parts) != f.cfg.Own {
			return false
		}
		last = rider
	}
	return true
}

// split is a job on its way to several parts.
type split struct {
	of      []uint8                   // part of each ping
	calls   [partition.MaxParts]*call // by part; nil: no ping of it
	touched []uint8                   // parts of calls, in order of their first ping
	local   call                      // of the own part
	own     ingest.Job                // pings of the own part
	purse   purse
}

func (f *Forwarder) submit(s *split, j *ingest.Job) error {
	patience := f.cfg.Patience
	if j.Patience > 0 {
		patience = min(patience, j.Patience)
	}
	until := time.Now().Add(patience)
	room := unlimited
	if j.Allowance != nil {
		room = max(0, j.Allowance.Room())
	}
	f.deal(s, j, room)
	remote := int64(0)
	for _, part := range s.touched {
		if c := s.calls[part]; c != &s.local {
			c.until = until
			f.send(c)
			remote++
		}
	}
	f.waiting.Add(remote)
	if s.local.pings > 0 {
		s.judge(f.cfg.Local, j, room)
	}
	for _, part := range s.touched {
		if c := s.calls[part]; c != &s.local {
			cause := c.wait(f.cfg.Owner)
			for cause == "" && f.again(c) {
				cause = c.wait(f.cfg.Owner)
			}
			if cause != "" {
				s.calls[part] = &call{part: c.part, pings: c.pings, err: c.refusal(cause)} // c is still in use
			}
		}
	}
	f.waiting.Add(-remote)
	return f.join(s, j)
}

// deal finds the part of each ping, and encodes those of other parts, because strings of pings are the caller's.
func (f *Forwarder) deal(s *split, j *ingest.Job, room int) {
	s.of = slices.Grow(s.of[:0], len(j.Pings))
	last, part := "", -1
	for i := range j.Pings {
		p := &j.Pings[i]
		if part < 0 || p.Rider != last {
			last, part = p.Rider, partition.Part(p.Rider, f.cfg.Parts)
		}
		s.of = append(s.of, uint8(part))
		c := s.calls[part]
		if c == nil {
			if c = &s.local; part != f.cfg.Own {
				c = f.calls.Get().(*call)
			}
			c.begin(part, p.At, j.Urgent, room)
			s.calls[part] = c
			s.touched = append(s.touched, uint8(part))
		}
		c.pings++
		if part == f.cfg.Own {
			s.own.Pings, s.own.Cells = append(s.own.Pings, *p), append(s.own.Cells, j.Cells[i])
		} else {
			c.entries = appendPing(c.entries, p, j.Cells[i], c.at)
		}
	}
}

// judge has the pings of the own part judged here.
func (s *split) judge(local func(*ingest.Job) error, j *ingest.Job, room int) {
	own, c := &s.own, &s.local
	own.Urgent, own.Patience, own.Allowance = j.Urgent, j.Patience, nil
	if room != unlimited {
		s.purse.room = room
		own.Allowance = &s.purse
	}
	if c.err = local(own); c.err == nil {
		c.bound, c.new = own.Bound, own.New
		c.verdicts, c.over = append(c.verdicts, own.Verdicts...), append(c.over, own.Over...)
	}
}

// join makes the answers of the parts that of j.
func (f *Forwarder) join(s *split, j *ingest.Job) error {
	var err error
	judged, away, added, over, out := uint64(0), uint64(0), 0, 0, 0
	j.Bound, j.Over, j.Away = dedupe.Bound{}, j.Over[:0], nil
	for _, part := range s.touched {
		c := s.calls[part]
		if c.err != nil {
			err, out = worse(err, c.err), out+c.pings
			if c != &s.local {
				away++
			}
			continue
		}
		if c == &s.local {
			judged = uint64(c.pings)
		}
		added, over = added+c.new, over+len(c.over)
		j.Bound.MaxError, j.Bound.AccuracyCap = max(j.Bound.MaxError, c.bound.MaxError), max(j.Bound.AccuracyCap, c.bound.AccuracyCap)
	}
	if added > 0 && j.Allowance != nil {
		j.Allowance.Pay(added) // also if the request is refused: sent again, these tracks are known
	}
	if j.Partial && out < len(j.Pings) && errors.Is(err, ingest.ErrUnavailable) {
		j.Away, err = err, nil
	}
	var sent [pingline.Verdicts]uint64
	if err == nil {
		j.New = added
		f.scatter(s, j, &sent)
		if over == len(j.Pings)-out && j.Allowance != nil { // nothing was kept
			err = j.Allowance.Refusal()
		}
	}
	f.counts.Lock()
	defer f.counts.Unlock()
	f.stats.Away += away
	if err != nil {
		f.stats.Unanswered += judged
		return err
	}
	f.stats.Unavailable += uint64(out)
	for v, n := range sent {
		f.stats.Sent[v] += n
	}
	return nil
}

// scatter puts the verdicts of the parts in the order of j's pings, and counts those by peers. Pings of a part that has
// not judged them get none.
func (f *Forwarder) scatter(s *split, j *ingest.Job, sent *[pingline.Verdicts]uint64) {
	j.Verdicts = slices.Grow(j.Verdicts[:0], len(s.of))
	for i, part := range s.of {
		c := s.calls[part]
		if c.err != nil {
			j.Verdicts = append(j.Verdicts, 0)
			continue
		}
		v := c.verdicts[c.next]
		if c.nextOver < len(c.over) && int(c.over[c.nextOver]) == c.next {
			j.Over = append(j.Over, int32(i))
			c.nextOver++
		}
		c.next++
		j.Verdicts = append(j.Verdicts, v)
		if c != &s.local {
			sent[v]++
		}
	}
}

// mostKept is the most pings of a split whose memory is kept.
const mostKept = 4096

// put keeps the memory of s, and none of its strings.
func (f *Forwarder) put(s *split) {
	for _, part := range s.touched {
		if c := s.calls[part]; c != &s.local && c.done != nil && cap(c.entries) <= mostKept*64 {
			f.calls.Put(c)
		}
		s.calls[part] = nil
	}
	s.touched, s.local.pings = s.touched[:0], 0
	clear(s.own.Pings)
	s.own.Pings, s.own.Cells, s.own.Allowance = s.own.Pings[:0], s.own.Cells[:0], nil
	if cap(s.of) <= mostKept {
		f.splits.Put(s)
	}
}

// unlimited is the room of a job without a limit of new tracks.
const unlimited = math.MaxInt

// call is the part of a job that an owner judges. Once it is sent its memory is the sender's until done has a value.
type call struct {
	part   int
	addr   string // of the owner
	node   string // its name, "" if it is not known
	urgent bool
	room   int   // most new tracks
	at     int64 // ms: times of entries count from it
	pings  int
	until  time.Time // the answer is of no use afterwards

	entries []byte

	err      error
	verdicts []pingline.Verdict
	over     []int32
	bound    dedupe.Bound
	new      int

	next, nextOver int // of verdicts and over, while they are put in order

	done  chan struct{} // has a value when the call is answered
	timer *time.Timer
}

func newCall() *call {
	c := &call{done: make(chan struct{}, 1), timer: time.NewTimer(time.Hour)}
	c.timer.Stop()
	return c
}

func (c *call) begin(part int, at int64, urgent bool, room int) {
	c.part, c.addr, c.node, c.urgent, c.room, c.at, c.pings = part, "", "", urgent, room, at, 0
	c.entries, c.verdicts, c.over = c.entries[:0], c.verdicts[:0], c.over[:0]
	c.err, c.new, c.next, c.nextOver = nil, 0, 0, 0
}

// finish answers the call.
func (c *call) finish(err error) {
	c.err = err
	c.done <- struct{}{}
}

// unjudged is the error of a call of which nothing was judged: its node could not be reached, or does not have the part.
type unjudged struct {
	error
	moved bool // another node is to be asked
}

func (e unjudged) Unwrap() error { return e.error }

// nextOwner bounds how long a call waits for the next owner of a part that was let go.
const (
	nextOwner     = 2 * time.Second
	nextOwnerLook = 3 * time.Millisecond
)

// again sends a call to the next owner of its part, once there is one, if its part was let go a moment ago and nothing of
// the call was judged. It reports false if c has its answer.
func (f *Forwarder) again(c *call) bool {
	var why unjudged
	if !errors.As(c.err, &why) {
		return false
	}
	for {
		let := time.Unix(0, f.moved[c.part].Load())
		if at := f.cfg.LetGo(c.part); at.After(let) {
			let = at
		}
		if now := time.Now(); now.Sub(let) > nextOwner || !now.Before(c.until) {
			return false
		}
		time.Sleep(nextOwnerLook)
		if to := f.cfg.Owner(c.part); to != "" && !(why.moved && to == c.addr) {
			c.err = nil
			f.send(c)
			return true
		}
	}
}

// wait waits for the answer. It returns why there is none: none came in time, or the part has another owner by now, as
// when the process was suspended for longer than its lease.
func (c *call) wait(owner func(part int) string) (cause string) {
	defer c.timer.Stop()
	for {
		select {
		case <-c.done:
			return ""
		default:
		}
		left := time.Until(c.until)
		if left <= 0 {
			return noAnswer
		}
		c.timer.Reset(min(left, ownerLook))
		select {
		case <-c.done:
			return ""
		case <-c.timer.C:
		}
		switch owner(c.part) {
		case c.addr:
		case "":
			return "its node does not answer, and has lost the part"
		default:
			return "another node has taken the part"
		}
	}
}

// ownerLook is the time after which a call that waits looks whether its owner has the part still.
const ownerLook = 200 * time.Millisecond

const noNode = "has no node now"

// unowned is the error of a part that no peer is asked for.
func unowned(part int, why string) error {
	return fmt.Errorf("part %d %s: %w", part, why, ingest.ErrUnavailable)
}

// refusal is the error of a call that its owner did not judge. Clients see it: it has no address.
func (c *call) refusal(cause string) error {
	if c.node == "" {
		return fmt.Errorf("part %d: %s: %w", c.part, cause, ingest.ErrUnavailable)
	}
	return fmt.Errorf("part %d, node %s: %s: %w", c.part, c.node, cause, ingest.ErrUnavailable)
}

// send hands a call to the queue of its owner's messages.
func (f *Forwarder) send(c *call) {
	if c.addr = f.cfg.Owner(c.part); c.addr == "" {
		c.finish(unjudged{error: unowned(c.part, noNode)})
		return
	}
	c.node = f.cfg.Name(c.part)
	if len(c.entries) > maxEntries {
		c.finish(ingest.ErrTooLarge)
		return
	}
	f.mu.RLock()
	n := f.peers[c.addr]
	if n != nil && !f.stopped {
		n.add(c)
		f.mu.RUnlock()
		return
	}
	f.mu.RUnlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopped {
		c.finish(c.refusal("shutting down"))
		return
	}
	f.neighbour(c.addr).add(c)
}
