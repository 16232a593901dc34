package replay

import (
	"container/heap"

	"pingline/sim"
)

// Schedule is a sim.NewSchedule: each phone sends when its track says.
func (p *Replay) Schedule(conn, conns int, start int64) sim.Schedule {
	s := &schedule{Replay: p, start: start}
	for i := range p.Riders() {
		if of, _ := sim.ConnectionOf(i, conns); of == conn {
			_, _, c := p.phone(i)
			t := p.recorded.takes[i%len(p.recorded.takes)]
			s.next = append(s.next, turn{phone: i, at: c.later + t.shots[0].key})
		}
	}
	heap.Init(&s.next)
	return s
}

// schedule is the phones of one connection, by their next ping.
type schedule struct {
	*Replay
	start int64 // ns since 1970
	next  turns
}

// turn is the next ping of a phone.
type turn struct {
	phone, shot int
	at          int64 // ms of track time since the replay began
}

// Next returns the next ping.
func (s *schedule) Next() (sim.Due, bool) {
	if len(s.next) == 0 {
		return sim.Due{}, false
	}
	top := &s.next[0]
	due := sim.Due{Phone: top.phone, At: s.base + top.at, Send: s.start + int64(float64(top.at)/s.cfg.Speed*1e6)}
	t, _, c := s.phone(top.phone)
	if top.shot++; top.shot < len(t.shots) {
		top.at = c.later + t.shots[top.shot].key
	} else {
		last := len(s.next) - 1
		s.next[0] = s.next[last]
		s.next = s.next[:last]
	}
	if len(s.next) > 0 {
		heap.Fix(&s.next, 0)
	}
	return due, true
}

// turns is a heap: the soonest first, of several the lowest phone.
type turns []turn

func (h turns) Len() int { return len(h) }

func (h turns) Less(i, j int) bool {
	if h[i].at != h[j].at {
		return h[i].at < h[j].at
	}
	return h[i].phone < h[j].phone
}

func (h turns) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push and Pop are of heap.Interface; the heap is filled once and then only gets smaller.
func (h *turns) Push(x any) { *h = append(*h, x.(turn)) }

// Pop removes the last one.
func (h *turns) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
