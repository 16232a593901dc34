package ops

import (
	"math"
	"slices"
	"testing"
	"time"

	"pingline"
	"pingline/ingest/server"
	"pingline/sink"
	"pingline/sink/moving"
	"pingline/sink/reshard"
)

func TestQuantile(t *testing.T) {
	var s quantile
	if s.take() != nil {
		t.Error("nothing has a quantile")
	}
	for i := range 1000 {
		s.observe(float64(i+1) / 100)
	}
	if got := p99(s.take()); got < 9.9 || got > 9.9*1.08 {
		t.Errorf("p99 of 10 ms to 10 s is %v", got)
	}
	for _, v := range []float64{-5, 0, 1e-9, 1e12, math.Inf(1)} {
		s.observe(v)
		if got := p99(s.take()); got < tenthMs || got > 1e8 {
			t.Errorf("%v is taken for %v", v, got)
		}
	}
}

// The age of pings is told of each lane and, over all lanes, of each shard; what is told
// is of the time since it was told before.
func TestNewestTimes(t *testing.T) {
	m := NewMetrics()
	m.ObserveRequest("/v1/pings", 200, 20*time.Millisecond)
	m.ObserveRequest("/readyz", 200, time.Hour)
	m.ObserveFreshness("b", "live", slices.Values([]float64{1}))
	m.ObserveFreshness("a", "live", slices.Values([]float64{1}))
	m.ObserveFreshness("a", "backfill", slices.Values([]float64{100}))
	got := m.recent.take()
	if got.request == nil || math.Abs(*got.request-0.02) > 0.0003 || got.commit != nil {
		t.Errorf("requests took %v s, want 0.02; appends %v s, want none", got.request, got.commit)
	}
	near := func(is []shardTime, want ...shardTime) {
		t.Helper()
		for i, w := range want {
			if len(is) != len(want) || is[i].laneOf != w.laneOf || math.Abs(is[i].seconds/w.seconds-1) > 0.02 {
				t.Errorf("ages %v, want %v", is, want)
			}
		}
	}
	near(got.lanes, shardTime{laneOf{"a", "backfill"}, 100}, shardTime{laneOf{"a", "live"}, 1}, shardTime{laneOf{"b", "live"}, 1})
	near(got.freshness, shardTime{laneOf{shard: "a"}, 100}, shardTime{laneOf{shard: "b"}, 1})
	if got = m.recent.take(); got.request != nil || len(got.lanes)+len(got.freshness) > 0 {
		t.Errorf("%+v is told twice", got)
	}
}

