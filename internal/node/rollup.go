package node

import (
	"context"
	"math"
	"runtime/debug"
	"time"

	"pingline"
	"pingline/ingest"
	"pingline/partition"
	"pingline/query"
	"pingline/rollup"
)

// openRollup returns what counts activity, or nil if that is off.
func (n *Node) openRollup() (*rollup.Rollup, error) {
	c := n.cfg
	if len(c.Rollup) == 0 {
		rollup.Forget(n.log)
		return nil, nil
	}
	return rollup.New(rollup.Config{
		Log:         n.log,
		Node:        c.Name,
		Resolutions: c.Rollup,
		Windows:     c.RollupWindows,
		Lateness:    c.RollupLateness,
		MaxAhead:    c.MaxAhead,
		MaxBytes:    rollupMemory(),
		Emit:        n.submitPoints,
		Policy:      n.over.Policy,
		Logger:      n.logger,
	})
}

// rollupMemory is what the roll-up may take: an eighth of the memory limit at
// most.
func rollupMemory() int64 {
	const most = 128 << 20
	if limit := debug.SetMemoryLimit(-1); limit < math.MaxInt64 {
		return max(1<<20, min(most, limit/8))
	}
	return most
}

// submitPoints makes points durable.
func (n *Node) submitPoints(_ context.Context, points []pingline.Entry) error {
	return n.writer.Submit(&ingest.Job{Entries: points})
}

// cells are the live activity, of at most most cells; resolution -1 is the finest.
func (n *Node) cells(box partition.Box, res, most int) ([]query.Activity, error) {
	if res < 0 {
		res = n.cfg.Rollup[0]
	}
	list, err := n.rollup.Cells(box, res, most)
	activity := make([]query.Activity, len(list))
	for i := range list {
		a := &list[i]
		activity[i] = query.Activity{
			Cell: a.Cell, Res: a.Res, From: a.From, WindowS: int64(a.Window / time.Second),
			Pings: a.Pings, Riders: a.Riders, Moving: a.Moving, Waiting: a.Waiting,
			SpeedMean: a.SpeedMean, SpeedMax: a.SpeedMax,
		}
	}
	return activity, err
}
