package sink

import (
	"net/http"
	"testing"

	"pingline/sink/route"
)

// The bytes of batches that wait are in the sink's account, with the copies that
// are being written, and no longer once they are taken.
func TestMemoryIsAccountedFor(t *testing.T) {
	wait := make(chan struct{})
	store := recording(t, func([]string) int {
		<-wait
		return http.StatusNoContent
	})
	w := testLog(t)
	s := testSink(t, w, store.Bucket, func(c *Config) { c.BatchLines = 1000 })
	start(t, s)
	const rows = 8000
	all := fleet(1, rows)
	w.commit(all...)
	size := 0
	for _, line := range linesOf(all...) {
		size += len(line)
	}
	eventually(t, "all is read, and counted", func() bool { return s.Memory() > int64(size) })
	if n := s.Memory(); n > int64(6*size+route.CacheBytes) {
		t.Errorf("%d bytes are counted for %d bytes of lines", n, size)
	}
	close(wait)
	drained(t, s)
	eventually(t, "all of it is given back", func() bool { return s.shards[0].memory.Load() == 0 })
	if n := s.Memory(); n > route.CacheBytes {
		t.Errorf("%d bytes are counted with nothing to do", n)
	}
}
