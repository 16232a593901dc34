package node

import (
	"pingline/internal/ops"
	"pingline/internal/resharding"
	"pingline/internal/rights"
	"pingline/rollup"
	"pingline/sink/influx"
)

// Measurements in InfluxDB, besides those that ops.Written knows.
const (
	PingMeasurement     = influx.Measurement
	ActivityMeasurement = rollup.Measurement
)

// PointNames are the names of all points that a node writes beside pings.
var PointNames = []string{ActivityMeasurement, ops.NodePoint, ops.ShardPoint, ops.LanePoint, ops.ReasonPoint, ops.MemoryPoint, ops.SetPoint, rights.Measurement, resharding.Measurement}

// Written returns the tags and fields of the points that a node writes into a
// measurement of InfluxDB, and false if it writes none there.
func Written(measurement string) (s ops.Schema, ok bool) {
	switch measurement {
	case PingMeasurement:
		s.Tags, s.Fields = influx.Names()
	case ActivityMeasurement:
		s.Tags, s.Fields = rollup.Names()
	case resharding.Measurement:
		s.Tags, s.Fields = resharding.Names()
	case rights.Measurement:
		s.Tags, s.Fields = []string{"node"}, []string{"count"}
	default:
		return ops.Written(measurement)
	}
	return s, true
}
