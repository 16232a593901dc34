package dedupe

import "testing"

// The state of a million tracks with 12 pings each, loaded from the pieces of a
// checkpoint, without the reading of a file.
func BenchmarkLoad(b *testing.B) {
	if testing.Short() {
		b.Skip("a million riders take long to make")
	}
	fl := newFleet(1_000_000, 5000, false)
	f, err := New(DefaultConfig())
	if err != nil {
		b.Fatal(err)
	}
	var batch Batch
	for range 12 * len(fl.names) {
		f.Judge(&batch, fl.next(), Bound{MaxError: 10, AccuracyCap: 50}, 1, 0)
		batch.Reset()
	}
	var pieces [][]byte
	for s, more := f.Snapshot(), true; more; {
		var piece []byte
		piece, more = s.Next(nil, 1)
		pieces = append(pieces, piece)
	}
	riders := f.Riders()
	for b.Loop() {
		f, err := New(DefaultConfig())
		if err != nil {
			b.Fatal(err)
		}
		for _, piece := range pieces {
			if err := f.Load(piece); err != nil {
				b.Fatal(err)
			}
		}
		if f.Riders() != riders {
			b.Fatalf("%d riders are known, want %d", f.Riders(), riders)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*riders), "ns/track")
}
