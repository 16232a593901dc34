package node

import (
	"strconv"
	"time"

	"pingline/partition"
	"pingline/query"
	"pingline/sink"
)

// sources are where the reading routes look.
func (n *Node) sources() query.Sources {
	s := query.New(n.layout.read()).Of(query.Gone{Before: n.sink.GoneBefore, MaxAhead: n.cfg.MaxAhead, Logger: n.logger})
	s.Partitions = n.partitions
	if n.rollup != nil {
		s.Cells = n.cells
	}
	return s
}

// written is the number of the first commit that is not all in the stores.
func (n *Node) written() uint64 {
	if n.sink == nil {
		return 0 // not yet
	}
	return n.sink.Written()
}

// partitions says how points are spread, since the start.
func (n *Node) partitions() query.Partitions {
	p := query.Partitions{Shards: []query.ShardShare{}, HotCells: []query.BusyCell{}}
	var total uint64
	stats := n.sink.Stats()
	for _, st := range stats {
		total += st.Written
	}
	p.Imbalance = imbalance(stats[:n.layout.over.Len()], n.layout.over)
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

// imbalance returns how far the fullest shard is above the mean, in points for
// its weight: 1 is in balance, 0 of nothing. stats are of the shards that keys are
// spread over.
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
