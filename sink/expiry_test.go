package sink

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pingline"
	"pingline/internal/influxd"
	"pingline/sink/store"
)

// aged returns n pings that are so old now.
func aged(seed uint64, n int, age time.Duration) []pingline.Entry {
	list := fleet(seed, n)
	for i := range list {
		list[i].At = time.Now().Add(-age).UnixMilli() + int64(i)
	}
	return list
}

// However many rows are older than the bucket keeps, they stop nobody: they are
// dead letters as long as these are half empty, counted beyond that, and named.
func TestOldRowsStopNobody(t *testing.T) {
	eachVersion(t, influxd.Config{Retention: 24 * time.Hour}, func(t *testing.T, server *influxd.Server) {
		influx := testInflux(t, access(server, "pingline"))
		w := testLog(t)
		s := testSink(t, w, influx, func(c *Config) { c.DeadLetterMaxBytes = 400_000 })
		start(t, s)
		var good []pingline.Entry
		for i := range uint64(5) {
			some := aged(10+i, 500, time.Hour)
			good = append(good, some...)
			w.commit(slices.Concat(aged(i, 800, 48*time.Hour), some)...)
		}
		drained(t, s)
		balanced(t, s, w)
		sameLines(t, stored(t, influx), lines(good...))
		st, letters := s.Stats()[0], uint64(len(deadLettersOf(t, s)))
		if st.DeadLetters[store.Expired] != 4000 || st.Stopped != "" || st.Unkept == 0 || st.Unkept+letters != 4000 {
			t.Errorf("%d letters are kept, %+v", letters, st)
		}
		size, err := s.DeadLetters().Bytes()
		if err != nil || size > 200_000 || size < 150_000 {
			t.Errorf("%d bytes of dead letters, %v", size, err)
		}
		if notes := strings.Join(s.Notes(), "\n"); !strings.Contains(notes, "rows older than it keeps") {
			t.Errorf("notes %q", notes)
		}
	})
}

// How long pings are kept is learnt where pings go, those with an event apart,
// and of several shards the least counts.
func TestKeptIsTheLeastOfWherePingsGo(t *testing.T) {
	eachVersion(t, influxd.Config{Retention: 48 * time.Hour}, func(t *testing.T, server *influxd.Server) {
		createBucket(t, server, "day", 24*time.Hour)
		createBucket(t, server, "forever", 0)
		createBucket(t, server, "hours", 3*time.Hour)
		shard := func(bucket string) ShardStore {
			return ShardStore{Name: bucket, Store: testInflux(t, access(server, bucket))}
		}
		s := testSink(t, testLog(t), nil, func(c *Config) {
			c.Shards = []ShardStore{shard("pingline"), shard("day"), shard("forever"), shard("hours")}
			c.Spread = spread(t, "pingline", "day")
			c.Routes = map[string]int{"event": 2, "self": 3}
		})
		if pings, events := s.Kept(); pings != 0 || events != 0 {
			t.Errorf("before anything is known pings are kept for %v, events for %v", pings, events)
		}
		start(t, s)
		eventually(t, "it is learnt", func() bool {
			pings, events := s.Kept()
			return pings == 24*time.Hour && events == 0
		})
	})
}

// A server that does not say how long it keeps points gives it away by what it
// refuses; 2.x says it then. A row as old that is taken shows that it is no longer
// so.
func TestKeptIsLearntFromRefusals(t *testing.T) {
	cfg := withPasswords
	cfg.Retention = 24 * time.Hour
	eachVersion(t, cfg, func(t *testing.T, server *influxd.Server) {
		blind := access(server, "pingline")
		blind.Token = createToken(t, server, false, true)
		w := testLog(t)
		s := testSink(t, w, testInflux(t, blind), nil)
		start(t, s)
		const most = 30 * time.Hour
		w.commit(slices.Concat(aged(1, 100, 40*time.Hour), aged(2, 100, most), aged(3, 100, time.Hour))...)
		drained(t, s)
		pings, _ := s.Kept()
		if pings < 24*time.Hour || pings > most+time.Minute {
			t.Errorf("pings are kept for %v, by what was refused", pings)
		}
		keepFor(t, server, "pingline", 100*time.Hour)
		w.commit(aged(4, 10, 40*time.Hour)...)
		drained(t, s)
		if server.Version() == 1 {
			if pings, _ := s.Kept(); pings != 0 {
				t.Errorf("older ones are taken, and pings are said to be kept for %v", pings)
			}
		}
	})
}
