package inflate

import (
	"bytes"
	"io"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// liveHeap is what lives after a collection.
func liveHeap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// until waits until ok holds, for as long as a busy machine may take.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for limit := time.Now().Add(10 * time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("never: %s", what)
		}
	}
}

// packedUnknown are bodies of 6 MiB that do not say how large they are.
func packedUnknown(t *testing.T) map[string][]byte {
	text := make([]byte, 6<<20)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range text {
		text[i] = 'a' + byte(rng.IntN(4))
	}
	var z, g bytes.Buffer
	zw, err := zstd.NewWriter(&z, zstd.WithWindowSize(zstdWindow))
	if err != nil {
		t.Fatal(err)
	}
	gw := gzip.NewWriter(&g)
	for _, w := range []io.WriteCloser{zw, gw} {
		if _, err := io.Copy(w, bytes.NewReader(text)); err != nil || w.Close() != nil {
			t.Fatal(err)
		}
	}
	gw.Reset(&g) // another member, of nothing: its size is what the trailer says
	if err := gw.Close(); err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{"zstd": z.Bytes(), "gzip": g.Bytes()}
}

// A body that is being inflated takes no more than it was charged, its window
// included.
func TestInflationsAreCharged(t *testing.T) {
	for encoding, body := range packedUnknown(t) {
		t.Run(encoding, func(t *testing.T) {
			const n, most = 8, 8 << 20
			var charged, half atomic.Int64
			goOn := make(chan struct{})
			before := liveHeap()
			var wg sync.WaitGroup
			for range n {
				wg.Go(func() {
					calls, stopped := 0, false
					out, err := Body(nil, encoding, body, most, func(more int64) error {
						if calls++; calls > 1 && more > most/2 && !stopped { // behind the window, before the last growth
							stopped = true
							half.Add(1)
							<-goOn
						}
						charged.Add(more)
						return nil
					})
					if err != nil || len(out) != 6<<20 {
						t.Errorf("%d bytes, %v", len(out), err)
					}
				})
			}
			until(t, "all are half done", func() bool { return half.Load() == n })
			grown, says := liveHeap()-before, charged.Load()
			close(goOn)
			wg.Wait()
			t.Logf("%d bytes live, %d charged", grown, says)
			if grown > says+n<<18 {
				t.Errorf("%d bytes live, %d were charged", grown, says)
			}
		})
	}
}
