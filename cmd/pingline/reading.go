package main

import (
	"pingline/dedupe/study"
	"pingline/internal/terminal"
	"time"
)

// progressAfter is how long one waits without wondering.
var progressAfter = 2 * time.Second

// showReading shows on a terminal how far the reading of recordings is, each so many
// times.
func showReading(p *program, recordings []*study.Recording, times int64) *terminal.Progress {
	total := int64(0)
	for _, r := range recordings {
		total += times * r.Size()
	}
	progress := terminal.NewProgress(p.stderr, total, progressAfter)
	for _, r := range recordings {
		r.Progress = progress.Add
	}
	return progress
}
