package node

import (
	"context"

	"pingline"
	"pingline/ingest"
	"pingline/internal/room"
	"pingline/queue"
	"pingline/rollup"
)

// openRollup returns the roll-up, or nil if it is off.
func (n *Node) openRollup() (*rollup.Rollup, error) {
	c := n.cfg
	if len(c.Rollup) == 0 {
		rollup.Forget(n.log)
		return nil, nil
	}
	cfg := rollup.Config{
		Log:         n.log,
		Node:        n.rollupName(),
		Resolutions: c.Rollup,
		Windows:     c.RollupWindows,
		Lateness:    c.RollupLateness,
		MinRiders:   uint64(c.RollupMinRiders),
		Apart:       n.peers != nil,
		MaxAhead:    c.MaxAhead,
		MaxBytes:    room.Rollup(),
		Emit:        n.submitPoints,
		Policy:      n.over.Policy,
		Logger:      n.logger,
	}
	if err := n.peers.ShareTotals(&cfg); err != nil {
		return nil, err
	}
	return rollup.New(cfg)
}

// rollupName is the name of the node in rows of the roll-up. For a log that goes from node to
// node it is that of the first, or of the part, so that a window which two of them count is one row.
func (n *Node) rollupName() string {
	const note = "rollup node"
	if !n.log.Shared() || n.peers != nil {
		return n.cfg.Name
	}
	if n.log.Note(note) == "" {
		n.log.Change(queue.Change{Notes: map[string]string{note: n.cfg.Name}})
		if err := n.log.KeepCursors(); err != nil {
			n.logger.Warn("the name of the roll-up is not kept yet", "error", err)
		}
	}
	return n.log.Note(note)
}

// submitPoints makes points durable.
func (n *Node) submitPoints(_ context.Context, points []pingline.Entry) error {
	return n.writer.Submit(&ingest.Job{Entries: points})
}

// resolutions are the resolutions of the roll-up, none if it is off.
func (n *Node) resolutions() []int {
	if n.rollup == nil {
		return nil
	}
	return n.cfg.Rollup
}
