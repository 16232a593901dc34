package query

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"pingline"
	"pingline/internal/influxd"
	"pingline/partition"
	"pingline/query/fleet"
	"pingline/sink/influx"
	"pingline/sink/influx/influxtest"
	"pingline/sink/store"
	"pingline/sink/store/storetest"
)

var porto = partition.Box{West: -9, South: 41, East: -8, North: 42}

// Riders at an earlier time are told from the points on both sides of it, whichever shards
// hold them.
func TestThenOfSeveralShards(t *testing.T) {
	influxtest.EachVersion(t, influxd.Config{}, testThenOfSeveralShards)
}

func testThenOfSeveralShards(t *testing.T, server *influxd.Server) {
	var shards []ShardReader
	for _, name := range []string{"a", "b"} {
		if err := server.CreateBucket(t.Context(), name, 0); err != nil {
			t.Fatal(err)
		}
		shards = append(shards, ShardReader{Name: name, Reader: influxtest.Open(t, influxtest.Access(server, name))})
	}
	at := storetest.Recently + 3_600_000
	bodies := make([][]byte, 2)
	add := func(shard int, rider, device string, second int64, lat, lon float64, set ...func(*pingline.Entry)) {
		e := pingline.Entry{Verdict: pingline.Accepted, Cell: 0x8539220ffffffff - uint64(second&1)<<20}
		e.Rider, e.Device, e.At = rider, device, at+1000*second
		if err := e.SetPosition(lat, lon); err != nil {
			t.Fatal(err)
		}
		e.SetOptional(pingline.HasSpeed, 5)
		e.SetOptional(pingline.HasBattery, 0.5)
		for _, set := range set {
			set(&e)
		}
		bodies[shard] = appendLine(bodies[shard], &e)
	}
	skipped := func(n uint32) func(*pingline.Entry) { return func(e *pingline.Entry) { e.Skipped = n } }
	late := func(e *pingline.Entry) { e.Late = true }
	add(0, "moves", "", -90, 41.1, -8.6)
	add(1, "moves", "", -10, 41.2, -8.6)
	add(0, "moves", "", -10, 41.2, -8.6) // in both shards
	add(0, "moves", "", 30, 41.6, -8.2, skipped(8))
	add(1, "moves", "", 60, 41.9, -8.2)
	add(0, "moves", "", -5, 41.9, -8.9, late)
	add(0, "moves", "watch", 0, 41.3, -8.6)
	add(0, "waits", "", -200, 41.4, -8.6)
	add(1, "waits", "", 90, 41.4, -8.6, skipped(58))
	add(0, "pauses", "", -200, 41.5, -8.6)
	add(1, "pauses", "", 90, 41.7, -8.6)
	add(0, "silent", "", -1700, 41.5, -8.6)
	add(0, "gone", "", -1900, 41.5, -8.6)
	add(0, "starts", "", 1, 41.5, -8.6)
	add(0, "left", "", -60, 41.5, -8.6)
	add(1, "left", "", -20, 43.5, -8.6)
	add(0, "comes", "", -20, 43, -8.5)
	add(1, "comes", "", 20, 40, -8.5)
	add(0, "late only", "", -20, 41.5, -8.5, late)
	for k := range bodies {
		influxtest.Write(t, shards[k].Reader.(*influx.Bucket), string(bodies[k]))
	}
	stores := New(shards)
	source := func(s *Stores) *Reader {
		return &Reader{s.Of(Gone{Before: func() int64 { return 0 }, Logger: slog.New(slog.DiscardHandler)}, 7*time.Minute)}
	}
	seen, err := source(stores).RidersAt(t.Context(), &Then{Box: porto, At: at, Most: 10})
	if err != nil || seen.Partial || seen.At != at {
		t.Fatalf("%+v, %v", seen, err)
	}
	var got []string
	for i := range seen.List {
		e := &seen.List[i]
		got = append(got, fmt.Sprintf("%s|%s %d %.4f %.4f %v %v", e.Rider, e.Device, (e.At-at)/1000, e.Lat(), e.Lon(), seen.Between[i], seen.Stale(e)))
		if !e.Has(pingline.HasSpeed) || e.Has(pingline.HasBattery) == seen.Between[i] {
			t.Errorf("%s has the numbers %b", e.Rider, e.Known)
		}
	}
	want := []string{
		"comes| 0 41.5000 -8.5000 true false",
		"moves| 0 41.3000 -8.5000 true false",
		"moves|watch 0 41.3000 -8.6000 false false",
		"pauses| -200 41.5000 -8.6000 false true",
		"silent| -1700 41.5000 -8.6000 false true",
		"waits| 0 41.4000 -8.6000 true false",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("riders:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}

	if _, err := source(stores).RidersAt(t.Context(), &Then{Box: porto, At: at, Most: 5}); !errors.Is(err, ErrTooMany) {
		t.Errorf("at most five: %v", err)
	}
	for _, far := range []int64{math.MinInt64 / 1_000_000, math.MaxInt64 / 1_000_000} {
		if seen, err := source(stores).RidersAt(t.Context(), &Then{Box: porto, At: far, Most: 5}); err != nil || len(seen.List) != 0 {
			t.Errorf("at %d: %+v, %v", far, seen, err)
		}
	}
	dead := ShardReader{Name: "c", Reader: influxtest.Open(t, influx.Config{URL: "http://127.0.0.1:1", Bucket: "c"})}
	seen, err = source(New(append([]ShardReader{dead}, shards...))).RidersAt(t.Context(), &Then{Box: porto, At: at, Most: 10})
	if err != nil || !seen.Partial || len(seen.List) != len(want) {
		t.Errorf("one of three shards is dead: %+v, %v", seen, err)
	}
	if _, err := source(New([]ShardReader{dead})).RidersAt(t.Context(), &Then{Box: porto, At: at, Most: 10}); err == nil {
		t.Error("no error though no shard answers")
	}
}

// crowd is a store in which each of n riders has a point.
type crowd struct{ n, calls int }

func (c *crowd) Points(_ context.Context, q store.Query, each func(e *pingline.Entry, nano int64) error) error {
	for i := range c.n {
		c.calls++
		e := pingline.Entry{}
		e.Rider, e.At = fmt.Sprint("r-", i), q.From
		if err := each(&e, 0); err != nil {
			return err
		}
	}
	return nil
}

// Memory is bounded, however many riders there were.
func TestThenOfACrowd(t *testing.T) {
	c := &crowd{n: mostTracks + 1000}
	_, _, err := New([]ShardReader{{Name: "a", Reader: c}}).Then(t.Context(), &Then{Box: porto, At: 1e12, Most: 10}, time.Minute)
	if !errors.Is(err, ErrTooMany) || c.calls != mostTracks+1 {
		t.Errorf("%v after %d points", err, c.calls)
	}
}

// A rider whose newest ping is not stored yet waits where both pings are, and is silent
// where they are apart.
func TestThenOfWhatIsNotStored(t *testing.T) {
	now := time.Now().UnixMilli()
	at := func(ms int64, lat float64) (f pingline.Fix) {
		f.At = ms
		if err := f.SetPosition(lat, -8.5); err != nil {
			t.Fatal(err)
		}
		return f
	}
	stored := map[string]pingline.Fix{"waits": at(now-280_000, 41.5), "moved": at(now-280_000, 41.5), "silent": at(now-280_000, 41.5)}
	asked := 0
	r := &Reader{Sources{
		Then: func(_ context.Context, q *Then) (Seen, error) {
			tracks := make(map[riderTrack]*neighbours)
			for rider, fix := range stored {
				tracks[riderTrack{rider, ""}] = &neighbours{before: fix}
			}
			return q.pick(tracks)
		},
		Riders: func(q *fleet.InBox) (fleet.Riders, error) {
			if asked++; q.Since != now-60_000+1 || q.Box != porto {
				t.Errorf("asked for %+v", q)
			}
			list := make([]pingline.Entry, 2)
			list[0].Rider, list[0].Fix = "waits", at(now, 41.50005)
			list[1].Rider, list[1].Fix = "moved", at(now, 41.502)
			return fleet.Riders{List: list}, nil
		},
	}}
	seen, err := r.RidersAt(t.Context(), &Then{Box: porto, At: now - 60_000, Most: 10})
	if err != nil || len(seen.List) != 3 {
		t.Fatalf("%+v, %v", seen, err)
	}
	for i := range seen.List {
		e := &seen.List[i]
		if waits := e.Rider == "waits"; seen.Between[i] != waits || seen.Stale(e) == waits || e.Lat() != 41.5 {
			t.Errorf("%s: %+v, between %v, stale %v", e.Rider, e.Fix, seen.Between[i], seen.Stale(e))
		}
	}
	if _, err := r.RidersAt(t.Context(), &Then{Box: porto, At: now - fleet.GoneAfter.Milliseconds() - 1000, Most: 10}); err != nil || asked != 1 {
		t.Errorf("of long ago the memory is asked: %d times, %v", asked, err)
	}
}
