package influx_test

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"

	"pingline"
	"pingline/internal/influxd"
	"pingline/sink/influx"
	"pingline/sink/store/storetest"
)

// orders are those in which the lines of a batch can go out.
var orders = []struct {
	name string
	sort func([]pingline.Entry)
}{
	{"as arrived", func([]pingline.Entry) {}},
	{"by series", func(list []pingline.Entry) { slices.SortFunc(list, bySeries) }},
	{"by time", func(list []pingline.Entry) { slices.SortFunc(list, byTime) }},
}

func byTime(a, b pingline.Entry) int { return cmp.Compare(a.At, b.At) }

func bySeries(a, b pingline.Entry) int {
	if c := cmp.Compare(a.Cell, b.Cell); c != 0 {
		return c
	}
	return cmp.Or(cmp.Compare(a.Rider, b.Rider), cmp.Compare(a.At, b.At))
}

// BenchmarkInfluxOrder is what the order of the lines of a batch does: to
// InfluxDB, and to the bytes of a gzipped write. "sort-ns/line" is what it
// costs the sink.
func BenchmarkInfluxOrder(b *testing.B) {
	for _, version := range []int{1, 2} {
		for _, riders := range []int{500, 20_000} {
			for _, o := range orders {
				b.Run(fmt.Sprintf("v%d/live, %d riders/%s", version, riders, o.name), func(b *testing.B) {
					r := newRig(b, influxd.Config{Version: version, Env: tuned(version, riders)})
					c := storetest.NewConvoy(riders, storetest.AnHourAgo(), 10_000)
					s := &sorter{next: c.Next, sort: o.sort}
					r.write(riders, 500, s.fill)
					r.load(b, 500_000, 5000, s.fill)
					s.report(b)
				})
			}
		}
	}
}

// BenchmarkInfluxBackfill is how InfluxDB takes what lies days back: each of 500
// phones sends ten days that it has kept, 200 pings at a time. By window,
// 50,000 lines are looked at at once, and a batch is of one day where they allow.
func BenchmarkInfluxBackfill(b *testing.B) {
	const riders, points, days = 500, 1000, 10
	for _, version := range []int{1, 2} {
		for _, o := range append(orders[:len(orders):len(orders)], struct {
			name string
			sort func([]pingline.Entry)
		}{"by window", nil}) {
			b.Run(fmt.Sprintf("v%d/%s", version, o.name), func(b *testing.B) {
				r := newRig(b, influxd.Config{Version: version, Retention: 30 * 24 * time.Hour, Env: tuned(version, riders)})
				day := 24 * time.Hour.Milliseconds()
				c := storetest.NewConvoy(riders, time.Now().UnixMilli()-(days+1)*day, days*day/points)
				all := backlog(c, points, 200)
				next := func() *pingline.Entry {
					e := &all[0]
					all = all[1:]
					return e
				}
				s := &sorter{next: next, sort: o.sort}
				if o.sort == nil {
					s.sort, s.ahead = func(list []pingline.Entry) { slices.SortFunc(list, byTime) }, 50_000
				}
				r.load(b, riders*points, 5000, s.fill)
				s.report(b)
			})
		}
	}
}

// backlog returns so many pings of each rider as phones send them: in runs, each
// of one rider.
func backlog(c *storetest.Convoy, points, run int) (all []pingline.Entry) {
	own := make(map[string][]pingline.Entry)
	for range points * len(c.Riders()) {
		e := c.Next()
		own[e.Rider] = append(own[e.Rider], *e)
	}
	for from := 0; from < points; from += run {
		for i := range c.Riders() {
			all = append(all, own[c.Riders()[i].Rider][from:from+run]...)
		}
	}
	return all
}

// sorter makes batches of lines that are sorted, each by itself or, if ahead is
// set, so many lines at once.
type sorter struct {
	next  func() *pingline.Entry
	sort  func([]pingline.Entry)
	ahead int // lines; 0 for those of a batch

	list          []pingline.Entry
	rest          []pingline.Entry
	lines, sent   int
	plain, packed int64 // bytes of a sample of the batches
	busy          time.Duration
}

func (s *sorter) fill(dst []byte, lines int) []byte {
	if len(s.rest) == 0 {
		s.list = s.list[:0]
		for range max(s.ahead, lines) {
			s.list = append(s.list, *s.next())
		}
		began := time.Now()
		s.sort(s.list)
		s.busy += time.Since(began)
		s.rest = s.list
	}
	for i := range s.rest[:lines] {
		dst = influx.AppendLine(dst, &s.rest[i])
	}
	s.rest = s.rest[lines:]
	if s.lines += lines; s.packed == 0 {
		var b bytes.Buffer
		z, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed)
		_, _ = z.Write(dst)
		_ = z.Close()
		s.sent, s.plain, s.packed = lines, int64(len(dst)), int64(b.Len())
	}
	return dst
}

func (s *sorter) report(b *testing.B) {
	b.ReportMetric(float64(s.plain)/float64(s.sent), "B/line")
	b.ReportMetric(float64(s.packed)/float64(s.sent), "gzip-B/line")
	b.ReportMetric(float64(s.busy.Nanoseconds())/float64(s.lines), "sort-ns/line")
}
