package sim

import (
	"bytes"
	"container/heap"
	"context"
	"net/http"
	"strings"
	"time"

	"pingline"
	"pingline/client"
	"pingline/internal/pause"
	"pingline/sim/apps"
)

// delivered is the place of pings without a verdict, in lists by verdict.
const delivered pingline.Verdict = 0

// appFix is a fix that a phone has taken. Its ping is made anew for each attempt.
type appFix struct {
	Due
	since int64 // ts of the fix before
	tried bool
}

// appPhone is a phone with an app.
type appPhone struct {
	queue *apps.Queue[*appFix]
	at    int64 // when its next request leaves
	place int   // in the heap; -1: nothing waits
}

// appPhones are the phones of a connection. A request of one waits while that of another is
// under way; a wait of one after a failure keeps no other from sending.
type appPhones struct {
	*sender
	phones  []*appPhone // by slot
	next    []*appPhone // a heap by at
	hurry   bool
	fixes   []*appFix
	pings   []pingline.Ping
	message apps.Posting
}

func (a *appPhones) Len() int           { return len(a.next) }
func (a *appPhones) Less(i, j int) bool { return a.next[i].at < a.next[j].at }
func (a *appPhones) Swap(i, j int) {
	a.next[i], a.next[j] = a.next[j], a.next[i]
	a.next[i].place, a.next[j].place = i, j
}

// Push is called by heap.
func (a *appPhones) Push(x any) {
	p := x.(*appPhone)
	p.place = len(a.next)
	a.next = append(a.next, p)
}

// Pop is called by heap.
func (a *appPhones) Pop() any {
	p := a.next[len(a.next)-1]
	p.place = -1
	a.next = a.next[:len(a.next)-1]
	return p
}

// order puts p where its next request belongs.
func (a *appPhones) order(p *appPhone) {
	at, ok := p.queue.Ready()
	p.at = at
	switch {
	case !ok && p.place >= 0:
		heap.Remove(a, p.place)
	case ok && p.place >= 0:
		heap.Fix(a, p.place)
	case ok:
		heap.Push(a, p)
	}
}

// runApp is run of phones with an app.
func (s *sender) runApp(making, sending context.Context) error {
	a := &appPhones{sender: s}
	defer a.leave()
	for sending.Err() == nil {
		now := time.Now().UnixNano()
		due, more := a.take(now)
		switch {
		case len(a.next) > 0 && a.next[0].at <= now:
			if err := a.send(sending, a.next[0]); err != nil {
				return err
			}
			continue
		case len(a.next) == 0 && !more:
			return nil
		case len(a.next) > 0 && (!more || a.next[0].at < due):
			due = a.next[0].at
		}
		until := sending
		if more {
			until = making
		}
		if pause.For(until, time.Until(time.Unix(0, due))) != nil && making.Err() != nil {
			s.plan.has, s.plan.done = false, true
		}
	}
	return nil
}

// take gives the phones the fixes that are due, and returns when the next is; false if there
// is none to come.
func (a *appPhones) take(now int64) (due int64, more bool) {
	for {
		d, ok := a.plan.peek()
		if !ok {
			if !a.hurry {
				a.hurry = true
				for _, p := range a.phones {
					if p != nil {
						p.queue.Hurry()
						a.order(p)
					}
				}
			}
			return 0, false
		}
		if d.Send > now {
			return d.Send, true
		}
		a.plan.has = false
		a.journal.due([]Due{d})
		ph := a.phone(d.Phone)
		fix := &appFix{Due: d, since: ph.last}
		if fix.since == 0 {
			fix.since = d.At - a.cfg.Phones.Interval().Milliseconds()
		}
		ph.last = d.At
		_, slot := ConnectionOf(d.Phone, a.cfg.Connections)
		for slot >= len(a.phones) {
			a.phones = append(a.phones, nil)
		}
		if a.phones[slot] == nil {
			a.phones[slot] = &appPhone{queue: apps.NewQueue[*appFix](a.cfg.App), place: -1}
		}
		a.phones[slot].queue.Add(fix, d.Send)
		a.order(a.phones[slot])
	}
}

