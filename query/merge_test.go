package query

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pingline"
	"pingline/internal/influxd"
	"pingline/sink/influx"
	"pingline/sink/influx/influxtest"
	"pingline/sink/store"
	"pingline/sink/store/storetest"
)

var appendLine = influx.AppendLine

// scatter writes a track of one rider with three devices over two shards of one
// server: some points in one, some in both, with late ones beside others. It
// returns what a reader is to see, in order.
func scatter(t *testing.T, shards []ShardReader, n int) []pingline.Entry {
	t.Helper()
	rnd := rand.New(rand.NewPCG(1, 1))
	var want []pingline.Entry
	bodies := make([][]byte, len(shards))
	var kinds []int
	for i := range n {
		if i%4 == 0 {
			kinds = rnd.Perm(6)
		}
		e := pingline.Entry{Verdict: pingline.Accepted, Cell: 0x8539220ffffffff - uint64(rnd.IntN(3))<<20}
		e.Rider, e.Device = "r", []string{"", "phone", "watch"}[kinds[i%4]%3]
		e.At = storetest.Recently + int64(i/4) // up to four points of one instant
		e.LatE7, e.LonE7, e.Late = int32(i+1), int32(-i), kinds[i%4] >= 3
		for k := range bodies {
			if k == i%len(bodies) || rnd.IntN(3) == 0 {
				bodies[k] = appendLine(bodies[k], &e)
			}
		}
		want = append(want, e)
	}
	for k := range bodies {
		influxtest.Write(t, shards[k].Reader.(*influx.Bucket), string(bodies[k]))
	}
	slices.SortFunc(want, func(a, b pingline.Entry) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Device, b.Device), cmp.Compare(late(a), late(b)))
	})
	return want
}

func TestTrackOfSeveralShards(t *testing.T) {
	influxtest.EachVersion(t, influxd.Config{}, testTrackOfSeveralShards)
}

func testTrackOfSeveralShards(t *testing.T, server *influxd.Server) {
	var shards []ShardReader
	for _, name := range []string{"a", "b"} {
		if err := server.CreateBucket(t.Context(), name, 0); err != nil {
			t.Fatal(err)
		}
		shards = append(shards, ShardReader{Name: name, Reader: influxtest.Open(t, influxtest.Access(server, name))})
	}
	const n = 3000
	want := scatter(t, shards, n)
	stores := New(shards)

	for _, tt := range []struct {
		name  string
		limit int
		q     store.Query
	}{
		{"all at once", n, store.Query{}},
		{"pages of 500", 500, store.Query{}},
		{"pages of 7 of a part", 7, store.Query{From: storetest.Recently + 100, To: storetest.Recently + 200}},
		{"pages of less than an instant", 1, store.Query{From: storetest.Recently + 700}},
		{"one device", 100, store.Query{Device: "watch"}},
		{"nothing", 100, store.Query{From: storetest.Recently + n}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q := tt.q
			q.Rider, q.Limit, q.To = "r", tt.limit, cmp.Or(q.To, math.MaxInt64/1_000_000)
			part := slices.DeleteFunc(slices.Clone(want), func(e pingline.Entry) bool {
				return e.At < q.From || e.At >= q.To || q.Device != "" && e.Device != q.Device
			})
			samePoints(t, pages(t, stores, q), part)
		})
	}
	t.Run("the newest of each device", func(t *testing.T) {
		page, err := stores.Latest(t.Context(), "r")
		if err != nil || len(page.Points) != 3 {
			t.Fatalf("Latest: %+v, %v", page, err)
		}
		for i, e := range page.Points {
			if i > 0 && e.At > page.Points[i-1].At {
				t.Errorf("%d comes behind %d", e.At, page.Points[i-1].At)
			}
			last := slices.IndexFunc(want, func(w pingline.Entry) bool {
				return w.Device == e.Device && !w.Late && w.At > e.At
			})
			if e.Late || last >= 0 {
				t.Errorf("the newest of %q is %+v, there is %+v", e.Device, e, want[max(last, 0)])
			}
		}
	})
	t.Run("a shard that does not answer", func(t *testing.T) {
		dead := ShardReader{Name: "c", Reader: influxtest.Open(t, influx.Config{URL: "http://127.0.0.1:1", Bucket: "c"})}
		q := store.Query{Rider: "r", From: storetest.Recently, To: math.MaxInt64 / 1_000_000, Limit: n}
		page, err := New(append([]ShardReader{dead}, shards...)).Track(t.Context(), q)
		if err != nil || len(page.Silent) != 1 || !strings.Contains(page.Silent[0].Error(), "shard c") {
			t.Errorf("one of three is dead: silent %v, %v", page.Silent, err)
		}
		samePoints(t, page.Points, want)
		if _, err := New([]ShardReader{dead}).Track(t.Context(), q); err == nil {
			t.Error("no error though no shard answers")
		}
		if _, err := New([]ShardReader{dead}).Latest(t.Context(), "r"); err == nil {
			t.Error("no error though no shard answers")
		}
	})
}

