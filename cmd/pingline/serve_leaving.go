package main

import (
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"pingline/internal/node"
)

// leave waits for the delay before n is stopped, or until a second signal comes. A third
// ends the process at once.
func leave(n *node.Node, delay time.Duration, logger *slog.Logger) {
	if delay == 0 {
		return
	}
	again := make(chan os.Signal, 1)
	signal.Notify(again, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(again)
	n.Leave()
	logger.Info("told to stop: no longer ready, and still taking pings", "for", delay.String())
	select {
	case <-again:
	case <-time.After(delay):
	}
}
