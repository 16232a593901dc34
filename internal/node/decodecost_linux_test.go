package node

import (
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pingline/ingest/phone"
)

// BenchmarkWorstRequest reads each request of TestRequestsTakeLittleMemory, and reports the
// time on a processor of the dearest: the least of some attempts, since others use its caches,
// too, and an attempt may have to collect the garbage of those before it.
func BenchmarkWorstRequest(b *testing.B) {
	const limit, few, most = time.Millisecond, 5, 20 // of a request; attempts
	for name, list := range costlyLists {
		b.Run(name, func(b *testing.B) {
			all := list(b)
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			var pings phone.Pings
			var dearest time.Duration
			var which string
			over := 0
			for b.Loop() {
				dearest, over = 0, 0
				for i := range all {
					r, best := &all[i], time.Hour
					for attempt := range most {
						if attempt == few && best < limit/2 {
							break // it is far from the limit
						}
						began := threadTime(b)
						err := r.protocol.Read(&r.Request, &pings)
						var to phone.Reply
						r.protocol.Reply(&to, &r.Request, &phone.Outcome{Err: err, Pings: &pings})
						best = min(best, threadTime(b)-began)
					}
					if best > limit {
						over++
						b.Logf("%v: %s", best, r.name)
					}
					if best > dearest {
						dearest, which = best, r.name
					}
				}
			}
			b.Logf("%d requests; the dearest takes %v: %s", len(all), dearest, which)
			b.ReportMetric(float64(dearest.Microseconds()), "worst-µs")
			b.ReportMetric(float64(over), "over-1ms")
		})
	}
}

// threadTime is the time that this thread has been on a processor.
func threadTime(b *testing.B) time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		b.Fatal(err)
	}
	return time.Duration(ts.Nano())
}
