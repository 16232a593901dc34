package sim

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	"pingline"
	"pingline/client"
	"pingline/internal/dial"
	"pingline/internal/pause"
	"pingline/sim/fault"
)

// sender is one connection.
type sender struct {
	*Load
	conn   int
	plan   plan
	phones []phone // by their slot
	batch  int     // pings in a request; less than configured after a 413
	rng    *rand.Rand
	*bodies
	journal *journal
}

// phone is a sender's memory of a phone.
type phone struct {
	rider, device string
	trip          string // of its newest ping
	last          int64  // ts of that ping, ms since 1970; 0: none
}

func newSender(l *Load, conn int, start time.Time) (*sender, error) {
	s := &sender{
		Load: l, conn: conn, batch: l.cfg.Batch,
		rng: rand.New(rand.NewPCG(l.cfg.Seed, uint64(conn))), journal: l.journal.Load(),
	}
	var err error
	s.bodies, err = newBodies(l.cfg.Format)
	s.plan = plan{
		like: l.cfg.LikePhones, faults: l.faults, offline: &l.count.faults[fault.Offline],
		uploads: uploads{conns: l.cfg.Connections, seed: l.cfg.Seed},
	}
	if l.cfg.Schedule != nil {
		s.plan.schedule = l.cfg.Schedule(conn, l.cfg.Connections, start.UnixNano())
	} else {
		end := int64(0)
		if l.cfg.For > 0 {
			end = start.Add(l.cfg.For).UnixNano()
		}
		f := newFleet(l.cfg.Phones, conn, l.cfg.Connections, l.cfg.MaxRiders, l.cfg.Shape, start.UnixNano(), end, &l.count.skipped)
		s.plan.schedule = f
		if l.cfg.Storm != (Storm{}) {
			s.plan.schedule = newStorm(f, l.cfg.Storm, l.cfg.Phones.Interval())
		}
	}
	return s, err
}

// shipment is pings that are sent together.
type shipment struct {
	pings []pingline.Ping
	due   int64 // ns since 1970
	fault.Mask
	shape uint64 // bits to shape its faults
}

// run makes pings until making is done and sends them until sending is.
func (s *sender) run(making, sending context.Context) error {
	if s.cfg.App != nil {
		return s.runApp(making, sending)
	}
	// First batches differ in size, or all connections would send at once.
	n := max(1, s.batch*(s.conn+1)/s.cfg.Connections)
	var dues []Due
	var now, kept shipment // kept is sent after the next one
	for number := int64(0); sending.Err() == nil; number++ {
		var at int64
		if dues, at = s.plan.next(dues[:0], n); len(dues) == 0 {
			break
		}
		n = s.batch
		s.journal.due(dues)
		wait := time.Until(time.Unix(0, at))
		if pause.For(making, wait) != nil {
			break
		}
		if wait < -maxBehind && s.cfg.Storm == (Storm{}) { // else the phones keep it

			s.count.skipped.Add(uint64(len(dues)))
			continue
		}
		now.pings, now.due = s.fill(now.pings[:0], dues), at
		if now.Mask, now.shape = s.faults.Request(s.conn, number); len(now.pings) == 0 {
			continue
		}
		s.count.sent.Add(uint64(len(now.pings)))
		s.journal.sent(len(now.pings))
		s.countFaults(now.Mask, 1)
		if now.Has(fault.Reorder) && len(kept.pings) == 0 {
			slices.Reverse(now.pings)
			now, kept = kept, now
			continue
		}
		err := s.deliver(sending, now.pings, &now)
		if len(kept.pings) > 0 {
			kept.due = now.due
			err = cmp.Or(err, s.deliver(sending, kept.pings, &kept))
			kept.pings = kept.pings[:0]
		}
		if err != nil {
			return err
		}
	}
	if len(kept.pings) > 0 {
		kept.due = time.Now().UnixNano()
		return s.deliver(sending, kept.pings, &kept)
	}
	return nil
}

// countFaults counts n for each kind in set.
func (s *sender) countFaults(set fault.Mask, n uint64) {
	for k := fault.Fault(0); set != 0 && k < fault.Kinds; k++ {
		if set.Has(k) {
			s.count.faults[k].Add(n)
			set &^= 1 << k
		}
	}
}

// fill appends the pings that are due to dst, of the phones that have a fix.
func (s *sender) fill(dst []pingline.Ping, dues []Due) []pingline.Ping {
	for i := range dues {
		d := &dues[i]
		ph := s.phone(d.Phone)
		since := ph.last
		if since == 0 {
			since = d.At - s.cfg.Phones.Interval().Milliseconds()
		}
		dst = append(dst, pingline.Ping{Rider: ph.rider, Device: ph.device, Trip: ph.trip})
		p := &dst[len(dst)-1]
		if !s.cfg.Phones.Update(p, d.Phone, since, d.At) {
			dst = dst[:len(dst)-1]
			continue
		}
		ph.trip, ph.last = p.Trip, d.At
		if s.faults != nil {
			s.bend(p, d)
		}
	}
	return dst
}

