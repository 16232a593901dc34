package main

import (
	"context"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"pingline"
)

// selfEvery is how often we write about ourselves.
const selfEvery = 10 * time.Second

// self writes lines about ourselves into the log: counters since the start of
// the process, and the state of the moment. One that is not written is no loss,
// the next says more; it is counted.
type self struct {
	service *service
	node    string
	skipped atomic.Uint64
}

// run writes until ctx is cancelled, and once more then.
func (s *self) run(ctx context.Context) error {
	tick := time.NewTicker(selfEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
		lines := s.lines(time.Now())
		if s.service.over.Level() >= 2 || s.service.submitLines(ctx, lines) != nil {
			s.skipped.Add(uint64(len(lines)))
		}
	}
	return nil
}

// lines are what there is to say.
func (s *self) lines(now time.Time) []pingline.Entry {
	b := s.service.books()
	at := now.UnixMilli()
	list := []pingline.Entry{s.whole(&b).entry(at)}
	for i := range b.shards {
		st := &b.shards[i]
		l := newLine("pingline_shard", "node", s.node, "shard", st.Shard)
		l.integer("written", st.Written)
		l.integer("lines", st.Lines)
		l.integer("dead_letters", st.DeadLettered())
		l.integer("retries", st.Retries)
		l.integer("breaker", uint64(st.Breaker))
		l.float("down_s", st.Down.Seconds())
		recent := s.service.metrics.recent.of(st.Shard)
		if p99, ok := recent.write.take(0.99); ok {
			l.float("write_p99_ms", 1000*p99)
		}
		if p99, ok := recent.freshness.take(0.99); ok {
			l.float("freshness_p99_s", p99)
		}
		list = append(list, l.entry(at))
		for _, lane := range st.Lanes {
			l := newLine("pingline_lane", "node", s.node, "shard", st.Shard, "lane", lane.Lane)
			l.integer("waiting", lane.Queued)
			l.float("oldest_s", lane.Oldest.Seconds())
			list = append(list, l.entry(at))
		}
	}
	return append(list, s.reasons(&b, at)...)
}

// whole is the line about the node as a whole.
func (s *self) whole(b *books) *line {
	l := newLine("pingline", "node", s.node)
	l.integer("received", b.server.Received)
	for v := pingline.Accepted; int(v) < pingline.Verdicts; v++ {
		l.integer(v.String(), b.verdict(v))
	}
	for _, f := range []struct {
		name string
		v    uint64
	}{
		{"promoted", b.writer.Promoted},
		{"covered", b.writer.Covered},
		{"replayed", b.writer.Replayed},
		{"holding", uint64(b.writer.Holding)},
		{"lines", b.writer.Lines},
		{"late", b.writer.Late},
		{"conflicts", b.writer.Conflicts},
		{"commits", b.writer.Commits},
		{"reloads", b.writer.Reloads},
		{"riders", uint64(b.writer.Riders)},
		{"evicted", b.writer.Evicted},
		{"written", b.sink.Pings.Written},
		{"dead_letters", b.sink.Pings.DeadLettered},
		{"queued", b.sink.Pings.Queued},
		{"queue_bytes", uint64(s.service.log.Bytes())},
		{"damaged", b.damaged},
		{"level", uint64(s.service.over.Level())},
	} {
		l.integer(f.name, f.v)
	}
	if s.service.rollup != nil {
		st := s.service.rollup.Stats()
		l.integer("rollup_pings", st.Pings)
		l.integer("rollup_late", st.Late)
	}
	return l
}

// reasons are the lines that count by reason: of dead letters, of pings that
// were rejected, of numbers out of range.
func (s *self) reasons(b *books, at int64) (list []pingline.Entry) {
	dead := map[string]uint64{}
	for i := range b.shards {
		for reason, n := range b.shards[i].DeadLetters {
			dead[reason] += n
		}
	}
	for _, kind := range []struct {
		name   string
		counts map[string]uint64
	}{{"dead_letter", dead}, {"rejected", b.server.Reasons}, {"out_of_range", b.server.OutOfRange}} {
		for _, reason := range slices.Sorted(maps.Keys(kind.counts)) {
			l := newLine("pingline_reason", "kind", kind.name, "node", s.node, "reason", reason)
			l.integer("count", kind.counts[reason])
			list = append(list, l.entry(at))
		}
	}
	return list
}

// line is a line of InfluxDB line protocol being made.
type line struct {
	b         []byte
	separator byte // before the next field
}

var escapeTag = strings.NewReplacer(",", `\,`, "=", `\=`, " ", `\ `)

// newLine begins a line with tags, in order, each a name and a value.
func newLine(measurement string, tags ...string) *line {
	l := &line{b: []byte(measurement), separator: ' '}
	for i := 0; i < len(tags); i += 2 {
		l.b = append(append(append(l.b, ','), tags[i]...), '=')
		l.b = append(l.b, escapeTag.Replace(tags[i+1])...)
	}
	return l
}

func (l *line) field(name string) {
	l.b = append(append(append(l.b, l.separator), name...), '=')
	l.separator = ','
}

func (l *line) integer(name string, v uint64) {
	l.field(name)
	l.b = append(strconv.AppendUint(l.b, v, 10), 'i')
}

func (l *line) float(name string, v float64) {
	l.field(name)
	l.b = strconv.AppendFloat(l.b, v, 'f', 3, 64)
}

// entry ends the line, with its time in ms.
func (l *line) entry(at int64) pingline.Entry {
	l.b = strconv.AppendInt(append(l.b, ' '), at, 10)
	return pingline.Entry{Kind: pingline.Self, Line: string(l.b)}
}

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
