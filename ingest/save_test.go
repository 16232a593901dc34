package ingest

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"pingline/dedupe"
	"pingline/internal/statefile"
	"pingline/queue"
)

// Save leaves the filter's state beside a log on servers while requests go on, and the end, at which
// riders wait for the next owner, leaves it alone.
func TestSave(t *testing.T) {
	ctx := context.Background()
	cfg := queue.Config{URL: "nats://" + natsServer(t), Dir: t.TempDir()}
	log := testLog(t, cfg)
	log.SetCursor(siteCursor, queue.Cursor{Next: 1})
	dir := t.TempDir()
	w, err := OpenWriter(ctx, WriterConfig{Log: log, Filter: dedupe.DefaultConfig(), Bound: dedupe.Bound{MaxError: 10}, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- w.Run(running) }()
	if err := w.Save(ctx); err != nil {
		t.Fatal(err)
	}
	if list, err := statefile.List(dir); err != nil || len(list) != 0 {
		t.Errorf("without a ping there are checkpoints: %v, %v", list, err)
	}
	pings := madeUp(5, 40)
	submit := func(from, to int) {
		t.Helper()
		j := &Job{Pings: pings[from:to]}
		for i := range j.Pings {
			j.Cells = append(j.Cells, testCells.Of(&j.Pings[i].Fix))
		}
		if err := w.Submit(j); err != nil {
			t.Fatal(err)
		}
	}
	submit(0, 50)
	last := log.Last()
	if err := w.Save(ctx); err != nil {
		t.Fatal(err)
	}
	saved, err := statefile.List(dir)
	if err != nil || len(saved) != 1 || saved[0] < w.checkpoint.path(last+1) {
		t.Fatalf("checkpoints %v, %v, want the one behind commit %d", saved, err, last)
	}
	submit(50, 60)
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if list, err := statefile.List(dir); err != nil || len(list) != 1 || list[0] != saved[0] {
		t.Errorf("at the end there are checkpoints %v, %v, want %v", list, err, saved)
	}
	if err := w.Save(ctx); err == nil {
		t.Error("a writer that has ended saves")
	}
	copied := t.TempDir()
	if err := log.Fetch(ctx, copied); err != nil {
		t.Fatal(err)
	}
	if list, err := statefile.List(copied); err != nil || len(list) != 1 || filepath.Base(list[0]) != filepath.Base(saved[0]) {
		t.Errorf("beside the log are %v, %v, want %v", list, err, saved)
	}
}

// Where another node goes on at once, held pings stay held, and nothing is written at the end.
func TestKeepHeld(t *testing.T) {
	ctx := context.Background()
	log := testLog(t, queue.Config{URL: "nats://" + natsServer(t)})
	cfg := WriterConfig{Log: log, Filter: dedupe.DefaultConfig(), Bound: dedupe.Bound{MaxError: 10}, Dir: t.TempDir()}
	w, err := OpenWriter(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- w.Run(running) }()
	j := &Job{Pings: madeUp(5, 4)}
	for i := range j.Pings {
		j.Cells = append(j.Cells, testCells.Of(&j.Pings[i].Fix))
	}
	if err := w.Submit(j); err != nil {
		t.Fatal(err)
	}
	w.KeepHeld()
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	held := w.Stats().Holding
	if list, err := statefile.List(cfg.Dir); err != nil || len(list) != 0 || held == 0 {
		t.Errorf("checkpoints %v, %v, and %d pings are held", list, err, held)
	}
	if w, err = OpenWriter(ctx, cfg); err != nil || w.Stats().Holding != held {
		t.Errorf("the next holds %d pings, %v, want %d", w.Stats().Holding, err, held)
	}
}

// A hurried checkpoint that is not needed, or joins one on its way, has no later commit begin another.
func TestHurriedOnce(t *testing.T) {
	c := newCheckpointer(checkpointConfig{dir: t.TempDir(), every: time.Hour, entries: 1000})
	<-c.hurry() // nothing was logged
	if !c.due.After(time.Now()) {
		t.Error("the next commit begins a checkpoint, though nothing was to be saved")
	}
	c.entries, c.saved = 1, make(chan error, 1)
	ended := c.hurry()
	if c.saved = nil; !c.due.After(time.Now()) {
		t.Error("the next commit begins a checkpoint, though one was on its way")
	}
	select {
	case <-ended:
		t.Error("the checkpoint on its way is not waited for")
	default:
	}
	c.ended()
	<-ended
	if c.hurry(); c.due.After(time.Now()) {
		t.Error("no checkpoint begins")
	}
}
