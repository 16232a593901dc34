package node

import (
	"context"
	"fmt"
	"time"

	"pingline/ingest"
	"pingline/sink/deadletter"
)

// replayEvery is how often the server looks for dead letters to put back.
const replayEvery = time.Second

// replay puts the dead letters that pingline deadletter replay has moved back
// into the log, until ctx is cancelled. While the log takes no appends they
// wait.
func (n *Node) replay(ctx context.Context) error {
	tick := time.NewTicker(replayEvery)
	defer tick.Stop()
	for {
		rows, err := n.sink.DeadLetters().TakeReplays(ctx, n.resubmit)
		if rows > 0 {
			n.logger.Info("dead letters are back in the log", "rows", rows)
		}
		note := ""
		if err != nil && ctx.Err() == nil {
			note = fmt.Sprintf("dead letters are not replayed: %v", err)
		}
		if before := n.replayNote.Swap(&note); note != "" && (before == nil || *before != note) {
			n.logger.Warn("dead letters are not replayed", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// resubmit makes letters durable in the log, for the shards that
// refused them.
func (n *Node) resubmit(letters []*deadletter.Letter) error {
	return n.removals.Resubmit(letters, func(letters []*deadletter.Letter) error {
		var job ingest.Job
		for _, l := range letters {
			job.Entries = append(job.Entries, l.Entry)
		}
		return n.writer.Submit(&job)
	})
}
