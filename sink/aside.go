package sink

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"pingline/internal/unit"
	"pingline/sink/batch"
	"pingline/sink/health"
	"pingline/sink/route"
	"pingline/sink/store"
)

// Lines of our own, the roll-up's for example, can be routed to a bucket that no other
// shard stands in for. If the bucket was never made, its lines wait in the log, which
// then cannot be trimmed and fills up, and pings would be refused for the sake of figures
// about pings. So when the policy says so, and another shard takes writes, lines of our
// own become dead letters. None is lost: pingline deadletter replay has them written once
// the bucket is there. Pings that a route names the shard for go on waiting, since the
// log is there for pings.

// asidePrefix begins the reason of a dead letter that was not refused for its
// content.
const asidePrefix = "set aside, its shard is down: "

// aside returns the rows that need not wait for their shard any more, with the
// reason, or nil if there are none. It returns rows if the shard has been down for
// as long as the longest retry while the log is filling up, no other shard can
// take the rows, and some other shard takes writes.
func (l *lane) aside(b *batch.Encoded, rows []int) *shardRefusal {
	if l.kind != route.Own || !l.cfg.Policy().SetAside || l.home.health.Down() < l.cfg.RetryMax || !anyUp(l.sink.known(), l.home) {
		return nil
	}
	var list []int
	for _, i := range b.Untaken(rows) {
		if l.home.routedOnly || i < len(b.Fixed) && b.Fixed[i] {
			list = append(list, i)
		}
	}
	if len(list) == 0 {
		return nil
	}
	return l.home.whyAside(list)
}

// anyUp reports whether a shard of list, other than besides, is likely to take
// a write.
func anyUp(list []*shard, besides *shard) bool {
	return slices.ContainsFunc(list, func(sh *shard) bool { return sh != besides && sh.health.Up() })
}

// whyAside returns the reason why rows do not wait for the shard.
func (s *shard) whyAside(rows []int) *shardRefusal {
	text := asidePrefix
	_, problem := s.health.Trouble()
	if last := new(store.Refusal); errors.As(problem, &last) {
		text += last.Error()
	}
	err := errors.New(store.Clip(text))
	return &shardRefusal{
		Refusal: &store.Refusal{Kind: store.BadRows, Reason: reasonAside, Err: err},
		by:      s, err: err, aside: rows,
	}
}

// setAside turns rows that need not wait into dead letters. They take at most half
// of the room, so that the other half is left for rows that a store refuses.
func (l *lane) setAside(ctx context.Context, b *batch.Encoded, bad []refusedRow, by *shard) (n int, err error) {
	n, err = l.dead.AppendHalf(ctx, len(bad), letters(b, bad))
	l.deadLettered(bad[:n])
	if n > 0 {
		by.reportAside(n)
	}
	return n, err
}

// reportAside logs that rows were set aside.
func (s *shard) reportAside(rows int) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.aside += rows
	if now.Sub(s.asideReported) < health.ReportEvery {
		return
	}
	s.asideReported = now
	s.cfg.Logger.Warn("the log is filling up: lines of our own, such as the roll-up's, do not wait in it any more, but as dead letters", "shard", s.Name, "lines", s.aside)
}

// asideNote returns a sentence on how many lines there are to replay, or "".
func asideNote(shard string, lines uint64) string {
	if lines == 0 {
		return ""
	}
	return fmt.Sprintf("shard %s: %s set aside as dead letters, so that the log does not fill up while it is down; pingline deadletter replay once it is back",
		shard, unit.Plural(lines, "line of our own was", "lines of our own were"))
}
