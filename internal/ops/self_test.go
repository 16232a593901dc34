package ops

import (
	"math"
	"testing"
	"time"

	"pingline"
	"pingline/ingest/server"
	"pingline/sink"
)

func TestQuantile(t *testing.T) {
	var s quantile
	if _, ok := s.take(0.99); ok {
		t.Error("nothing has a quantile")
	}
	for i := range 1000 {
		s.observe(float64(i+1) / 100)
	}
	if p99, ok := s.take(0.99); !ok || p99 < 9.9 || p99 > 9.9*1.08 {
		t.Errorf("p99 of 10 ms to 10 s is %v", p99)
	}
	for _, v := range []float64{-5, 0, 1e-9, 1e12, math.Inf(1)} {
		s.observe(v)
		if got, ok := s.take(0.5); !ok || got < tenthMs || got > 1e8 {
			t.Errorf("%v is taken for %v", v, got)
		}
	}
}

// A node of one shard says all of it in points that the log takes, each tag and
// field once.
func TestPointsOfANode(t *testing.T) {
	r := &shardTimes{shard: "a"}
	r.write.observe(0.2)
	s := &snapshot{
		Books: Books{
			Server: server.Stats{Received: 9, Rejected: 2, Reasons: map[string]uint64{"ts": 2}, OutOfRange: map[string]uint64{"speed": 1}},
			Shards: []sink.Stats{{
				Shard: "a", Written: 5, DeadLetters: map[string]uint64{"conflict": 3, "expired": 1}, Down: 1500 * time.Millisecond,
				Lanes: []sink.LaneStats{{Lane: "live", Queued: 7, Oldest: 2 * time.Second}},
			}},
		},
		recent: []*shardTimes{r}, level: 1,
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
		"pingline,node=n 1":                                         {"received": int64(9), "rejected": int64(2), "accepted": int64(0), "promoted": int64(0), "level": int64(1)},
		"pingline_shard,node=n 1,shard=a":                           {"written": int64(5), "dead_letters": int64(4), "down_s": 1.5, "breaker": int64(0)},
		"pingline_lane,lane=live,node=n 1,shard=a":                  {"waiting": int64(7), "oldest_s": 2.0},
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
	if len(got) != 7 {
		t.Errorf("%d points, want 7: %v", len(got), got)
	}
	shard := got["pingline_shard,node=n 1,shard=a"]
	if p99, ok := shard["write_p99_ms"].(float64); !ok || p99 < 200 || p99 > 202 {
		t.Errorf("the writes took %v ms, want 200", shard["write_p99_ms"])
	}
	if _, ok := shard["freshness_p99_s"]; ok {
		t.Error("pings have an age though none was stored")
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