// send makes one attempt of a phone.
func (a *appPhones) send(ctx context.Context, p *appPhone) error {
	defer a.order(p)
	var newest **appFix
	a.fixes, newest = p.queue.Next(a.fixes[:0])
	a.pings = a.pings[:0]
	fresh := 0
	for _, fix := range a.fixes {
		if a.make(fix) && !fix.tried {
			fresh++
		}
		fix.tried = true
	}
	n := len(a.pings)
	if n == 0 { // the phone was in a tunnel
		p.queue.Delivered()
		return nil
	}
	if newest != nil {
		a.make(*newest)
	}
	fixes := apps.Fixes{Pings: a.pings[:n]}
	if len(a.pings) > n {
		fixes.Current = &a.pings[n]
	}
	a.cfg.App.Write(&a.message, &fixes)
	a.count.sent.Add(uint64(fresh))
	a.journal.sent(fresh)
	if fresh < n {
		a.count.retries.Add(1)
	}
	answer, kind, err := a.request(ctx)
	if err != nil {
		return err
	}
	if a.cfg.App.Delivered(&answer, kind) {
		p.queue.Delivered()
		due := a.fixes[0].Send
		for _, fix := range a.fixes {
			due = min(due, fix.Send) // of the oldest, wherever it is
		}
		a.settled(&[pingline.Verdicts]uint64{delivered: uint64(n)}, due)
		return nil
	}
	if p.queue.Failed(time.Now().UnixNano()) > 0 {
		a.forget(a.pings[:n])
	}
	return nil
}

// make appends the ping of a fix to pings, if the phone has a fix.
func (a *appPhones) make(fix *appFix) bool {
	ph := a.phone(fix.Phone)
	a.pings = append(a.pings, pingline.Ping{Rider: ph.rider, Device: ph.device, Trip: ph.trip})
	p := &a.pings[len(a.pings)-1]
	if !a.cfg.Phones.Update(p, fix.Phone, fix.since, fix.At) {
		a.pings = a.pings[:len(a.pings)-1]
		return false
	}
	ph.trip = p.Trip
	return true
}

// request sends the message once, and counts the answer. The error is of a URL that is none.
func (a *appPhones) request(ctx context.Context) (answer client.Response, kind string, err error) {
	a.count.requests.Add(1)
	ctx, cancel := context.WithTimeout(ctx, a.cfg.Timeout)
	defer cancel()
	m := &a.message
	req, err := http.NewRequestWithContext(ctx, m.Method, strings.TrimRight(a.cfg.URL, "/")+m.Target, bytes.NewReader(bytes.Clone(m.Body)))
	if err != nil {
		return client.Response{}, "", err
	}
	for _, h := range a.cfg.Header {
		req.Header.Add(h.Name, h.Value)
	}
	for _, h := range m.Header {
		req.Header.Set(h[0], h[1])
	}
	if m.Kind != "" {
		req.Header.Set("Content-Type", m.Kind)
	}
	answer = client.Response{ShedLevel: -1}
	resp, err := a.client.Do(req)
	if err == nil {
		defer func() { _ = resp.Body.Close() }() // read as far as it matters
		kind = resp.Header.Get("Content-Type")
		answer, err = client.Read(resp)
	}
	if err != nil {
		a.count.lose(err)
	}
	a.journal.ended(&answer)
	if answer.Status != http.StatusOK {
		a.count.refuse(answer.Status)
	}
	return answer, kind, nil
}

// leave counts the fixes that are left when nobody sends any more.
func (a *appPhones) leave() {
	for _, p := range a.phones {
		if p == nil {
			continue
		}
		for _, ok := p.queue.Ready(); ok; _, ok = p.queue.Ready() {
			a.fixes, _ = p.queue.Next(a.fixes[:0])
			for _, fix := range a.fixes {
				if a.pings = a.pings[:0]; !a.make(fix) {
					continue
				}
				if fix.tried {
					a.giveUp(a.pings)
				} else {
					a.count.skipped.Add(1)
				}
			}
			p.queue.Delivered()
		}
	}
}
