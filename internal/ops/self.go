package ops

import (
	"context"
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"pingline"
)

// selfEvery is how often we write about ourselves.
const selfEvery = 10 * time.Second

// Self writes points about this node into the log: counters since the start of
// the process, and the state of the moment. One that is not written is no loss,
// the next says more; it is counted.
type Self struct {
	cfg     SelfConfig
	skipped atomic.Uint64
}

// SelfConfig says whose numbers to write, and how.
type SelfConfig struct {
	Node    string // its name
	Parts   *Parts
	Metrics *Metrics
	Submit  func(context.Context, []pingline.Entry) error // makes points durable
}

// NewSelf returns a Self that has written nothing.
func NewSelf(cfg SelfConfig) *Self { return &Self{cfg: cfg} }

// Run writes until ctx is cancelled, and once more then.
func (s *Self) Run(ctx context.Context) error {
	tick := time.NewTicker(selfEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
		points := s.points(time.Now())
		if s.cfg.Parts.Overload.Level() >= 2 || s.cfg.Submit(ctx, points) != nil {
			s.skipped.Add(uint64(len(points)))
		}
	}
	return nil
}

// points are all there is to say at now.
func (s *Self) points(now time.Time) []pingline.Entry {
	b := s.cfg.Parts.Books()
	at := now.UnixMilli()
	list := []pingline.Entry{s.whole(&b, at).entry()}
	for i := range b.Shards {
		st := &b.Shards[i]
		p := newPoint("pingline_shard", at, "node", s.cfg.Node, "shard", st.Shard)
		p.integer("written", st.Written)
		p.integer("lines", st.Lines)
		p.integer("dead_letters", st.DeadLettered())
		p.integer("retries", st.Retries)
		p.integer("breaker", uint64(st.Breaker))
		p.float("down_s", st.Down.Seconds())
		recent := s.cfg.Metrics.recent.of(st.Shard)
		if p99, ok := recent.write.take(0.99); ok {
			p.float("write_p99_ms", 1000*p99)
		}
		if p99, ok := recent.freshness.take(0.99); ok {
			p.float("freshness_p99_s", p99)
		}
		list = append(list, p.entry())
		for _, lane := range st.Lanes {
			p := newPoint("pingline_lane", at, "lane", lane.Lane, "node", s.cfg.Node, "shard", st.Shard)
			p.integer("waiting", lane.Queued)
			p.float("oldest_s", lane.Oldest.Seconds())
			list = append(list, p.entry())
		}
	}
	return append(list, s.reasons(&b, at)...)
}

// whole is the point about the node as a whole.
func (s *Self) whole(b *Books, at int64) point {
	p := newPoint("pingline", at, "node", s.cfg.Node)
	p.integer("received", b.Server.Received)
	for v := pingline.Accepted; int(v) < pingline.Verdicts; v++ {
		p.integer(v.String(), b.Verdict(v))
	}
	for _, f := range []struct {
		name string
		v    uint64
	}{
		{"promoted", b.Writer.Promoted},
		{"covered", b.Writer.Covered},
		{"replayed", b.Writer.Replayed},
		{"holding", uint64(b.Writer.Holding)},
		{"lines", b.Writer.Lines},
		{"late", b.Writer.Late},
		{"conflicts", b.Writer.Conflicts},
		{"commits", b.Writer.Commits},
		{"reloads", b.Writer.Reloads},
		{"riders", uint64(b.Writer.Riders)},
		{"evicted", b.Writer.Evicted},
		{"written", b.Sink.Pings.Written},
		{"dead_letters", b.Sink.Pings.DeadLettered},
		{"queued", b.Sink.Pings.Queued},
		{"queue_bytes", uint64(s.cfg.Parts.Log.Bytes())},
		{"damaged", b.Damaged},
		{"level", uint64(s.cfg.Parts.Overload.Level())},
	} {
		p.integer(f.name, f.v)
	}
	if s.cfg.Parts.Rollup != nil {
		st := s.cfg.Parts.Rollup.Stats()
		p.integer("rollup_pings", st.Pings)
		p.integer("rollup_late", st.Late)
	}
	return p
}

// reasons are the points that count by reason: of dead letters, of pings that
// were rejected, of numbers out of range.
func (s *Self) reasons(b *Books, at int64) (list []pingline.Entry) {
	dead := map[string]uint64{}
	for i := range b.Shards {
		for reason, n := range b.Shards[i].DeadLetters {
			dead[reason] += n
		}
	}
	for _, kind := range []struct {
		name   string
		counts map[string]uint64
	}{{"dead_letter", dead}, {"rejected", b.Server.Reasons}, {"out_of_range", b.Server.OutOfRange}} {
		for _, reason := range slices.Sorted(maps.Keys(kind.counts)) {
			p := newPoint("pingline_reason", at, "kind", kind.name, "node", s.cfg.Node, "reason", reason)
			p.integer("count", kind.counts[reason])
			list = append(list, p.entry())
		}
	}
	return list
}

// point is a point being made.
type point struct{ *pingline.Point }

// newPoint begins a point with tags in ascending order, each a key and a value.
func newPoint(name string, at int64, tags ...string) point {
	p := &pingline.Point{Name: name, At: at}
	for i := 0; i < len(tags); i += 2 {
		p.Tags = append(p.Tags, pingline.Tag{Key: tags[i], Value: tags[i+1]})
	}
	return point{p}
}

func (p point) integer(key string, v uint64) {
	p.Fields = append(p.Fields, pingline.Int(key, int64(v)))
}

// float adds a number, to three decimals.
func (p point) float(key string, v float64) {
	p.Fields = append(p.Fields, pingline.Float(key, math.Round(v*1000)/1000))
}

func (p point) entry() pingline.Entry { return pingline.Entry{Kind: pingline.Self, Point: p.Point} }

// recents are the times of each shard since they were last asked for. Safe for
// concurrent use.
type recents struct{ shards sync.Map }

type recent struct{ write, freshness times }

func (r *recents) of(shard string) *recent {
	v, ok := r.shards.Load(shard)
	if !ok {
		v, _ = r.shards.LoadOrStore(shard, new(recent))
	}
	return v.(*recent)
}

// times tells quantiles of seconds, a tenth of an octave exact, from a tenth of a
// millisecond up to a year. Safe for concurrent use.
type times struct {
	mu     sync.Mutex
	counts [391]uint64
	total  uint64
}

const (
	timesLow   = 1e-4
	timesSteps = 10 // in an octave
)

func (s *times) observe(seconds float64) {
	i := 0
	if seconds > timesLow {
		i = int(min(math.Ceil(timesSteps*math.Log2(seconds/timesLow)), float64(len(s.counts)-1)))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[i]++
	s.total++
}

// take returns the quantile q, and begins anew; false if there is nothing.
func (s *times) take(q float64) (seconds float64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.total == 0 {
		return 0, false
	}
	left := uint64(math.Ceil(q * float64(s.total)))
	i := 0
	for ; s.counts[i] < left; i++ {
		left -= s.counts[i]
	}
	clear(s.counts[:])
	s.total = 0
	return timesLow * math.Exp2(float64(i)/timesSteps), true
}
