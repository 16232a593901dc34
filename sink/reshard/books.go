package reshard

import (
	"cmp"
	"maps"
	"math"
	"slices"

	"pingline"
	"pingline/queue"
	"pingline/sink"
)

// books are the counts of eras that are passed.
type books struct {
	account sink.Account // of what is between the beginning and the end of each of spans
	spans   []eraSpan
	stats   []sink.Stats
}

// eraSpan is the totals of the log at the beginning and the end of an era, the largest numbers if it
// has none.
type eraSpan struct{ from, end queue.Totals }

// add adds the counts of an era, which has an end.
func (b *books) add(era *Era, a sink.Account, stats []sink.Stats) {
	b.count(era, a)
	b.addStats(stats)
}

func (b *books) addStats(stats []sink.Stats) {
	for i := range stats {
		st := &stats[i]
		b.stats = join(b.stats, sink.Stats{Shard: st.Shard, Gone: true, Written: st.Written, Lines: st.Lines, DeadLetters: st.DeadLetters, Unkept: st.Unkept, Bare: st.Bare, Lost: st.Lost, Retries: st.Retries})
	}
}

// count adds the account of an era.
func (b *books) count(era *Era, a sink.Account) {
	of := eraSpan{from: era.From.Totals}
	for total := range of.end {
		of.end[total] = math.MaxUint64
	}
	if era.End != nil {
		of.end = era.End.Totals
	}
	a.Pings.Start -= of.from[pingline.TotalStored]
	a.Lines.Start -= of.from[pingline.TotalLines]
	b.account = sink.Account{Pings: sum(b.account.Pings, a.Pings), Lines: sum(b.account.Lines, a.Lines)}
	b.spans = append(slices.Clip(b.spans), of) // readers share it
}

// whole returns the account of all of the log, which has so many entries: what is between eras, or
// behind the last, counts as passed before. Eras are passed in any order.
func (b *books) whole(log queue.Totals) sink.Account {
	spans, a := slices.Clone(b.spans), b.account
	for total, start := range map[int]*uint64{pingline.TotalStored: &a.Pings.Start, pingline.TotalLines: &a.Lines.Start} {
		slices.SortStableFunc(spans, func(x, y eraSpan) int { return cmp.Compare(x.from[total], y.from[total]) })
		end := uint64(0)
		for _, s := range spans {
			*start += s.from[total] - min(end, s.from[total])
			end = max(end, s.end[total])
		}
		*start += log[total] - min(end, log[total])
	}
	return a
}

func sum(a, b sink.Tally) sink.Tally {
	return sink.Tally{
		Start: a.Start + b.Start, Written: a.Written + b.Written, DeadLettered: a.DeadLettered + b.DeadLettered, Damaged: a.Damaged + b.Damaged,
		Elsewhere: a.Elsewhere + b.Elsewhere, GivenUp: a.GivenUp + b.GivenUp, Queued: a.Queued + b.Queued,
	}
}

// join adds the figures of a shard to those of the same shard, or to the end.
func join(list []sink.Stats, st sink.Stats) []sink.Stats {
	i := slices.IndexFunc(list, func(o sink.Stats) bool { return o.Shard == st.Shard })
	if i < 0 {
		return append(list, st)
	}
	a := &list[i]
	a.Pings, a.HandedOver, a.Gone = a.Pings || st.Pings, a.HandedOver || st.HandedOver, a.Gone && st.Gone
	a.Written, a.Lines, a.Unkept, a.Queued, a.Retries = a.Written+st.Written, a.Lines+st.Lines, a.Unkept+st.Unkept, a.Queued+st.Queued, a.Retries+st.Retries
	lost := max(a.Lost, st.Lost) // of the same store
	a.Bare, a.Lost = a.Bare-a.Lost+st.Bare-st.Lost+lost, lost
	letters := maps.Clone(a.DeadLetters)
	for reason, n := range st.DeadLetters {
		if letters == nil {
			letters = make(map[string]uint64)
		}
		letters[reason] += n
	}
	a.DeadLetters = letters
	a.Lanes = joinLanes(a.Lanes, st.Lanes)
	a.Oldest, a.Down, a.BreakerOpen, a.Breaker = max(a.Oldest, st.Oldest), max(a.Down, st.Down), max(a.BreakerOpen, st.BreakerOpen), max(a.Breaker, st.Breaker)
	a.InFlight, a.Limit = a.InFlight+st.InFlight, a.Limit+st.Limit
	a.LastError, a.Stopped = cmp.Or(a.LastError, st.LastError), cmp.Or(a.Stopped, st.Stopped)
	return list
}

func joinLanes(list, more []sink.LaneStats) []sink.LaneStats {
	list = slices.Clone(list)
	for _, l := range more {
		i := slices.IndexFunc(list, func(o sink.LaneStats) bool { return o.Lane == l.Lane })
		if i < 0 {
			list = append(list, l)
			continue
		}
		a := &list[i]
		a.Queued, a.Oldest, a.Behind = a.Queued+l.Queued, max(a.Oldest, l.Oldest), max(a.Behind, l.Behind)
	}
	return list
}

func joinAll(list, more []sink.Stats) []sink.Stats {
	if len(list) == 0 {
		return slices.Clone(more)
	}
	for _, st := range more {
		list = join(list, st)
	}
	return list
}
