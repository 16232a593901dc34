package route

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pingline"
	"pingline/partition"
	"pingline/sink/store/storetest"
)

// evenly spreads pings evenly over shards of these names.
func evenly(t testing.TB, names ...string) *partition.Shards {
	t.Helper()
	var list []partition.Shard
	for _, name := range names {
		list = append(list, partition.Shard{Name: name})
	}
	s, err := partition.NewShards(list...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// line is a ready line of a kind, for a shard.
func line(kind pingline.EntryKind, to string) pingline.Entry {
	return pingline.Entry{Kind: kind, To: to, Line: "a,b=c d=1i 1"}
}

func TestOwner(t *testing.T) {
	at := storetest.Recently
	l := Layout{
		Shards: []string{"a", "b", "events"},
		Spread: evenly(t, "a", "b"),
		Routes: map[string]int{"event": 2, "self": 1},
	}
	plain := storetest.Fleet(1, 1)[0]
	plain.At = at
	home := l.Spread.Of(&plain)
	with := func(change func(*pingline.Entry)) pingline.Entry {
		e := plain
		change(&e)
		return e
	}
	for _, tt := range []struct {
		name  string
		entry pingline.Entry
		want  LaneID
	}{
		{"a ping", plain, LaneIDOf(home, Live)},
		{"a promoted ping", with(func(e *pingline.Entry) { e.Promoted = true }), LaneIDOf(home, Live)},
		{"a ping five minutes old", with(func(e *pingline.Entry) { e.At -= lateAfter.Milliseconds() }), LaneIDOf(home, Live)},
		{"one older than that", with(func(e *pingline.Entry) { e.At -= lateAfter.Milliseconds() + 1 }), LaneIDOf(home, Backfill)},
		{"one of the future", with(func(e *pingline.Entry) { e.At += time.Hour.Milliseconds() }), LaneIDOf(home, Live)},
		{"an event, however old", with(func(e *pingline.Entry) { e.Event = "sos"; e.At = 0 }), LaneIDOf(2, Critical)},
		{"a held ping", with(func(e *pingline.Entry) { e.Verdict = pingline.Held }), NoLane},
		{"a redundant event", with(func(e *pingline.Entry) { e.Verdict, e.Event = pingline.Redundant, "x" }), NoLane},
		{"a replayed line", line(pingline.Replayed, "b"), LaneIDOf(1, Backfill)},
		{"a replayed line in ns", line(pingline.ReplayedNano, "b"), LaneIDOf(1, Backfill)},
		{"a replayed line of a shard that is gone", line(pingline.Replayed, "x"), LaneIDOf(0, Backfill)},
		{"a replayed ping", with(func(e *pingline.Entry) { e.Kind, e.To = pingline.Replayed, "b" }), LaneIDOf(1, Backfill)},
		{"a replayed ping with an event", with(func(e *pingline.Entry) { e.Kind, e.To, e.Event = pingline.Replayed, "b", "trip_start" }), LaneIDOf(1, Backfill)},
		{"activity", line(pingline.Activity, ""), LaneIDOf(0, Own)},
		{"a figure of our own", line(pingline.Self, ""), LaneIDOf(1, Own)},
		{"one that says where it goes", line(pingline.Self, "a"), LaneIDOf(0, Own)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := NewRouter(l)
			if got := r.LaneOf(&tt.entry, at); got != tt.want {
				t.Errorf("owner = %d, want %d", got, tt.want)
			}
		})
	}
}

// A shard is given pings if they are spread over it and not all of them have a route, or
// if a route leads some to it.
func TestShardsOfPings(t *testing.T) {
	for _, tt := range []struct {
		name   string
		spread []string
		routes map[string]int
		want   []bool
	}{
		{"no routes", []string{"a", "b"}, nil, []bool{true, true, false, false}},
		{"lines of our own", []string{"a", "b"}, map[string]int{"activity": 2, "self": 3}, []bool{true, true, false, false}},
		{"events", []string{"a", "b"}, map[string]int{"event": 2, "self": 3}, []bool{true, true, true, false}},
		{"events and lines", []string{"a"}, map[string]int{"event": 2, "activity": 2}, []bool{true, false, true, false}},
		{"all pings", []string{"a", "b"}, map[string]int{"event": 2, "location": 3}, []bool{false, false, true, true}},
		{"all pings to one", []string{"a", "b"}, map[string]int{"event": 1, "location": 1}, []bool{false, true, false, false}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := NewRouter(Layout{Spread: evenly(t, tt.spread...), Routes: tt.routes})
			var got []bool
			for i := range tt.want {
				got = append(got, r.Pings(i))
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("shards that are given pings: %v, want %v", got, tt.want)
			}
		})
	}
}

