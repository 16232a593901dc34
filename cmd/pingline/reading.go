package main

import (
	"pingline/dedupe/study"
	"pingline/internal/terminal"
	"time"
)

// progressAfter is how long reading lasts before its progress is shown.
var progressAfter = 2 * time.Second

// showReading shows on a terminal how much of the recordings is read, if each is
// read a number of times.
func showReading(p *program, recordings []*study.Recording, times int64) *terminal.Progress {
	total := int64(0)
	for _, r := range recordings {
		total += times * r.Size()
	}
	progress := terminal.NewProgress(p.Stderr, total, progressAfter)
	for _, r := range recordings {
		r.Progress = progress.Add
	}
	return progress
}
