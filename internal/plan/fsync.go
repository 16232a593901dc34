package plan

import (
	"context"
	"errors"
	"os"
	"time"

	"pingline/queue"
)

const (
	measureDisk = time.Second
	commitSize  = 64 << 10 // bytes
)

// CommitRate returns how many commits of 64 KiB a second a log on the disk of dir
// takes, each fsynced. It takes a second, and removes the log it made in dir.
func CommitRate(ctx context.Context, dir string) (f Figure, err error) {
	made, err := os.MkdirTemp(dir, "pingline-plan-")
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(made)) }()
	log, err := queue.Open(ctx, queue.Config{Dir: made})
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	payload, commits, began := make([]byte, commitSize), 0, time.Now()
	for ; time.Since(began) < measureDisk; commits++ {
		if _, err := log.Append(ctx, payload, queue.Totals{}, false); err != nil {
			return f, err
		}
	}
	rate := float64(commits) / time.Since(began).Seconds()
	return Figure{"commits", rate, "fsynced commits/s", "measured on this machine, 64 KiB each, in " + dir}, nil
}