func late(e pingline.Entry) int {
	if e.Late {
		return 1
	}
	return 0
}

// Every event and every late ping of an instant is found, by whoever reads the
// track in pages of any size, however many there are.
func TestTrackOfACrowdedInstant(t *testing.T) {
	influxtest.EachVersion(t, influxd.Config{}, testCrowdedInstant)
}

func testCrowdedInstant(t *testing.T, server *influxd.Server) {
	influx := influxtest.Open(t, influxtest.Access(server, "pingline"))
	var want []pingline.Entry
	add := func(at int64, lat int32, event string, late, apart bool) {
		e := pingline.Entry{Verdict: pingline.Accepted, Late: late, Apart: apart}
		e.Rider, e.Event, e.At, e.LatE7, e.LonE7 = "r", event, at, lat, 2e7
		influxtest.Write(t, influx, string(appendLine(nil, &e)))
		want = append(want, e)
	}
	add(storetest.Recently, 1e7, "", false, false)
	add(storetest.Recently+1, 1e7, "trip_end", false, false)
	add(storetest.Recently+1, 1e7, "sos", false, true)
	for i := range int32(3 * instantMost) {
		add(storetest.Recently+1, 1e7+1000*i, "", true, true)
	}
	add(storetest.Recently+2, 1e7, "", false, false)
	for _, limit := range []int{1, 2, 7, instantMost, 1000} {
		got := make(map[pingline.Entry]int)
		for _, e := range pages(t, New([]ShardReader{{Name: "a", Reader: influx}}), store.Query{Rider: "r", From: storetest.Recently, To: storetest.Recently + 3, Limit: limit}) {
			got[e]++
		}
		for _, e := range want {
			if got[e] != 1 {
				t.Errorf("pages of %d have %d times %+v", limit, got[e], e)
			}
		}
		if len(got) != len(want) {
			t.Errorf("pages of %d have %d points, want %d", limit, len(got), len(want))
		}
	}
}

// A ping stored in two ways is one ping, and a track is at one place at a time.
func TestTrackOfPingsStoredTwice(t *testing.T) {
	at := func(lat int32, event string, late, apart bool) pingline.Entry {
		e := pingline.Entry{Verdict: pingline.Accepted, Late: late, Apart: apart}
		e.Event, e.At, e.LatE7 = event, storetest.Recently, lat
		return e
	}
	for _, tt := range []struct {
		name string
		list []pingline.Entry
		want []pingline.Entry
	}{
		{"late and not", []pingline.Entry{at(1, "", true, true), at(1, "", false, false)}, []pingline.Entry{at(1, "", false, false)}},
		{"an event at its ms and apart", []pingline.Entry{at(1, "sos", false, false), at(1, "sos", false, true)}, []pingline.Entry{at(1, "sos", false, false)}},
		{"a fix and its event", []pingline.Entry{at(1, "sos", false, true), at(1, "", false, false)}, []pingline.Entry{at(1, "", false, false), at(1, "sos", false, true)}},
		{"two places", []pingline.Entry{at(2, "", false, false), at(1, "", false, false)}, []pingline.Entry{at(1, "", false, false), at(2, "", true, false)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := merger{limit: 10}
			for i := range tt.list {
				nano := int64(0)
				if tt.list[i].Apart {
					nano = 7
				}
				if err := m.add(&tt.list[i], nano); err != nil {
					t.Fatal(err)
				}
			}
			samePoints(t, m.page().Points, tt.want)
		})
	}
}

// pages reads all that q selects, page by page.
func pages(t *testing.T, from *Stores, q store.Query) (all []pingline.Entry) {
	t.Helper()
	for more := true; more; {
		page, err := from.Track(t.Context(), q)
		if err != nil || len(page.Silent) > 0 || len(page.Points) > q.Limit+instantMost {
			t.Fatalf("page from %d: %d points, silent %v, %v", q.From, len(page.Points), page.Silent, err)
		}
		if more = page.More; more && len(page.Points) == 0 {
			t.Fatalf("page from %d: nothing, and more of it", q.From)
		}
		all = append(all, page.Points...)
		if more {
			if page.Next < q.From || page.Next == q.From && page.NextNano <= q.FromNano {
				t.Fatalf("the page behind %d,%d begins at %d,%d", q.From, q.FromNano, page.Next, page.NextNano)
			}
			q.From, q.FromNano = page.Next, page.NextNano
		}
	}
	return all
}

func samePoints(t *testing.T, got, want []pingline.Entry) {
	t.Helper()
	if slices.Equal(got, want) {
		return
	}
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Fatalf("%d points, want %d; they differ from number %d on: %+v, want %+v", len(got), len(want), i, got[min(i, len(got)):min(i+1, len(got))], want[min(i, len(want)):min(i+1, len(want))])
		}
	}
}
