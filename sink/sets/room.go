package sets

import (
	"context"
	"log/slog"
	"math"
	"slices"
	"strings"
	"time"

	"pingline/internal/unit"
	"pingline/queue"
	"pingline/sink/resume"
	"pingline/sink/route"
)

// A set that may be given up has a part of the log's room. From giveUpAt of it on, what waits
// for that set alone is given up, the oldest first, until keepBehind is left. No level of
// shedding begins before a quarter of the log is full, so nothing else is given up for the sake
// of the set. The newest stays, but for a batch of each lane.
const (
	giveUpAt   = 0.25 // of the log's limit
	keepBehind = 0.20

	lookForRoom = 100 * time.Millisecond
	reportEvery = time.Minute
)

// room gives up what waits for sets that may be given up, while the log is filling up, until
// ctx ends, and returns nil.
func (s *Sets) room(ctx context.Context) error {
	reported := make([]time.Time, len(s.list))
	tick := time.NewTicker(lookForRoom)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if !slices.ContainsFunc(s.list, func(one named) bool { return one.drop || one.Mirrors() }) {
			continue
		}
		before := s.needed()
		for i, one := range s.list {
			one.GiveUpMirror(before)
			if !one.drop || before <= one.Lowest() {
				continue
			}
			one.GiveUp(before)
			if now := time.Now(); now.Sub(reported[i]) >= reportEvery {
				reported[i] = now
				s.report(&s.list[i])
			}
		}
	}
}

// needed returns the number of the commit before which the log is to be trimmed, as far as
// nothing holds it but sets that may be given up: no other set, no other reader of the log,
// and no backup that is being made. It is 0 if there is room.
func (s *Sets) needed() uint64 {
	limit := float64(s.log.Limit())
	if float64(s.log.Bytes()) < giveUpAt*limit {
		return 0
	}
	var spaces []string // asked before the log is locked
	for _, one := range s.list {
		spaces = append(spaces, one.MirrorSpaces()...)
	}
	return min(behind(s.log, keepBehind*limit), s.log.Held(func(cursor string) bool {
		space, is := resume.SpaceOf(cursor)
		set, _, _ := strings.Cut(space, route.EraSep)
		drops := func(one named) bool { return one.drop && one.name == set }
		return is && (slices.ContainsFunc(s.list, drops) || slices.Contains(spaces, space))
	}))
}

// behind returns the number of the commit behind which about so many bytes of the log are:
// see queue.Log.BytesSince.
func behind(log *queue.Log, bytes float64) uint64 {
	first, next := log.First(), log.Head().Next
	part := min(1, bytes/math.Max(float64(log.Bytes()), 1))
	return next - uint64(part*float64(next-min(first, next)))
}

func (s *Sets) report(one *named) {
	lacks := one.Lacks()
	s.logger.LogAttrs(context.Background(), slog.LevelWarn, "the log is filling up: the oldest of what waits for a set of shards is given up, as on-full=drop-set says",
		slog.String("set", one.name), slog.Any("log", unit.Bytes(s.log.Bytes())), slog.Any("limit", unit.Bytes(s.log.Limit())),
		slog.Uint64("pings_given_up", lacks.Pings), slog.Uint64("lines_given_up", lacks.Lines))
}
