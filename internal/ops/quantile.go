package ops

import (
	"cmp"
	"slices"
	"sync"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// recents are the times of each shard since they were last asked for. Safe for
// concurrent use.
type recents struct{ shards sync.Map }

type shardTimes struct {
	shard            string
	write, freshness quantile
}

func (r *recents) of(shard string) *shardTimes {
	v, ok := r.shards.Load(shard)
	if !ok {
		v, _ = r.shards.LoadOrStore(shard, &shardTimes{shard: shard})
	}
	return v.(*shardTimes)
}

// all returns those of all shards, by name.
func (r *recents) all() (list []*shardTimes) {
	r.shards.Range(func(_, v any) bool { list = append(list, v.(*shardTimes)); return true })
	slices.SortFunc(list, func(a, b *shardTimes) int { return cmp.Compare(a.shard, b.shard) })
	return list
}

// quantile tells quantiles of seconds to 1 %, from a tenth of a millisecond up to a
// year. The zero value has seen none. Safe for concurrent use.
type quantile struct {
	mu   sync.Mutex
	seen *hdrhistogram.Histogram // of tenths of a millisecond; nil before the first
}

const (
	tenthMs = 1e-4
	year    = 3.2e7
)

func (q *quantile) observe(seconds float64) {
	v := int64(max(1, min(seconds, year)/tenthMs))
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.seen == nil {
		q.seen = hdrhistogram.New(1, year/tenthMs, 2)
	}
	_ = q.seen.RecordValue(v) // it is within the bounds
}

// take returns the seconds that a share of the times do not exceed, and begins
// anew; false if there is none.
func (q *quantile) take(share float64) (seconds float64, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.seen == nil || q.seen.TotalCount() == 0 {
		return 0, false
	}
	v := q.seen.ValueAtQuantile(100 * share)
	q.seen.Reset()
	return float64(v) * tenthMs, true
}
