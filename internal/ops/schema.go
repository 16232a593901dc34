package ops

import (
	"maps"
	"slices"
	"time"

	"pingline/ingest/forward"
	"pingline/ingest/server"
	"pingline/rollup"
	"pingline/rollup/merge"
	"pingline/sink"
	"pingline/sink/moving"
	"pingline/sink/reshard"
)

// Schema is the names of the tags and fields of a point, in ascending order.
type Schema struct{ Tags, Fields []string }

// Written returns the tags and fields that a node writes under the name of a point
// about itself, and false if it writes none of that name.
func Written(point string) (s Schema, ok bool) {
	tags, fields := map[string]bool{}, map[string]bool{}
	for _, e := range everything().points("n", time.Now().UnixMilli()) {
		if e.Point.Name != point {
			continue
		}
		for _, t := range e.Point.Tags {
			tags[t.Key] = true
		}
		for _, f := range e.Point.Fields {
			fields[f.Key] = true
		}
	}
	return Schema{slices.Sorted(maps.Keys(tags)), slices.Sorted(maps.Keys(fields))}, len(fields) > 0
}

// MetricLabels returns the labels of a metric in /metrics, and false if there is no
// metric of that name.
func MetricLabels(name string) (labels []string, ok bool) {
	for i := range numbers {
		if n := &numbers[i]; n.metric != "" && "pingline_"+n.metric == name {
			return n.labels, true
		}
	}
	return nil, false
}

// everything is a snapshot that has a value for each number.
func everything() *snapshot {
	one, lane := new(float64), []shardTime{{laneOf: laneOf{"a", "live"}}}
	counts := map[string]uint64{"x": 1}
	return &snapshot{
		Books: Books{
			Server:  server.Stats{Reasons: counts, OutOfRange: counts},
			Shards:  []sink.Stats{{Shard: "a", DeadLetters: counts, Lanes: []sink.LaneStats{{Lane: "live"}}}},
			Changes: []reshard.SetStatus{{Set: "main", Phase: reshard.Settled}},
			Moving:  []moving.MoveStatus{{Set: "main"}},
			Peers:   new(forward.Stats),
		},
		rollup:   &rollup.Stats{Stages: []rollup.Stage{{Res: 8, Window: time.Second}}},
		merged:   new(merge.Stats),
		accounts: []account{{name: "log"}},
		recent:   &latest{request: one, commit: one, writes: lane, freshness: lane, lanes: lane},
	}
}
