package main

import (
	"os"
	"os/signal"
	"syscall"
)

// onSecondSignal calls do when the process has been told twice to end, until stop is
// called.
func onSecondSignal(do func()) (stop func()) {
	told, done := make(chan os.Signal, 2), make(chan struct{})
	signal.Notify(told, os.Interrupt, syscall.SIGTERM)
	go func() {
		for range 2 {
			select {
			case <-told:
			case <-done:
				return
			}
		}
		do()
	}()
	return func() { signal.Stop(told); close(done) }
}

// removeInUse removes a directory in which others still create files: under its other
// name they do not find it.
func removeInUse(dir string) error {
	gone := dir + "-gone"
	if err := os.Rename(dir, gone); err != nil {
		gone = dir
	}
	return os.RemoveAll(gone)
}
