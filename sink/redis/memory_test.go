package redis

import (
	"context"
	"runtime"
	"testing"

	"github.com/redis/go-redis/v9"

	"pingline/sink/batch"
	"pingline/sink/store"
	"pingline/sink/store/storetest"
)

// weighing answers pipelines without a server, and notes how large the heap was.
type weighing struct {
	commands int
	most     uint64
}

func (w *weighing) DialHook(next redis.DialHook) redis.DialHook { return next }

func (w *weighing) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (w *weighing) ProcessPipelineHook(redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(_ context.Context, cmds []redis.Cmder) error {
		w.commands += len(cmds)
		w.most = max(w.most, heap())
		return nil
	}
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A write takes no more memory than the sink's account has for it, and that of a pipeline.
func TestMemoryOfAWrite(t *testing.T) {
	p, err := New(Config{URL: "redis://h/0"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	p.start.Do(func() {}) // nothing looks at the server
	w := &weighing{}
	p.server.Load().AddHook(w)
	const riders = 20_000
	convoy := storetest.NewConvoy(riders, storetest.AnHourAgo(), 5000)
	rows := store.Rows{N: riders}
	rows.Bytes = convoy.Fill(nil, riders, p.AppendRow)
	before := heap()
	if err := p.Write(t.Context(), rows); err != nil {
		t.Fatal(err)
	}
	const pipeline = 1 << 20
	took, most := int64(w.most)-int64(before), int64(batch.CopiesWritten*len(rows.Bytes)+pipeline)
	if w.commands != riders || took > most {
		t.Errorf("%d commands for %d riders; %d bytes, want at most %d", w.commands, riders, took, most)
	}
	runtime.KeepAlive(rows.Bytes)
}
