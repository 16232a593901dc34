package sink

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pingline"
	"pingline/internal/influxd"
	"pingline/query"
	"pingline/queue"
	"pingline/sink/influx"
	"pingline/sink/route"
	"pingline/sink/store"
)

// A cell is split from one to 64 sub-keys and merged again while one shard is
// dead and its lanes are far behind, and the process stops and starts: every
// ping reaches the shard of its key, and no other.
func TestKeysSplitWhileAShardIsBehind(t *testing.T) {
	names := []string{"a", "b", "c", "d"}
	var dead atomic.Bool
	dead.Store(true)
	var stores []*recorder
	for _, name := range names {
		stores = append(stores, recording(t, func([]string) int {
			if name == "b" && dead.Load() {
				return http.StatusServiceUnavailable
			}
			return http.StatusNoContent
		}))
	}
	w := testLog(t)
	open := func() *Sink {
		return testSink(t, w, nil, func(c *Config) {
			c.BatchLines = 50
			c.Shards = nil
			for i, name := range names {
				c.Shards = append(c.Shards, ShardStore{Name: name, Store: stores[i].Bucket})
			}
			c.Spread = spread(t, names...)
		})
	}
	var all []pingline.Entry
	const cell = 0x8539220ffffffff
	splits := []int{1, 2, 4, 8, 16, 32, 64, 32, 16, 8, 4, 2, 1}
	for i, n := range splits {
		s := open()
		stop := start(t, s)
		for j := range 4 {
			some := mixed(uint64(10*i+j), 100)
			for k := range some {
				some[k].Cell, some[k].SubKey = cell, uint16(k%n)
			}
			w.commit(some...)
			all = append(all, some...)
		}
		if i == len(splits)-1 {
			if st := s.Stats()[1]; st.Queued == 0 {
				t.Error("the dead shard is not behind: this shows nothing")
			}
			dead.Store(false)
			drained(t, s)
		} else {
			eventually(t, "all but the dead shard are done", func() bool {
				return !slices.ContainsFunc(s.Stats(), func(st Stats) bool { return st.Shard != "b" && st.Lanes[route.Live].Behind > 0 })
			})
		}
		balanced(t, s, w)
		stop()
	}
	over := spread(t, names...)
	for i, store := range stores {
		var mine []pingline.Entry
		for j := range all {
			if over.Of(&all[j]) == i {
				mine = append(mine, all[j])
			}
		}
		if len(mine) == 0 {
			t.Errorf("shard %s has nothing: this shows little", names[i])
		}
		if got, want := slices.Compact(store.taken()), linesOf(mine...); !slices.Equal(got, want) {
			t.Errorf("shard %s has %d lines, want the %d of its keys", names[i], len(got), len(want))
		}
	}
}

// An event is written though InfluxDB has as much of the crowd's backlog under
// way as it may have, and though that never ends.
func TestEventsDoNotWaitForTheCrowd(t *testing.T) {
	release := make(chan struct{})
	var under atomic.Int64
	store := recording(t, func(lines []string) int {
		if !strings.Contains(lines[0], "event=") {
			under.Add(1)
			<-release
		}
		return http.StatusNoContent
	})
	w := testLog(t)
	s := testSink(t, w, store.Bucket, func(c *Config) { c.BatchLines = 100 })
	start(t, s)
	all := fleet(1, 5000)
	for i := range all[:2500] {
		all[i].At -= time.Hour.Milliseconds() // a part of it is backfill
	}
	w.commit(all...)
	eventually(t, "all that may be is under way", func() bool {
		n, limit := s.shards[0].writes.InFlight()
		return n == limit && under.Load() == int64(n)
	})
	for i := range 3 {
		sos := fleet(uint64(2+i), 1)
		sos[0].Event = "sos"
		w.commit(sos...)
		all = append(all, sos...)
		eventually(t, "the event is stored", func() bool { return len(store.taken()) == i+1 })
	}
	close(release)
	drained(t, s)
	balanced(t, s, w)
	sameLines(t, store.taken(), linesOf(all...))
}

// A shard is dead for ever under load: its pings move over, the others are up to
// date all the while, the log is trimmed, and when it is back after all a track
// shows each point once. Once the log is so small that it would be full long
// before others stand in, were it not for the level.
func TestAShardIsDeadForEver(t *testing.T) {
	for _, tt := range []struct {
		name     string
		handOver time.Duration
	}{
		{"after a time", 300 * time.Millisecond},
		{"the log fills up before", time.Hour},
	} {
		t.Run(tt.name, func(t *testing.T) { testDeadForEver(t, tt.handOver) })
	}
}

