package deadletter

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"
)

// Replayer puts letters that Replay has moved back into the log.
type Replayer struct {
	Dir    *Dir
	Submit func([]*Letter) error // makes them durable
	Logger *slog.Logger

	note atomic.Pointer[string]
}

// replayEvery is how often it looks for letters.
const replayEvery = time.Second

// Run replays until ctx is cancelled. While the log takes no appends the letters wait.
func (r *Replayer) Run(ctx context.Context) error {
	tick := time.NewTicker(replayEvery)
	defer tick.Stop()
	for {
		rows, err := r.Dir.TakeReplays(ctx, r.Submit)
		if rows > 0 {
			r.Logger.Info("dead letters are back in the log", "rows", rows)
		}
		note := ""
		if err != nil && ctx.Err() == nil {
			note = fmt.Sprintf("dead letters are not replayed: %v", err)
		}
		if before := r.note.Swap(&note); note != "" && (before == nil || *before != note) {
			r.Logger.Warn("dead letters are not replayed", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// Notes returns a sentence if letters wait.
func (r *Replayer) Notes() []string {
	if note := r.note.Load(); note != nil && *note != "" {
		return []string{*note}
	}
	return nil
}
