package queue

import (
	"fmt"
	"log/slog"
	"testing"
)

// quiet is for what is measured.
var quiet = slog.New(slog.DiscardHandler)

// Each append is synced before the next: this is what the disk allows.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{1 << 10, 64 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			ctx := b.Context()
			l := open(b, Config{Logger: quiet, MaxBytes: 4 << 30})
			record := payload(1, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for n := uint64(1); b.Loop(); n++ {
				if l.Room() < 2<<20 {
					b.StopTimer()
					if err := l.Trim(l.Last()); err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
				}
				if _, err := l.Append(ctx, record, Totals{n}, false); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
		})
	}
}

// A reader far behind, of records that are not in memory.
func BenchmarkReadFromDisk(b *testing.B) {
	for _, size := range []int{1 << 10, 64 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			ctx := b.Context()
			l := open(b, Config{Logger: quiet, CacheBytes: 1})
			fill(b, l, min(10_000, 256<<20/size), size)
			r := l.Read(1)
			defer func() { r.Close() }()
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for n := uint64(1); b.Loop(); n++ {
				if n > l.Last() { // from the start again
					r.Close()
					r, n = l.Read(1), 1
				}
				rec, err := r.Next(ctx)
				if err != nil || rec.Number != n {
					b.Fatalf("Next = record %d, %v, want %d", rec.Number, err, n)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

// A reader at the head, of what is in memory.
func BenchmarkReadAtTheHead(b *testing.B) {
	ctx := b.Context()
	l := open(b, Config{Logger: quiet})
	fill(b, l, 100, 64<<10)
	r := l.Read(1)
	defer func() { r.Close() }()
	b.ReportAllocs()
	for n := uint64(1); b.Loop(); n++ {
		if n > l.Last() {
			r.Close()
			r, n = l.Read(1), 1
		}
		if _, err := r.Next(ctx); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}
