package resharding

import (
	"context"
	"errors"
	"fmt"

	"pingline/sink/copying"
	"pingline/sink/reshard"
)

// heldSpans is the answer to a question for a latch.
type heldSpans struct {
	Came   [][2]int64 `json:"came,omitempty"`
	Number int64      `json:"number,omitempty"`
}

// latch has the writes of this part to a shard be watched, or wait.
func (c *Changes) latch(e *reshard.Eras, q *partQuestion) (*heldSpans, error) {
	if q.Do == "release" {
		if !c.holds.end(q.From) {
			return nil, errors.New("writes went on before the deletion had ended")
		}
		return new(heldSpans), nil
	}
	if len(q.Names) != 1 {
		return nil, fmt.Errorf("%d shards to %s, not one", len(q.Names), q.Do)
	}
	l := e.Latch(q.Names[0])
	if q.Do == "watch" {
		l.Watch()
		return new(heldSpans), nil
	}
	came, release, _ := l.Hold(q.From, q.To) // it never fails
	return &heldSpans{came, c.holds.keep(release)}, nil
}

// sharedLatch is the latches of all parts for a shard.
type sharedLatch struct {
	own   copying.SourceLatch
	o     *others
	shard string
}

// Latch returns a latch that has the writes of all parts to a shard wait.
func (o *others) Latch(shard string) copying.SourceLatch {
	return &sharedLatch{o.c.cfg.Sinks.Of(o.set).Latch(shard), o, shard}
}

// Watch begins to note rows. A node that does not answer has all rows looked for that came, later.
func (l *sharedLatch) Watch() {
	l.own.Watch()
	_ = l.o.each(context.Background(), partQuestion{Do: "watch", Names: []string{l.shard}})
}

// Hold has writes of all parts wait, or fails.
func (l *sharedLatch) Hold(from, to int64) (came [][2]int64, release func(), err error) {
	came, free, err := l.own.Hold(from, to)
	if err != nil {
		return nil, nil, err
	}
	numbers := make(map[int]int64)
	release = func() {
		free()
		for part, n := range numbers {
			if err := l.o.c.askPart(context.Background(), part, partQuestion{Do: "release", Set: l.o.set, From: n}, quick, nil); err != nil {
				l.o.c.cfg.Logger.Warn("writes of another node may have come while rows were deleted", "shard", l.shard, "error", err)
			}
		}
	}
	for part := range l.o.c.cfg.Across.Parts {
		if part == l.o.c.cfg.Across.Own {
			continue
		}
		var got heldSpans
		if err := l.o.c.askPart(context.Background(), part, partQuestion{Do: "hold", Set: l.o.set, Names: []string{l.shard}, From: from, To: to}, slowly, &got); err != nil {
			release()
			return nil, nil, err
		}
		numbers[part] = got.Number
		came = append(came, got.Came...)
	}
	return came, release, nil
}
