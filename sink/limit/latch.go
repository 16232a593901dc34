package limit

import (
	"maps"
	"math"
	"slices"
	"sync"
)

// Latch tells whoever deletes rows of a store which rows came meanwhile, and has writes wait for
// the moment of a deletion. The zero value is ready, and safe for concurrent use by writes and by
// one that deletes.
type Latch struct {
	gate sync.RWMutex // guards the store: a write holds it for reading; taken before mu

	mu      sync.Mutex         // guards the field below; nothing else is locked under it
	minutes map[int64]struct{} // of the rows of writes since Watch; nil: nobody watches
}

const (
	latchMinute  = 60_000 // ms
	latchMinutes = 4096   // that are told apart
	latchSpans   = 16     // that are told apart
)

// Enter begins a write of some of the rows with these ts, ms.
func (l *Latch) Enter(at []int64, rows []int) {
	l.gate.RLock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.minutes == nil {
		return
	}
	for _, i := range rows {
		minute := at[i] / latchMinute
		if at[i]%latchMinute < 0 {
			minute--
		}
		if len(l.minutes) < latchMinutes {
			l.minutes[minute] = struct{}{}
		}
	}
}

// Leave ends a write.
func (l *Latch) Leave() { l.gate.RUnlock() }

// Watch begins to note rows: what came before is in the store, or its write has failed.
func (l *Latch) Watch() {
	l.gate.Lock()
	defer l.gate.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.minutes = make(map[int64]struct{})
}

// Hold has writes wait until release is called. came are the parts of [from, to), ms, to which
// rows came since Watch. It never fails: err is for latches of several nodes.
func (l *Latch) Hold(from, to int64) (came [][2]int64, release func(), err error) {
	l.gate.Lock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.minutes == nil || len(l.minutes) == latchMinutes {
		return [][2]int64{{from, to}}, l.gate.Unlock, nil
	}
	for _, minute := range slices.Sorted(maps.Keys(l.minutes)) {
		begin, end := int64(math.MinInt64), int64(math.MaxInt64)
		if minute > math.MinInt64/latchMinute {
			begin = minute * latchMinute
		}
		if minute < math.MaxInt64/latchMinute {
			end = (minute + 1) * latchMinute
		}
		if begin, end = max(begin, from), min(end, to); begin >= end {
			continue
		}
		if n := len(came); n > 0 && (came[n-1][1] == begin || n == latchSpans) {
			came[n-1][1] = end
			continue
		}
		came = append(came, [2]int64{begin, end})
	}
	return came, l.gate.Unlock, nil
}