// bend changes a ping to what a faulty phone makes of it.
func (s *sender) bend(p *pingline.Ping, d *Due) {
	if since, stuck := s.faults.Frozen(d.Phone, d.At); stuck {
		var old pingline.Ping
		if s.cfg.Phones.Update(&old, d.Phone, since, since) {
			p.LatE7, p.LonE7 = old.LatE7, old.LonE7
			s.count.faults[fault.Frozen].Add(1)
		}
	}
	s.countFaults(s.faults.Bend(p, d.Phone, d.At), 1)
}

func (s *sender) phone(i int) *phone {
	_, slot := ConnectionOf(i, s.cfg.Connections)
	for slot >= len(s.phones) {
		s.phones = append(s.phones, phone{})
	}
	ph := &s.phones[slot]
	if ph.rider == "" {
		ph.rider, ph.device = s.cfg.Phones.Name(i)
		s.count.riders.Add(1)
	}
	return ph
}

// deliver sends pings of r until they are answered for good or ctx is done.
func (s *sender) deliver(ctx context.Context, pings []pingline.Ping, r *shipment) error {
	if r.Mask != 0 {
		if err := s.misbehave(ctx, pings, r); err != nil {
			return err
		}
	}
	if err := s.encode(pings); err != nil {
		return err
	}
	for try := 0; ; try++ {
		if try > 0 {
			s.count.retries.Add(1)
		}
		a := s.attempt(ctx, r, try)
		switch fateOf(&a) {
		case client.Judged:
			err := s.settle(pings, a, r.due)
			if err != nil {
				s.giveUp(pings)
			}
			return err
		case client.Partly:
			again, err := s.settlePart(pings, a, r.due)
			if err != nil {
				s.giveUp(pings)
				return err
			}
			pings = again
			if err := s.encode(pings); err != nil {
				return err
			}
		case client.Halve:
			if len(pings) == 1 {
				s.forget(pings)
				return nil
			}
			half := len(pings) / 2
			s.batch = max(1, min(s.batch, half))
			if err := s.deliver(ctx, pings[:half], r); err != nil {
				s.giveUp(pings[half:])
				return err
			}
			return s.deliver(ctx, pings[half:], r)
		case client.Forget:
			s.forget(pings)
			return nil
		case client.Ask:
			s.forget(pings)
			said := string(a.Body)
			for _, h := range s.cfg.Header {
				said = dial.Hide(said, h.Value)
			}
			return fmt.Errorf("send to %s: answered %d %s", s.url, a.Status, strings.TrimSpace(said[:min(len(said), 200)]))
		}
		if pause.For(ctx, s.backoff(&a, try)) != nil {
			s.giveUp(pings)
			return nil //nolint:nilerr // told to stop, which is no error
		}
	}
}

// post sends a body once, and counts the answer.
func (s *sender) post(ctx context.Context, body io.Reader, length int) client.Response {
	s.count.requests.Add(1)
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, body)
	if err != nil {
		return client.Response{ShedLevel: -1}
	}
	req.ContentLength = int64(length)
	for _, h := range s.cfg.Header {
		req.Header.Add(h.Name, h.Value)
	}
	kind, coding := s.headers()
	req.Header.Set("Content-Type", kind)
	if coding != "" {
		req.Header.Set("Content-Encoding", coding)
	}
	a := s.do(req)
	s.journal.ended(&a)
	if a.Status != http.StatusOK {
		s.count.refuse(a.Status)
		// The transport may not be done with the body: it is not ours to reuse.
		s.body = bytes.Clone(s.body)
	}
	return a
}

func (s *sender) do(req *http.Request) client.Response {
	resp, err := s.client.Do(req)
	if err != nil {
		s.count.lose(err)
		return client.Response{ShedLevel: -1}
	}
	defer func() { _ = resp.Body.Close() }() // read as far as it matters
	a, err := client.Read(resp)
	if err != nil {
		s.count.lose(err)
	}
	return a
}

// backoff returns how long to wait after the try-th refusal: what the answer
// says and up to half as much again, or twice as long each time.
func (s *sender) backoff(a *client.Response, try int) time.Duration {
	if d := min(a.Wait(time.Now()), maxRetryAfter); d > 0 {
		return d + time.Duration(s.rng.Float64()*float64(d/2))
	}
	limit := min(5*time.Second, 100*time.Millisecond<<min(try, 10))
	return limit/4 + time.Duration(s.rng.Float64()*float64(limit))
}
