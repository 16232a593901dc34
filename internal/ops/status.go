package ops

import (
	"math"

	"pingline"
	"pingline/query/status"
	"pingline/sink"
	"pingline/sink/reshard"
	"pingline/sink/route"
)

// breakerStates are the states of a breaker in words.
var breakerStates = [...]string{sink.Closed: status.Closed, sink.HalfOpen: "half-open", sink.Open: "open"}

// State returns what GET /v1/status tells of a node, by the counts that /metrics has.
// Of why no pings are taken it knows nothing.
func (p *Parts) State() status.State {
	b := p.Books()
	s := status.State{
		Received: b.Server.Received, Valid: b.valid(), Kept: b.kept(), Shed: b.Verdict(pingline.Shed),
		Stored: b.Sink.Pings.Written, Queued: b.Sink.Pings.Queued, LogBytes: p.Log.Bytes(), LogMost: p.Log.Limit(),
		Riders: int64(b.Writer.Riders), Streams: p.Streams.Stats().Viewers, Level: p.Overload.Level(),
		Breakers: make([]status.ShardBreaker, len(b.Shards)),
	}
	if s.Level > 0 {
		s.LevelReason = p.Overload.Reason()
	}
	s.Reshard = b.goingOn()
	for i := range b.Shards {
		shard := &b.Shards[i]
		s.Breakers[i] = status.ShardBreaker{Shard: shard.Shard, State: breakerStates[shard.Breaker]}
		for j := range shard.Lanes {
			if l := &shard.Lanes[j]; l.Lane != route.Own.String() {
				s.QueueAge = max(s.QueueAge, l.Oldest)
			}
		}
	}
	return s
}

// goingOn returns the changes of shards that are not over, and those that are and whose history
// is still worked on.
func (b *Books) goingOn() (list []status.ShardChange) {
	for i := range b.Changes {
		c := &b.Changes[i]
		change := status.ShardChange{Set: c.Set, Phase: string(c.Phase), What: c.Do}
		works := false
		for j := range b.Moving {
			if h := &b.Moving[j]; h.Set == c.Set {
				done := thousandths(h.Share())
				change.History, change.Done, change.RowsPerS, change.LeftS, change.Stands = string(h.Stage), &done, thousandths(h.Rate), thousandths(h.Left), h.Briefly
				works = h.Works()
			}
		}
		if c.Phase != reshard.Settled || works {
			list = append(list, change)
		}
	}
	return list
}

func thousandths(v float64) float64 { return math.Round(v*1000) / 1000 }

// Freshness returns the age, in seconds, that 50 % and 99 % of the pings stored since it
// was called last had at most, to 1 %; NaN if there were none. Pings of the lanes backfill
// do not count: a phone that was offline would hide how fresh all others are.
func (m *Metrics) Freshness() (p50, p99 float64) {
	seen := m.fresh.take()
	if seen == nil {
		return math.NaN(), math.NaN()
	}
	return quantileOf(seen, 50), quantileOf(seen, 99)
}