// A node of one shard says all of it in points that the log takes, each tag and
// field once.
func TestPointsOfANode(t *testing.T) {
	recent := &latest{writes: []shardTime{{laneOf{shard: "a"}, 0.2}}, lanes: []shardTime{{laneOf{"a", "live"}, 1.5}}}
	s := &snapshot{
		Books: Books{
			Server: server.Stats{Received: 9, Rejected: 2, Reasons: map[string]uint64{"ts": 2}, OutOfRange: map[string]uint64{"speed": 1}},
			Shards: []sink.Stats{{
				Shard: "a", Written: 5, DeadLetters: map[string]uint64{"conflict": 3, "expired": 1}, Down: 1500 * time.Millisecond,
				Lanes: []sink.LaneStats{{Lane: "live", Queued: 7, Oldest: 2 * time.Second}},
			}},
			Changes: []reshard.SetStatus{{Set: "main", Phase: reshard.Cut}, {Set: "archive", Phase: reshard.Settled}},
			Moving:  []moving.MoveStatus{{Set: "main", Stage: moving.Copying, Rows: 3, RowsDone: 1}},
		},
		recent: recent, level: 1, diskFree: 5, accounts: []account{{"log", 3, 4}},
	}
	got := map[string]map[string]any{} // by name and tags
	for _, e := range s.points("n 1", 1000) {
		if err := e.Point.Validate(); err != nil || e.Kind != pingline.Self || e.Point.At != 1000 {
			t.Errorf("%+v: %v", e, err)
		}
		name := e.Point.Name
		for _, tag := range e.Point.Tags {
			name += "," + tag.Key + "=" + tag.Value
		}
		if got[name] != nil {
			t.Errorf("%s is there twice", name)
		}
		got[name] = map[string]any{}
		for _, f := range e.Point.Fields {
			if f.Type == pingline.FloatField {
				got[name][f.Key] = f.Float()
			} else {
				got[name][f.Key] = f.Int()
			}
		}
	}
	for name, fields := range map[string]map[string]any{
		"pingline,node=n 1":                                         {"received": int64(9), "rejected": int64(2), "accepted": int64(0), "promoted": int64(0), "level": int64(1), "disk_free_bytes": int64(5)},
		"pingline_shard,node=n 1,shard=a":                           {"written": int64(5), "dead_letters": int64(4), "down_s": 1.5, "breaker": int64(0)},
		"pingline_lane,lane=live,node=n 1,shard=a":                  {"waiting": int64(7), "oldest_s": 2.0, "freshness_p99_s": 1.5},
		"pingline_memory,account=log,node=n 1":                      {"bytes": int64(3), "max_bytes": int64(4)},
		"pingline_set,node=n 1,set=main":                            {"reshard_phase": int64(2), "reshard_history_share": 0.333},
		"pingline_set,node=n 1,set=archive":                         {"reshard_phase": int64(0)},
		"pingline_reason,kind=gap,node=n 1,reason=verdicts":         {"count": int64(7)},
		"pingline_reason,kind=rejected,node=n 1,reason=ts":          {"count": int64(2)},
		"pingline_reason,kind=out_of_range,node=n 1,reason=speed":   {"count": int64(1)},
		"pingline_reason,kind=dead_letter,node=n 1,reason=conflict": {"count": int64(3)},
		"pingline_reason,kind=dead_letter,node=n 1,reason=expired":  {"count": int64(1)},
	} {
		for field, want := range fields {
			if v := got[name][field]; v != want {
				t.Errorf("%s of %s is %v, want %v", field, name, v, want)
			}
		}
	}
	if len(got) != 14 {
		t.Errorf("%d points, want 14: %v", len(got), got)
	}
	shard := got["pingline_shard,node=n 1,shard=a"]
	if p99, ok := shard["write_p99_ms"].(float64); !ok || p99 != 200 {
		t.Errorf("the writes took %v ms, want 200", shard["write_p99_ms"])
	}
	if _, ok := shard["freshness_p99_s"]; ok {
		t.Error("pings have an age though none was stored")
	}
	if _, ok := got["pingline,node=n 1"]["request_p99_ms"]; ok {
		t.Error("requests took some time though there was none")
	}
	if _, ok := got["pingline,node=n 1"]["rollup_pings"]; ok {
		t.Error("the roll-up counts though it is off")
	}
}

// The list says each thing once, and all that the docs need.
func TestNumbersAreOneList(t *testing.T) {
	metrics, fields := map[string]bool{}, map[string]bool{}
	for i := range numbers {
		n := &numbers[i]
		place := n.point + " " + n.field + " " + n.count
		switch {
		case n.help == "" || n.metric == "" && n.field == "" || (n.point == "") != (n.field == ""):
			t.Errorf("%+v says too little", n)
		case n.metric != "" && metrics[n.metric] || n.field != "" && fields[place]:
			t.Errorf("%s %s is there twice", n.metric, place)
		case (n.read == nil) != (n.kind == histogram):
			t.Errorf("%s %s: a histogram is measured, all others are read", n.metric, place)
		}
		metrics[n.metric], fields[place] = true, true
	}
}

// The schema has each point that a node writes, with its tags and fields, and no more.
func TestSchema(t *testing.T) {
	fields := map[string][]string{}
	for _, e := range everything().points("n", 1000) {
		s, ok := Written(e.Point.Name)
		if !ok {
			t.Fatalf("%s is not known", e.Point.Name)
		}
		for _, tag := range e.Point.Tags {
			if !slices.Contains(s.Tags, tag.Key) {
				t.Errorf("%s: tag %s is not known", e.Point.Name, tag.Key)
			}
		}
		for _, f := range e.Point.Fields {
			if !slices.Contains(s.Fields, f.Key) {
				t.Errorf("%s: field %s is not known", e.Point.Name, f.Key)
			}
			fields[e.Point.Name] = append(fields[e.Point.Name], f.Key)
		}
	}
	for name, keys := range fields {
		slices.Sort(keys)
		if s, _ := Written(name); !slices.Equal(s.Fields, slices.Compact(keys)) {
			t.Errorf("%s has the fields %v, written are %v", name, s.Fields, slices.Compact(keys))
		}
	}
	if _, ok := Written("location"); ok || len(fields) != 6 {
		t.Errorf("%d points are known, want 6", len(fields))
	}
	if labels, ok := MetricLabels("pingline_queue_pings"); !ok || !slices.Equal(labels, []string{"shard", "lane"}) {
		t.Errorf("labels %v of pingline_queue_pings", labels)
	}
	if _, ok := MetricLabels("pingline_made_up"); ok {
		t.Error("a metric is known that there is not")
	}
}
