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

// Lines of our own, such as the roll-up's, can be routed to a bucket of their own.
// No other shard stands in for it, so they wait in the log, and the log cannot be
// trimmed beyond them: a bucket that nobody has made would fill it, and pings would
// be refused for the sake of figures about pings. So when a policy says so, while another
// shard takes writes, such lines become dead letters. None is lost: pingline
// deadletter replay has them written once the bucket is there. Pings that a route
// names the shard for wait, since the log is there for them.

// asidePrefix begins the reason of a dead letter that was not refused for its
// content.
const asidePrefix = "set aside, its shard is down: "

// aside returns the rows that need not wait for their shard any more, and why; nil
// if none: it has been down for as long as the longest retry while the log is
// filling up, no other can take them, and some other takes writes.
func (l *lane) aside(b *batch.Encoded, rows []int) *shardRefusal {
	if l.kind != route.Own || !l.cfg.Policy().SetAside || l.home.health.Down() < l.cfg.RetryMax || !anyUp(l.sink.shards, l.home) {
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

// anyUp reports whether one of list besides a shard is likely to take a write.
func anyUp(list []*shard, besides *shard) bool {
	return slices.ContainsFunc(list, func(sh *shard) bool { return sh != besides && sh.health.Up() })
}

// whyAside returns the reason of rows not to wait for the shard.
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

// setAside makes rows that need not wait dead letters, within half of the room for
// them, so that rows which are refused have theirs.
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
	s.cfg.Logger.Warn("the log is filling up: lines of our own do not wait in it any more, but as dead letters", "shard", s.Name, "lines", s.aside)
}

// asideNote says how many lines there are to replay, or nothing.
func asideNote(shard string, lines uint64) string {
	if lines == 0 {
		return ""
	}
	return fmt.Sprintf("shard %s: %s set aside as dead letters, so that the log does not fill up while it is down; pingline deadletter replay once it is back",
		shard, unit.Plural(lines, "line of our own was", "lines of our own were"))
}
