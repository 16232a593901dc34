package node

import (
	"cmp"
	"strconv"
	"time"

	"pingline/partition"
	"pingline/query"
	"pingline/query/fleet"
	"pingline/query/history"
	"pingline/query/status"
	"pingline/sink"
)

// sources are the parts from which the reading routes answer.
func (n *Node) sources() query.Sources {
	gone := query.Gone{Before: n.sink.GoneBefore, MaxAhead: n.cfg.MaxAhead, Logger: n.logger}
	// A point follows a pause of a phone, or the longest line over dropped pings.
	s := query.New(n.layout.readers).Of(gone, cmp.Or(n.cfg.Filter.MaxGap, fleet.GoneAfter)+fleet.StaleAfter)
	s.Partitions = n.partitions
	s.Riders, s.Status = n.fleet.Riders, n.status.JSON
	if n.rollup != nil {
		s.Cells = n.cells
		s.Past = history.New(history.Config{Stores: n.layout.points, Resolutions: n.cfg.Rollup, Windows: n.cfg.RollupWindows})
	}
	return s
}

// written is the number of the first commit that is not completely in the
// stores.
func (n *Node) written() uint64 {
	if n.sink == nil {
		return 0 // the sink is not open yet
	}
	return min(n.sink.Written(), n.removals.Written())
}

// partitions tells how points have been spread since the start.
func (n *Node) partitions() query.Partitions {
	p := query.Partitions{Shards: []query.ShardShare{}, HotCells: []query.BusyCell{}}
	var total uint64
	stats := n.sink.Stats()
	for _, st := range stats {
		total += st.Written
	}
	p.Imbalance = imbalance(stats[:n.layout.read.Spread.Len()], n.layout.read.Spread)
	for _, st := range stats {
		share := 0.0
		if total > 0 {
			share = float64(st.Written) / float64(total)
		}
		p.Shards = append(p.Shards, query.ShardShare{Name: st.Shard, Points: st.Written, Share: share, Up: st.Down == 0})
	}
	for _, h := range n.layout.keys.Hot(time.Now()) {
		p.HotCells = append(p.HotCells, query.BusyCell{Cell: strconv.FormatUint(h.Cell, 16), Rate: h.Rate, Splits: h.Splits})
	}
	return p
}

// imbalance returns how far the fullest shard is above the mean, in points for its
// weight: 1 is in balance, 0 means no points. stats are of the shards that keys
// are spread over.
func imbalance(stats []sink.Stats, over *partition.Shards) float64 {
	var sum, most float64
	for i, st := range stats {
		points := float64(st.Written) / over.At(i).Weight
		sum += points
		most = max(most, points)
	}
	if sum == 0 {
		return 0
	}
	return most * float64(len(stats)) / sum
}

// pausesStreams returns why viewers are told of nothing for now, or "".
func (n *Node) pausesStreams() string {
	if n.over.Policy().NoReads {
		return "overloaded, the fleet is not shown"
	}
	return ""
}

// state is what GET /v1/status tells. It is called only once n is open.
func (n *Node) state() status.State {
	s := n.parts.State()
	s.Unready = n.server.Unready()
	return s
}
