package batch

import (
	"fmt"
	"strings"
	"testing"

	"pingline"
	"pingline/sink/store/storetest"
)

// A full batch that is being written takes more than three times the bytes of its
// rows: they, the log's bytes of each, the numbers that go with it, and two copies.
func TestFullBatchBeingWrittenIsWithinMostTimes(t *testing.T) {
	convoy := storetest.NewConvoy(1000, recently, 5000)
	plain := make([]pingline.Entry, 40_000)
	for i := range plain {
		plain[i] = *convoy.Next()
	}
	long := fleet(1, 20_000)
	for i := range long {
		e := &long[i]
		e.Rider, e.Device, e.Trip = strings.Repeat("r", pingline.MaxName), strings.Repeat("d", pingline.MaxName), strings.Repeat("t", pingline.MaxName)
	}
	for name, entries := range map[string][]pingline.Entry{"plain": plain, "with many values": fleet(1, 40_000), "with long names": long} {
		for _, most := range []int{32 << 10, 512 << 10, 4 << 20} {
			t.Run(fmt.Sprintf("%s, %d bytes", name, most), func(t *testing.T) {
				log := make(chan any, 1)
				log <- record(1, 0, entries...)
				r := testBatcher(log)
				r.Most, r.Bytes = 1<<30, most
				b := fill(t, r)
				if b.Len() == len(entries) {
					t.Fatalf("%d rows do not fill a batch of %d bytes", b.Len(), most)
				}
				b.All()
				took := b.Size() + CopiesWritten*len(b.Rows)
				if took > MostTimes*most || took <= 3*most {
					t.Errorf("%d bytes are taken, %.2f times as many as a batch may hold, want more than 3 and at most %d", took, float64(took)/float64(most), MostTimes)
				}
			})
		}
	}
}
