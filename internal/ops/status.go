package ops

import (
	"math"

	"pingline"
	"pingline/query/status"
	"pingline/sink"
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
		Stored: b.Sink.Pings.Written, Queued: b.Sink.Pings.Queued,
		Riders: int64(b.Writer.Riders), Streams: p.Streams.Stats().Viewers, Level: p.Overload.Level(),
		Breakers: make([]status.ShardBreaker, len(b.Shards)),
	}
	if s.Level > 0 {
		s.LevelReason = p.Overload.Reason()
	}
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