func testDeadForEver(t *testing.T, handOver time.Duration) {
	log, err := queue.Open(t.Context(), queue.Config{Dir: t.TempDir(), MaxBytes: 1 << 20, CacheBytes: 1 << 16, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	w := &writer{t: t, log: log}
	t.Cleanup(w.close)
	var servers []*influxd.Server
	var shards []ShardStore
	for _, name := range []string{"a", "b", "c"} {
		servers = append(servers, influxd.RunTest(t))
		shards = append(shards, ShardStore{Name: name, Store: testInflux(t, influx.Config{URL: servers[len(servers)-1].URL()})})
	}
	s := testSink(t, w, nil, func(c *Config) {
		handing(t, shards...)(c)
		c.HandOver = handOver
		c.Policy = func() pingline.Policy {
			if log.Bytes() > log.Limit()*3/4 {
				return pingline.PolicyAt(2)
			}
			return pingline.PolicyAt(0)
		}
	})
	start(t, s)
	trimming, stop := context.WithCancel(t.Context())
	var trimmer sync.WaitGroup
	trimmer.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for trimming.Err() == nil {
			_ = errors.Join(log.KeepCursors(), log.TrimKept())
			<-tick.C
		}
	})
	defer trimmer.Wait()
	defer stop()
	servers[0].Kill()
	var all []pingline.Entry
	add := func() {
		some := mixed(uint64(len(all)), 500)
		eventually(t, "there is room", func() bool { return log.Room() > 1<<17 })
		w.commit(some...)
		all = append(all, some...)
	}
	upToDate := func() bool {
		st := s.Stats()
		return st[1].Lanes[route.Live].Behind+st[2].Lanes[route.Live].Behind+st[1].Lanes[route.Critical].Behind+st[2].Lanes[route.Critical].Behind == 0
	}
	for written := int64(0); written < 3*log.Limit(); written += 500 * 45 { // a commit is larger than that
		add()
		if written%(1<<18) < 500*45 {
			eventually(t, "the others are up to date", upToDate)
		}
	}
	if st := s.Stats(); int(st[1].Written+st[2].Written) <= len(all)-len(homeOf(s, all, 0)) || log.First() == 1 {
		t.Errorf("the log begins at %d, shards %+v", log.First(), st)
	}
	if err := servers[0].Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the shard is back", func() bool {
		add()
		drained(t, s)
		return s.Stats()[0].Down == 0
	})
	add()
	drained(t, s)
	balanced(t, s, w)
	if s.Stats()[0].Written == 0 {
		t.Error("the shard has nothing though it is back")
	}
	sameTracks(t, readers(shards), all)
}

// readers reads what shards hold as one.
func readers(shards []ShardStore) *query.Stores {
	var list []query.ShardReader
	for _, s := range shards {
		list = append(list, query.ShardReader{Name: s.Name, Reader: s.Store.(store.Reader)})
	}
	return query.New(list)
}

// sameTracks reads the tracks of some riders from all shards and wants each of
// their points once.
func sameTracks(t *testing.T, from *query.Stores, all []pingline.Entry) {
	t.Helper()
	want := make(map[string]map[string]bool) // by rider: device and ts
	for i := range all {
		e := &all[i]
		if want[e.Rider] == nil {
			want[e.Rider] = make(map[string]bool)
		}
		want[e.Rider][fmt.Sprint(e.Device, e.At)] = true
	}
	riders := 0
	for rider, points := range want {
		if riders++; riders > 50 {
			break
		}
		page, err := from.Track(t.Context(), store.Query{From: 0, To: 1 << 43, Rider: rider, Limit: 10_000})
		if err != nil || len(page.Silent) > 0 {
			t.Fatalf("track of %s: %v, %v", rider, err, page.Silent)
		}
		got := make(map[string]bool)
		for _, e := range page.Points {
			got[fmt.Sprint(e.Device, e.At)] = true
		}
		if len(page.Points) != len(points) || len(got) != len(points) {
			t.Errorf("the track of %s has %d points, %d different ones, want %d", rider, len(page.Points), len(got), len(points))
		}
	}
}
