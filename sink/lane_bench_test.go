package sink

import (
	"context"
	"fmt"
	"testing"
	"time"

	"pingline"
	"pingline/queue"
	"pingline/sink/route"
	"pingline/sink/store/storetest"
)

// commits returns n commits of 500 entries as phones send them.
func commits(n int) (list []queue.Record) {
	var before uint64
	for i := range n {
		rec := record(uint64(i+1), before, storetest.Traffic(uint64(i), 500)...)
		before = rec.Totals[pingline.TotalStored]
		list = append(list, rec)
	}
	return list
}

// BenchmarkLanesRead reads the log with all lanes of so many shards, as they do
// at its head: what it costs to find out whose each ping is, and to encode each
// once.
func BenchmarkLanesRead(b *testing.B) {
	list := commits(64)
	for _, shards := range []int{1, 4, 16} {
		b.Run(fmt.Sprintf("shards-%d", shards), func(b *testing.B) {
			cfg := Config{Logger: quiet}
			var names []string
			for i := range shards {
				name := fmt.Sprintf("shard-%d", i)
				names = append(names, name)
				cfg.Shards = append(cfg.Shards, Shard{Name: name})
			}
			cfg.Spread = spread(b, names...)
			r := route.NewRouter(cfg.layout())
			cache := route.NewCache(r.LaneOf, 0)
			var lanes []*batcher
			for i := range shards {
				for kind := range route.LaneKinds {
					l := &batcher{
						routes: cache, lane: route.LaneIDOf(i, kind), total: kind.Total(), store: testRows, most: 5000, bytes: 4 << 20, wait: time.Hour, logger: quiet,
						done: queue.Cursor{Next: 1}, counts: i == 0 && kind.CountsDamage(),
					}
					at := 0
					l.next = func(context.Context) (queue.Record, error) {
						rec := list[at%len(list)]
						at++
						rec.Number = uint64(at) // each is another one
						return rec, nil
					}
					lanes = append(lanes, l)
				}
			}
			batches := make([]batch, len(lanes))
			b.ReportAllocs()
			for b.Loop() {
				for i, l := range lanes {
					out := &batches[i]
					if len(out.rows) > 1<<20 {
						out.reset()
					}
					if err := l.advance(b.Context(), out); err != nil {
						b.Fatal(err)
					}
					for l.open {
						l.encode(out)
						if l.full(out) {
							out.reset()
						}
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*500), "ns/entry")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*500*len(lanes)), "ns/entry/lane")
			b.ReportMetric(0, "ns/op")
		})
	}
}
