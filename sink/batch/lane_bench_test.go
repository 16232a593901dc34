package batch

import (
	"context"
	"fmt"
	"testing"
	"time"

	"pingline"
	"pingline/partition"
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
			var spread []partition.Shard
			var l route.Layout
			for i := range shards {
				l.Shards = append(l.Shards, fmt.Sprintf("shard-%d", i))
				spread = append(spread, partition.Shard{Name: l.Shards[i]})
			}
			var err error
			if l.Spread, err = partition.NewShards(spread...); err != nil {
				b.Fatal(err)
			}
			r := route.NewRouter(l)
			cache := route.NewCache(r.LaneOf, 0)
			var lanes []*Batcher
			for i := range shards {
				for kind := range route.LaneKinds {
					reader := &Batcher{
						Routes: cache, Lane: route.LaneIDOf(i, kind), Total: kind.Total(), Store: testRows, Most: 5000, Bytes: 4 << 20, Wait: time.Hour, Logger: quiet,
						Done: queue.Cursor{Next: 1}, Counts: i == 0 && kind.CountsDamage(),
					}
					at := 0
					reader.Next = func(context.Context) (queue.Record, error) {
						rec := list[at%len(list)]
						at++
						rec.Number = uint64(at) // each is another one
						return rec, nil
					}
					lanes = append(lanes, reader)
				}
			}
			batches := make([]Encoded, len(lanes))
			b.ReportAllocs()
			for b.Loop() {
				for i, l := range lanes {
					out := &batches[i]
					if len(out.Rows) > 1<<20 {
						out.Reset()
					}
					if err := l.advance(b.Context(), out); err != nil {
						b.Fatal(err)
					}
					for l.open {
						l.encode(out)
						if l.full(out) {
							out.Reset()
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
