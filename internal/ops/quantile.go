package ops

import (
	"cmp"
	"iter"
	"slices"
	"sync"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// recents are times since they were last taken. Safe for concurrent use.
type recents struct {
	request, commit quantile
	writes          sync.Map // *quantile by name of a shard
	freshness       sync.Map // *quantile by laneOf
}

// laneOf names a lane of a shard.
type laneOf struct{ shard, lane string }

// in returns the times of a key.
func in(m *sync.Map, key any) *quantile {
	v, ok := m.Load(key)
	if !ok {
		v, _ = m.LoadOrStore(key, new(quantile))
	}
	return v.(*quantile)
}

// latest are seconds that 99 % of the times since the last point did not exceed;
// what there was none of is absent.
type latest struct {
	request, commit *float64
	writes          []shardTime
	freshness       []shardTime
	lanes           []shardTime
}

// shardTime is a time of a shard or, if it names a lane, of that.
type shardTime struct {
	laneOf
	seconds float64
}

// take returns the newest times, by names of shards and lanes, and starts over.
func (r *recents) take() *latest {
	n := new(latest)
	for q, to := range map[*quantile]**float64{&r.request: &n.request, &r.commit: &n.commit} {
		if seen := q.take(); seen != nil {
			v := p99(seen)
			*to = &v
		}
	}
	r.writes.Range(func(shard, q any) bool {
		if seen := q.(*quantile).take(); seen != nil {
			n.writes = append(n.writes, shardTime{laneOf{shard: shard.(string)}, p99(seen)})
		}
		return true
	})
	shards := map[string]*hdrhistogram.Histogram{}
	r.freshness.Range(func(of, q any) bool {
		seen := q.(*quantile).take()
		if seen == nil {
			return true
		}
		lane := of.(laneOf)
		n.lanes = append(n.lanes, shardTime{lane, p99(seen)})
		if sum := shards[lane.shard]; sum == nil {
			shards[lane.shard] = seen
		} else {
			sum.Merge(seen)
		}
		return true
	})
	for shard, seen := range shards {
		n.freshness = append(n.freshness, shardTime{laneOf{shard: shard}, p99(seen)})
	}
	for _, list := range [...][]shardTime{n.writes, n.freshness, n.lanes} {
		slices.SortFunc(list, func(a, b shardTime) int {
			return cmp.Or(cmp.Compare(a.shard, b.shard), cmp.Compare(a.lane, b.lane))
		})
	}
	return n
}

// quantile estimates quantiles of seconds to 1 %, from a tenth of a millisecond up
// to a year. The zero value is empty. Safe for concurrent use.
type quantile struct {
	mu   sync.Mutex
	seen *hdrhistogram.Histogram // of tenths of a millisecond; nil before the first
}

const (
	tenthMs = 1e-4
	year    = 3.2e7
)

func (q *quantile) observe(seconds float64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.record(seconds)
}

func (q *quantile) observeAll(times iter.Seq[float64]) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for seconds := range times {
		q.record(seconds)
	}
}

// record adds a time; the caller holds mu.
func (q *quantile) record(seconds float64) {
	if q.seen == nil {
		q.seen = hdrhistogram.New(1, year/tenthMs, 2)
	}
	_ = q.seen.RecordValue(int64(max(1, min(seconds, year)/tenthMs))) // it is within the bounds
}

// take returns the times, and starts over; nil if there are none.
func (q *quantile) take() (seen *hdrhistogram.Histogram) {
	q.mu.Lock()
	defer q.mu.Unlock()
	seen, q.seen = q.seen, nil
	return seen
}

// p99 returns the seconds that 99 % of the times do not exceed.
func p99(seen *hdrhistogram.Histogram) float64 { return quantileOf(seen, 99) }

// quantileOf returns the seconds that a share of the times, in percent, do not exceed.
func quantileOf(seen *hdrhistogram.Histogram, percent float64) float64 {
	return float64(seen.ValueAtQuantile(percent)) * tenthMs
}