func TestLayoutOfOneShardHasNoWeight(t *testing.T) {
	if one := (&Layout{Shards: []string{"a"}}); strings.Contains(one.String(), "=") {
		t.Error("a single shard has a weight")
	}
}

// Whatever an entry is, each of several sets has exactly one lane for it. A row that is put
// back goes to the set of the shard that it names alone, and a ping to all sets if none has
// that shard any more.
func TestLanesOfSets(t *testing.T) {
	main := NewRouter(Layout{Shards: []string{"a", "b", Nobody}, Spread: evenly(t, "a", "b"), Routes: map[string]int{"event": 2}, Others: []string{"c"}, Nobody: 2})
	archive := NewRouter(Layout{
		Shards: []string{"c", Nobody}, Spread: evenly(t, "c"), Set: "archive", Others: []string{"a", "b"}, Nobody: 1,
		Routes: map[string]int{"activity": 1, "self": 1},
	})
	ping := storetest.Fleet(1, 1)[0]
	ping.At, ping.Event = storetest.Recently, ""
	event, back := ping, ping
	event.Event, back.Kind = "sos", pingline.Replayed
	to := func(e pingline.Entry, shard string) pingline.Entry {
		e.To = shard
		return e
	}
	home := main.layout.Spread.Of(&ping)
	for _, tt := range []struct {
		name  string
		entry pingline.Entry
		want  [2]LaneID
	}{
		{"a ping goes to both", ping, [2]LaneID{LaneIDOf(home, Live), LaneIDOf(0, Live)}},
		{"an event to one", event, [2]LaneID{LaneIDOf(2, Critical), LaneIDOf(0, Critical)}},
		{"a ping put back for main", to(back, "b"), [2]LaneID{LaneIDOf(1, Backfill), LaneIDOf(1, Backfill)}},
		{"a ping put back for the archive", to(back, "c"), [2]LaneID{LaneIDOf(2, Backfill), LaneIDOf(0, Backfill)}},
		{"one put back for a shard that is gone", to(back, "x"), [2]LaneID{LaneIDOf(home, Backfill), LaneIDOf(0, Backfill)}},
		{"a row of a shard that is gone", to(line(pingline.Replayed, ""), "x"), [2]LaneID{LaneIDOf(0, Backfill), LaneIDOf(1, Backfill)}},
		{"a row of an earlier version put back", line(pingline.Replayed, ""), [2]LaneID{LaneIDOf(0, Backfill), LaneIDOf(1, Backfill)}},
		{"activity", line(pingline.Activity, ""), [2]LaneID{LaneIDOf(0, Own), LaneIDOf(1, Own)}},
		{"activity put back for the archive", line(pingline.Activity, "c"), [2]LaneID{LaneIDOf(2, Own), LaneIDOf(0, Own)}},
	} {
		got := [2]LaneID{main.LaneOf(&tt.entry, storetest.Recently), archive.LaneOf(&tt.entry, storetest.Recently)}
		if got != tt.want {
			t.Errorf("%s: lanes %v, want %v", tt.name, got, tt.want)
		}
	}
}
