package node

import (
	"context"
	"strconv"
	"time"

	"pingline/ingest/server"
	"pingline/partition"
	"pingline/query"
	"pingline/sink"
	"pingline/sink/store"
)

// reader is what the reading routes ask.
func (n *Node) reader() server.Reader {
	stores := query.New(n.layout.read())
	r := server.Reader{
		Track: func(ctx context.Context, q server.TrackQuery) (server.Points, error) {
			page, err := stores.Track(ctx, store.Query{Rider: q.Rider, Device: q.Device, From: q.From, FromNano: q.FromNano, To: q.To, Limit: q.Limit})
			return n.points(page, q.From), err
		},
		Latest: func(ctx context.Context, rider string) (server.Points, error) {
			page, err := stores.Latest(ctx, rider)
			return n.points(page, 0), err
		},
		Partitions: n.partitions,
		Shards:     len(n.layout.read()),
	}
	if n.rollup != nil {
		r.Cells = n.cells
	}
	return r
}

// points are a page of what is stored from a time on, ms. A shard that was taken
// away may have some of what came before that, with a ts of up to --max-ahead more.
func (n *Node) points(page query.Page, from int64) server.Points {
	gone := n.sink.GoneBefore()
	for _, err := range page.Silent {
		n.logger.Debug("part of a track is missing", "error", err)
	}
	return server.Points{
		List: page.Points, More: page.More, Partial: len(page.Silent) > 0 || gone > 0 && from <= gone+n.cfg.MaxAhead.Milliseconds(),
		Next: page.Next, NextNano: page.NextNano,
	}
}

// written is the number of the first commit that is not all in the stores.
func (n *Node) written() uint64 {
	if n.sink == nil {
		return 0 // not yet
	}
	return n.sink.Written()
}

// partitions says how points are spread, since the start.
func (n *Node) partitions() server.Partitions {
	p := server.Partitions{Shards: []server.ShardShare{}, HotCells: []server.HotCell{}}
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
		p.Shards = append(p.Shards, server.ShardShare{Name: st.Shard, Points: st.Written, Share: share, Up: st.Down == 0})
	}
	for _, h := range n.layout.keys.Hot(time.Now()) {
		p.HotCells = append(p.HotCells, server.HotCell{Cell: strconv.FormatUint(h.Cell, 16), Rate: h.Rate, Splits: h.Splits})
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
