package server

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"pingline/ingest/server/minrate"
	"pingline/partition"
	"pingline/query"
)

// liveHeap is what lives after a collection.
func liveHeap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// Under slow bodies, and readers of tracks and cells that do not read, the heap
// grows by no more than what the accounts say and what the connections take.
func TestAccountsCoverTheHeap(t *testing.T) {
	slow := minrate.Rate{Grace: time.Minute, PerSecond: 1, Limit: time.Minute}
	reader := longTrack(10_000)
	reader.Cells = func(partition.Box, int, int) ([]query.Activity, bool, error) {
		return make([]query.Activity, 4000), false, nil
	}
	s, _ := testServer(t, Config{MaxInProgress: 48 << 20, MaxReading: 64 << 20, Reader: reader, pace: slow, taker: slow})
	before := liveHeap()
	for i := range 120 {
		w := dialFrom(t, s, fmt.Sprint("127.0.3.", 1+i%12))
		w.say(post+"Content-Length: 4000000\r\n\r\n%s", bytes.Repeat([]byte(" "), prefetched))
		if i%2 == 0 {
			w.say("%s", strings.Repeat(" ", 500_000))
		}
	}
	for i := range 60 {
		deaf(t, s, fmt.Sprint("127.0.4.", 1+i%12), getTrack)
		deaf(t, s, fmt.Sprint("127.0.5.", 1+i%12), fmt.Sprintf("GET /v1/cells?bbox=-9,41,-8,42.%02d HTTP/1.1\r\nHost: x\r\n\r\n", i))
	}
	until(t, "both budgets are in use", func() bool {
		return s.budget.Used() > s.budget.Most()/2 && s.reads.Bytes.Used() > s.reads.Bytes.Most()/8
	})
	grown := liveHeap() - before
	st := s.Stats() // behind it, as more comes in meanwhile: it is charged first
	accounted := st.InProgress + st.Reading + st.Connections*(ConnectionBytes+endInTest)
	if grown > accounted+8<<20 {
		t.Errorf("the heap grew by %d MiB, the accounts say %d in progress, %d of reads, %d connections", grown>>20, st.InProgress>>20, st.Reading>>20, st.Connections)
	}
	if st.InProgress > s.budget.Most() || st.Reading > s.reads.Bytes.Most() {
		t.Errorf("%+v is beyond the limits", st)
	}
}
