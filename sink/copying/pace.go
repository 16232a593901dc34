package copying

import (
	"context"
	"fmt"
	"sync"
	"time"

	"pingline/internal/pause"
)

// Gauges tell how a node is that the copy must not endanger. One that is nil is not asked. They
// are asked often, and answer at once.
type Gauges struct {
	Breaker func() string                   // the store whose circuit breaker is open, "" if none is
	Level   func() int                      // of shedding
	Log     func() float64                  // share of the log's room that is taken, [0, 1]
	Latency func() map[string]time.Duration // of recent writes of the node, by store
	Held    func() time.Duration            // for which no other node can copy in place of this one
}

// fullLog is the share of the log's room from which on a copy stands.
const fullLog = 0.4

// why returns the reason for which a copy stands, or "".
func (g *Gauges) why() string {
	if g.Held != nil && g.Held() <= 0 {
		return "the node may have lost its log: its hold was not renewed in time"
	}
	if g.Breaker != nil {
		if name := g.Breaker(); name != "" {
			return "the circuit breaker of " + name + " is open"
		}
	}
	if g.Level != nil && g.Level() > 0 {
		return fmt.Sprintf("the node sheds, level %d", g.Level())
	}
	if g.Log != nil {
		if full := g.Log(); full > fullLog {
			return fmt.Sprintf("the log is %.0f %% full, more than %.0f %%", full*100, fullLog*100)
		}
	}
	return ""
}

// pacer bounds how many rows a second are written: to a rate, which it halves while a store
// answers twice as slowly as it did, and raises again afterwards.
type pacer struct {
	gauges Gauges
	most   float64 // rows/s; 0: no bound, and nothing is halved

	mu      sync.Mutex // guards the fields below; nothing else is locked under it
	rate    float64    // rows/s, at most most
	next    time.Time  // no write begins before it
	changed time.Time  // when rate was
	asked   time.Time  // when the gauges were asked for latencies
	seen    map[string]*latency
	slow    string // the store that is slow
}

// latency is how long a store takes, in s: now, and mostly.
type latency struct {
	now, mostly float64
	n           int
}

const (
	slower  = 2.0  // times its own latency: a store is slow
	healed  = 1.5  // times its own latency: it is no longer
	firstN  = 8    // observations before which nothing is said
	recent  = 6.0  // observations that now is about
	long    = 500. // observations that mostly is about
	settle  = 5 * time.Second
	leastOf = 1 << 7 // the rate is halved at most 7 times
)

func newPacer(rate float64, g Gauges) *pacer {
	return &pacer{gauges: g, most: rate, rate: rate, seen: make(map[string]*latency)}
}

// wait waits until n rows may be written.
func (p *pacer) wait(ctx context.Context, n int) error {
	if p.most == 0 {
		return ctx.Err()
	}
	now := time.Now()
	p.ask(now)
	p.mu.Lock()
	begin := p.next
	if begin.Before(now) {
		begin = now
	}
	p.next = begin.Add(time.Duration(float64(n) / p.rate * float64(time.Second)))
	p.mu.Unlock()
	return pause.For(ctx, begin.Sub(now))
}

// ask observes the latencies that the node sees, once a second.
func (p *pacer) ask(now time.Time) {
	if p.gauges.Latency == nil {
		return
	}
	p.mu.Lock()
	due := now.Sub(p.asked) >= time.Second
	if due {
		p.asked = now
	}
	p.mu.Unlock()
	if !due {
		return
	}
	for name, d := range p.gauges.Latency() {
		p.observe(now, name, d)
	}
}

// observe notes how long a store took for something that is alike each time.
func (p *pacer) observe(now time.Time, name string, d time.Duration) {
	if p.most == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.seen[name]
	if l == nil {
		l = new(latency)
		p.seen[name] = l
	}
	l.add(d.Seconds())
	switch {
	case l.n < firstN || now.Sub(p.changed) < settle:
	case l.now > slower*l.mostly:
		p.slow, p.changed = name, now
		p.rate = max(p.rate/2, p.most/leastOf)
	case p.rate < p.most && !p.isSlow(healed):
		p.slow, p.changed = "", now
		p.rate = min(p.rate*1.5, p.most)
	}
}

// isSlow reports whether a store takes so many times its own latency.
func (p *pacer) isSlow(times float64) bool {
	for _, l := range p.seen {
		if l.n >= firstN && l.now > times*l.mostly {
			return true
		}
	}
	return false
}

func (l *latency) add(v float64) {
	l.n++
	if l.n <= firstN {
		l.mostly += (v - l.mostly) / float64(l.n)
		l.now = l.mostly
		return
	}
	l.now += (v - l.now) / recent
	if l.now <= healed*l.mostly { // a store that is slow is no measure of how fast it is
		l.mostly += (v - l.mostly) / long
	}
}

// slowed returns why the rate is less than it may be, or "".
func (p *pacer) slowed() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.rate >= p.most {
		return ""
	}
	if p.slow == "" {
		return fmt.Sprintf("%.0f rows/s, and more by and by", p.rate)
	}
	return fmt.Sprintf("%.0f rows/s, since %s answers more slowly than before", p.rate, p.slow)
}
