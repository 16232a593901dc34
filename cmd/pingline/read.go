package main

import (
	"context"
	"strconv"
	"time"

	"pingline/ingest/server"
	"pingline/partition"
	"pingline/sink"
)

// reader is what the reading routes ask.
func (s *service) reader() server.Reader {
	store := sink.NewStore(s.layout.read())
	r := server.Reader{
		Track: func(ctx context.Context, q server.TrackQuery) (server.Points, error) {
			page, err := store.Track(ctx, sink.Query{Rider: q.Rider, Device: q.Device, From: q.From, FromNano: q.FromNano, To: q.To, Limit: q.Limit})
			return s.points(page, q.From), err
		},
		Latest: func(ctx context.Context, rider string) (server.Points, error) {
			page, err := store.Latest(ctx, rider)
			return s.points(page, 0), err
		},
		Partitions: s.partitions,
		Shards:     len(s.layout.read()),
	}
	if s.rollup != nil {
		r.Cells = s.cells
	}
	return r
}

// points are a page of what is stored from a time on, ms. A shard that was taken
// away may have some of what came before that, with a ts of up to --max-ahead more.
func (s *service) points(page sink.Page, from int64) server.Points {
	gone := s.sink.GoneBefore()
	for _, err := range page.Silent {
		s.logger.Debug("part of a track is missing", "error", err)
	}
	return server.Points{
		List: page.Points, More: page.More, Partial: len(page.Silent) > 0 || gone > 0 && from <= gone+s.cfg.MaxAhead.Milliseconds(),
		Next: page.Next, NextNano: page.NextNano,
	}
}

// written is the number of the first commit that is not all in InfluxDB.
func (s *service) written() uint64 {
	if s.sink == nil {
		return 0 // not yet
	}
	return s.sink.Written()
}

// partitions says how points are spread, since the start.
func (s *service) partitions() server.Partitions {
	p := server.Partitions{Shards: []server.ShardShare{}, HotCells: []server.HotCell{}}
	var total uint64
	stats := s.sink.Stats()
	for _, st := range stats {
		total += st.Written
	}
	p.Imbalance = imbalance(stats[:s.layout.over.Len()], s.layout.over)
	for _, st := range stats {
		share := 0.0
		if total > 0 {
			share = float64(st.Written) / float64(total)
		}
		p.Shards = append(p.Shards, server.ShardShare{Name: st.Shard, Points: st.Written, Share: share, Up: st.Down == 0})
	}
	for _, h := range s.layout.keys.Hot(time.Now()) {
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
