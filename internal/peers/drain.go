package peers

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// drainFile is there, in the data directory, while an operator wants the node to have no part.
const drainFile = "drained"

// drain has a node give its part away, or take none, until it is undone. The zero value does nothing.
type drain struct {
	file string

	mu   sync.Mutex // guards the fields below
	stop func()     // ends the taking of a part, or all of the node once it has a part
	back chan struct{}
}

func newDrain(dir string) *drain {
	return &drain{file: filepath.Join(dir, drainFile), back: make(chan struct{})}
}

// on reports whether the node is drained.
func (d *drain) on() bool {
	_, err := os.Stat(d.file)
	return err == nil
}

// until sets how to end what a drained node does not do. If it is drained already, that is ended now.
func (d *drain) until(stop func()) {
	d.mu.Lock()
	d.stop = stop
	d.mu.Unlock()
	if d.on() {
		stop()
	}
}

// begin notes on disk that the node is drained, which a start finds. End ends what it does.
func (d *drain) begin() (end func(), err error) {
	if err := os.MkdirAll(filepath.Dir(d.file), 0o700); err != nil {
		return nil, err
	}
	if err := os.WriteFile(d.file, nil, 0o600); err != nil {
		return nil, err
	}
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.stop != nil {
			d.stop()
		}
	}, nil
}

// undo lets the node take a part again.
func (d *drain) undo() error {
	if err := os.Remove(d.file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	close(d.back)
	d.back = make(chan struct{})
	return nil
}

// drainLook is the time between two looks whether an operator has removed the file by hand.
const drainLook = time.Second

// over waits while the node is drained.
func (d *drain) over(ctx context.Context, tell func()) error {
	for {
		d.mu.Lock()
		back := d.back
		d.mu.Unlock()
		if !d.on() {
			return nil
		}
		tell()
		select {
		case <-back:
		case <-time.After(drainLook):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
