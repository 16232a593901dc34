package sim

import (
	"slices"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"pingline"
	"pingline/client"
)

// Moment is a second of a load. Counts are those of the second.
type Moment struct {
	At         time.Time                 // its start
	Due        uint64                    // pings that were to leave in it
	Sent       uint64                    // pings that left in it for the first time
	Verdicts   [pingline.Verdicts]uint64 // pings answered in it, by verdict
	Requests   uint64                    // requests that ended in it, retries included
	Refused    uint64                    // of them, by another status than 200
	Unanswered uint64                    // of them, without any answer
	Latency    Latency                   // of what was answered in it
	Shed       int                       // highest level of shedding of an answer in it; -1: no answer said one
}

// Latency is how long requests took that were answered for good, from the moment at
// which they were due: refusals, waits and retries count, and so does the time in
// which a request could not leave because its connection waited for an answer. The
// values are exact to a thousandth; 0 means that there was none.
type Latency struct{ P50, P99, P999, Max time.Duration }

// journal records the events of each second. Safe for concurrent use.
type journal struct {
	start int64 // ns since 1970

	mu      sync.Mutex // guards the fields below; no other lock is taken while it is held
	moments []Moment
	over    bool                    // nothing happens any more
	second  int                     // of the latencies in recent
	recent  *hdrhistogram.Histogram // of µs
	total   *hdrhistogram.Histogram
}

const longest = int64(24 * time.Hour / time.Microsecond) // of a latency that is told apart

func newJournal(start time.Time) *journal {
	return &journal{
		start:  start.UnixNano(),
		recent: hdrhistogram.New(1, longest, 3), total: hdrhistogram.New(1, longest, 3),
	}
}

// at returns the second of a time, ns since 1970. The caller holds mu.
func (c *journal) at(ns int64) *Moment {
	n := c.number(ns)
	for len(c.moments) <= n {
		at := time.Unix(0, c.start).Add(time.Duration(len(c.moments)) * time.Second)
		c.moments = append(c.moments, Moment{At: at, Shed: -1})
	}
	return &c.moments[n]
}

// number returns how many seconds lie before that of a time.
func (c *journal) number(ns int64) int { return int(max(0, ns-c.start) / int64(time.Second)) }

// due counts pings that shall leave at their time.
func (c *journal) due(list []Due) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range list {
		c.at(list[i].Send).Due++
	}
}

func (c *journal) sent(pings int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at(time.Now().UnixNano()).Sent += uint64(pings)
}

// ended counts a request by its end.
func (c *journal) ended(a *client.Response) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.at(time.Now().UnixNano())
	m.Requests++
	switch a.Status {
	case 0:
		m.Unanswered++
	case 200, 207:
	default:
		m.Refused++
	}
	if a.Status != 0 {
		m.Shed = max(m.Shed, a.ShedLevel)
	}
}

// settled counts what the pings of a request were answered, that was due at due.
func (c *journal) settled(counts *[pingline.Verdicts]uint64, due int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now().UnixNano()
	m := c.at(now)
	for v, n := range counts {
		m.Verdicts[v] += n
	}
	c.turn(c.number(now))
	took := min(max(1, (now-due)/1e3), longest)
	_ = c.recent.RecordValue(took) // it is within the bounds
	_ = c.total.RecordValue(took)
}

// turn closes the second whose latencies are in recent, if n is another one.
func (c *journal) turn(n int) {
	if n == c.second {
		return
	}
	c.moments[c.second].Latency = latencyOf(c.recent)
	c.recent.Reset()
	c.second = n
}

func latencyOf(h *hdrhistogram.Histogram) Latency {
	if h.TotalCount() == 0 {
		return Latency{}
	}
	at := func(percent float64) time.Duration {
		return time.Duration(h.ValueAtQuantile(percent)) * time.Microsecond
	}
	return Latency{at(50), at(99), at(99.9), time.Duration(h.Max()) * time.Microsecond}
}

// end says that nothing happens any more.
func (c *journal) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
}

// Moments returns the seconds so far, from the start on.
func (l *Load) Moments() []Moment {
	c := l.journal.Load()
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.over {
		c.at(time.Now().UnixNano()) // nothing may have happened since
	}
	list := slices.Clone(c.moments)
	if c.second < len(list) {
		list[c.second].Latency = latencyOf(c.recent)
	}
	return list
}

// Latency returns how long the requests took that have been answered so far.
func (l *Load) Latency() Latency {
	c := l.journal.Load()
	if c == nil {
		return Latency{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return latencyOf(c.total)
}
