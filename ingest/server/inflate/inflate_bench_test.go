package inflate

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// benchBody returns n pings as a phone sends them, in the form of an array.
func benchBody(n int, now time.Time) []byte {
	b := []byte{'['}
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b,
			`{"rider_id":"r-%06d","ts":%d,"lat":%.6f,"lon":%.6f,"speed":%.2f,"heading":%.1f,"accuracy":%d,"battery":%.2f}`,
			i%37*977, now.UnixMilli()-int64(i*250), 41.157812+float64(i)*0.000137, -8.629105-float64(i)*0.000211,
			float64(i%191)/10, float64(i%3600)/10, 3+i%20, float64(i%100)/100)
	}
	return append(b, ']')
}

func BenchmarkInflate(b *testing.B) {
	const n = 100
	body := benchBody(n, time.UnixMilli(1_760_000_000_000))
	for encoding, packed := range map[string][]byte{"gzip": gzipped(b, body), "zstd": zstded(b, body)} {
		b.Run(encoding, func(b *testing.B) {
			var dst []byte
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				var err error
				if dst, err = Body(dst, encoding, packed, 16<<20, free); err != nil || len(dst) != len(body) {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "pings/s")
		})
	}
}

func gzipped(tb testing.TB, b []byte) []byte {
	tb.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

func zstded(tb testing.TB, b []byte) []byte {
	tb.Helper()
	w, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		tb.Fatal(err)
	}
	return w.EncodeAll(b, nil)
}
