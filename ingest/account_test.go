package ingest

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
)

// liveHeap is what lives after a collection.
func liveHeap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// Under slow bodies, packed ones among them, and readers that do not read, the heap
// grows by no more than what the accounts say and what the connections take.
func TestAccountsCoverTheHeap(t *testing.T) {
	slow := pace{grace: time.Minute, rate: 1, limit: time.Minute}
	s, _ := testServer(t, Config{MaxInProgress: 48 << 20, MaxReading: 24 << 20, Reader: longTrack(10_000), pace: slow, taker: slow})
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
	}
	until(t, "both budgets are in use", func() bool {
		return s.budget.used.Load() > s.budget.most/2 && s.answers.used.Load() > s.answers.most/8
	})
	st := s.Stats()
	accounted := st.InProgress + st.Reading + st.Connections*(ConnectionBytes+endInTest)
	if grown := liveHeap() - before; grown > accounted+8<<20 {
		t.Errorf("the heap grew by %d MiB, the accounts say %d in progress, %d of reads, %d connections", grown>>20, st.InProgress>>20, st.Reading>>20, st.Connections)
	}
	if st.InProgress > s.budget.most || st.Reading > s.answers.most {
		t.Errorf("%+v is beyond the limits", st)
	}
}
