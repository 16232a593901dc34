package node

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"pingline/query"
	"pingline/query/fleet"
	"pingline/query/history"
	"pingline/query/status"
)

// sources are the parts from which the reading routes answer.
func (n *Node) sources() query.Sources {
	s := n.sourcesOf(&n.layout.reading)
	s.Partitions = n.partitions
	s.Status = n.status.JSON
	if n.rollup != nil {
		s.Cells = n.gather.Cells
	}
	s.Sets = make(map[string]*query.Reader)
	for _, set := range n.layout.sets {
		if r := set.reading(); len(r.pings())+len(r.points()) > 0 {
			s.Sets[set.Name] = &query.Reader{Sources: n.sourcesOf(r)}
		}
	}
	return s
}

// sourcesOf are those of a choice of stores.
func (n *Node) sourcesOf(r *readFrom) (s query.Sources) {
	beside := n.writer.Beside(func() uint64 { return n.writtenTo(r.sets...) })
	gone := query.Gone{Before: func() int64 { return n.sink.GoneBefore(r.sets...) }, MaxAhead: n.cfg.MaxAhead, Logger: n.logger}
	always := r == &n.layout.reading // what no store tells is told from memory
	if always || len(r.pings()) > 0 {
		// A point follows a pause of a phone, or the longest line over dropped pings.
		s = query.Changing(r.pings).Of(gone, cmp.Or(n.cfg.Filter.MaxGap, fleet.GoneAfter)+fleet.StaleAfter)
	}
	s.Riders, s.State, s.Line = n.fleet.Riders, beside.RiderState, beside.RiderLine
	if n.rollup != nil && (always || len(r.points()) > 0) {
		s.Past = history.New(history.Config{Changing: r.points, Resolutions: n.cfg.Rollup, Windows: n.cfg.RollupWindows})
	}
	return s
}

// written is the number of the first commit that is not completely in the stores that are
// read.
func (n *Node) written() uint64 { return n.writtenTo(n.layout.reading.sets...) }

// writtenTo is the number of the first commit that is not completely in the stores of some
// sets, or of all.
func (n *Node) writtenTo(sets ...string) uint64 {
	if n.sink == nil {
		return 0 // the sink is not open yet
	}
	return min(n.sink.Written(sets...), n.removals.Written())
}

// partitions tells how points have been spread since the start, over the shards of a set or,
// if it is "", of all sets; the imbalance is then that of the set that is read.
func (n *Node) partitions(of string) (query.Partitions, error) {
	if names := n.cfg.setNames(); of != "" && !slices.Contains(names, of) {
		return query.Partitions{}, fmt.Errorf("%q is none of the sets %s", of, strings.Join(names, ", "))
	}
	p := query.Partitions{Shards: []query.ShardShare{}, HotCells: []query.BusyCell{}}
	for _, set := range n.layout.sets {
		var list []query.ShardShare
		for _, st := range n.sink.StatsOf(set.Name) {
			list = append(list, query.ShardShare{Name: st.Shard, Set: set.Name, Points: st.Written, Up: st.Down == 0})
		}
		if p.Weigh(list, set.live.Weight(), set.Name == cmp.Or(of, n.layout.read.Name)); of == "" || set.Name == of {
			p.Shards = append(p.Shards, list...)
		}
	}
	for _, h := range n.layout.keys.Hot(time.Now()) {
		p.HotCells = append(p.HotCells, query.BusyCell{Cell: strconv.FormatUint(h.Cell, 16), Rate: h.Rate, Splits: h.Splits})
	}
	return p, nil
}

// pausesStreams returns why viewers are told of nothing for now, or "".
func (n *Node) pausesStreams() string {
	if n.over.Policy().NoReads {
		return "overloaded, the fleet is not shown"
	}
	return ""
}

// state answers GET /v1/status. It is called only once n is open.
func (n *Node) state() status.State {
	s := n.parts.State()
	s.Unready = n.server.Unready()
	return s
}
