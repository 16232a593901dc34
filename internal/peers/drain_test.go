package peers

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// A node that is drained ends the thing it does, then or before, and waits until that is undone, also
// over a restart.
func TestDrain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	d := newDrain(dir)
	if err := d.over(t.Context(), func() { t.Error("it waits, and is not drained") }); err != nil || d.on() {
		t.Fatal(err)
	}
	ended := 0
	d.until(func() { ended++ })
	end, err := d.begin()
	if err != nil || ended > 0 || !d.on() {
		t.Fatal(err, ended)
	}
	if end(); ended != 1 {
		t.Error("what a drained node does not is not ended")
	}
	d = newDrain(dir)
	if d.until(func() { ended++ }); ended != 2 {
		t.Error("a node that was drained before goes on")
	}
	told, waited := make(chan struct{}), make(chan error)
	go func() { waited <- d.over(t.Context(), sync.OnceFunc(func() { close(told) })) }()
	<-told
	if err := d.undo(); err != nil {
		t.Fatal(err)
	}
	if err := <-waited; err != nil || d.on() {
		t.Error(err)
	}
	if err := d.undo(); err != nil {
		t.Errorf("undone twice: %v", err)
	}
	if _, err := d.begin(); err != nil {
		t.Fatal(err)
	}
	told = make(chan struct{})
	go func() { waited <- d.over(t.Context(), sync.OnceFunc(func() { close(told) })) }()
	<-told
	if err := os.Remove(d.file); err != nil {
		t.Fatal(err)
	}
	if err := <-waited; err != nil {
		t.Errorf("the file was removed by hand: %v", err)
	}
	if _, err := d.begin(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.over(ctx, func() {}); err == nil {
		t.Error("a node that is told to stop waits still")
	}
	if err := os.RemoveAll(dir); err != nil || os.WriteFile(dir, nil, 0o600) != nil {
		t.Fatal(err)
	}
	if _, err := d.begin(); err == nil {
		t.Error("a node without a data directory is drained")
	}
}
