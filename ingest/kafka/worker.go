package kafka

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"pingline/ingest/messages"
	"pingline/internal/kafkalink"
	"pingline/internal/pingproto"
)

// mostBatch is the most messages that a worker takes at once.
const mostBatch = 1000

// partitionTaker takes the messages of a partition, in their order.
type partitionTaker struct {
	c         *Member
	cl        *kgo.Client
	partition map[string][]int32 // it alone, as the client wants it
	stopped   chan struct{}      // closed when no further message is to be taken
	ended     chan struct{}      // closed when none is being taken
	more      chan struct{}      // has an element when there are messages

	unkept atomic.Pointer[string] // why a refused message cannot be kept, or nil
	halted atomic.Pointer[string] // why nothing is fetched any more, or nil

	// mu guards the fields below; no other mutex is taken under it.
	mu     sync.Mutex
	queue  []*kgo.Record
	bytes  int64 // of queue, and of the messages that are being taken
	paused bool
	high   int64 // offset behind the last message that the partition has, as far as known
	done   int64 // offset behind the last message that was taken
}

func newTaker(c *Member, cl *kgo.Client, partition int32) *partitionTaker {
	return &partitionTaker{
		c: c, cl: cl, partition: map[string][]int32{c.link.Topic: {partition}},
		stopped: make(chan struct{}), ended: make(chan struct{}), more: make(chan struct{}, 1),
	}
}

// size returns the memory of a message, also of headers, which are not read.
func size(r *kgo.Record) int64 {
	n := len(r.Key) + len(r.Value) + 200
	for i := range r.Headers {
		n += len(r.Headers[i].Key) + len(r.Headers[i].Value) + 40
	}
	return int64(n)
}

// add queues messages, and pauses the partition if there are many.
func (w *partitionTaker) add(list []*kgo.Record, high int64) {
	var n int64
	for _, r := range list {
		n += size(r)
	}
	w.c.queued.Add(n)
	w.mu.Lock()
	if len(w.queue) == 0 && w.bytes == 0 {
		w.done = list[0].Offset
	}
	w.queue = append(w.queue, list...)
	w.bytes, w.high = w.bytes+n, high
	w.mu.Unlock()
	w.balance()
	select {
	case w.more <- struct{}{}:
	default:
	}
}

// balance pauses the partition or lets it go on.
func (w *partitionTaker) balance() {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case !w.paused && w.bytes >= pauseAt:
		w.paused = true
		w.cl.PauseFetchPartitions(w.partition)
	case w.paused && w.bytes <= resumeAt:
		w.paused = false
		w.cl.ResumeFetchPartitions(w.partition)
	}
}

// run takes messages until the worker is stopped.
func (w *partitionTaker) run() {
	defer close(w.ended)
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.c.release(w.bytes)
		w.queue, w.bytes = nil, 0
	}()
	for {
		select {
		case <-w.stopped:
			return
		case <-w.more:
		}
		for list := w.next(); len(list) > 0; list = w.next() {
			if !w.take(list) {
				return
			}
		}
	}
}

// next returns the next messages.
func (w *partitionTaker) next() []*kgo.Record {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := min(mostBatch, len(w.queue))
	list := w.queue[:n:n]
	w.queue = w.queue[n:]
	return list
}

// take has messages taken, and marks their offsets to be committed. It returns false if the worker
// was stopped before. Then offsets up to the first message that is not taken are marked.
func (w *partitionTaker) take(list []*kgo.Record) bool {
	left := list
	for {
		again, pause := w.try(left)
		if len(again) == 0 {
			w.settle(list, list[len(list)-1])
			return true
		}
		select {
		case <-time.After(pause):
			w.c.count.add(Again, len(again))
			left = again
		case <-w.stopped:
			w.c.count.add(Again, len(again))
			for i := range list {
				if list[i] == again[0] && i > 0 {
					w.cl.MarkCommitRecords(list[i-1])
				}
			}
			return false
		}
	}
}

// try makes an attempt, and returns the messages to try again after a pause.
func (w *partitionTaker) try(list []*kgo.Record) (again []*kgo.Record, pause time.Duration) {
	select {
	case <-w.stopped:
		return list, 0
	default:
	}
	full := make([]*kgo.Record, 0, len(list))
	for _, r := range list {
		if len(r.Value) == 0 { // a tombstone
			w.c.count.add(Ignored, 1)
			continue
		}
		full = append(full, r)
	}
	var refused []messages.Reject
	var bad []*kgo.Record
	taken := 0
	for i, receipt := range w.c.judge(full) {
		r := full[i]
		switch receipt.Ending {
		case messages.Taken:
			taken++
		case messages.Refused:
			bad = append(bad, r)
			refused = append(refused, messages.Reject{
				At: time.Now().UnixMilli(), Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Reason: receipt.Why, Key: r.Key, Body: receipt.Keep(r.Value),
			})
		default:
			again, pause = append(again, r), max(pause, receipt.Wait)
		}
	}
	w.c.count.add(Taken, taken)
	kept, err := w.c.cfg.Rejects.Append(refused)
	if err != nil {
		w.c.fails(&w.unkept, err)
		again, pause = merge(again, bad[kept:]), max(pause, retryKeep)
	} else if kept > 0 {
		w.unkept.Store(nil)
	}
	if kept > 0 {
		w.c.count.add(Refused, kept)
		first := &refused[0]
		w.c.cfg.Logger.Warn("messages of --kafka-in are refused, and kept in a file", "messages", kept,
			"topic", first.Topic, "partition", first.Partition, "offset", first.Offset, "reason", first.Reason)
	}
	return again, pause
}

// judge has messages taken, and returns a receipt for each.
func (c *Member) judge(list []*kgo.Record) []messages.Receipt {
	receipts := make([]messages.Receipt, len(list))
	bodies, of := make([][]byte, 0, len(list)), make([]int, 0, len(list))
	for i, r := range list {
		body, err := c.body(r)
		if err != nil {
			receipts[i] = messages.Receipt{Ending: messages.Refused, Why: err.Error()}
			continue
		}
		bodies, of = append(bodies, body), append(of, i)
	}
	for i, receipt := range c.cfg.Take.Take(bodies) {
		receipts[of[i]] = receipt
	}
	return receipts
}

// body returns a message in the form of POST /v1/pings. Its header says in which form it is, or
// else the settings do.
func (c *Member) body(r *kgo.Record) ([]byte, error) {
	is := c.proto
	for i := range r.Headers {
		if h := &r.Headers[i]; strings.EqualFold(h.Key, kafkalink.HeaderType) {
			of, _, _ := strings.Cut(string(h.Value), ";")
			is = strings.EqualFold(strings.TrimSpace(of), pingproto.ContentType) || is && !strings.EqualFold(strings.TrimSpace(of), "application/json")
		}
	}
	if !is {
		return r.Value, nil
	}
	return pingproto.Text(r.Value)
}

// retryKeep is how long to wait before refused messages are written again.
const retryKeep = 2 * time.Second

// merge returns messages of both lists, by offset.
func merge(a, b []*kgo.Record) (all []*kgo.Record) {
	for len(a) > 0 && len(b) > 0 {
		if a[0].Offset < b[0].Offset {
			all, a = append(all, a[0]), a[1:]
		} else {
			all, b = append(all, b[0]), b[1:]
		}
	}
	return append(append(all, a...), b...)
}

// settle marks the offset behind the last of some messages.
func (w *partitionTaker) settle(list []*kgo.Record, last *kgo.Record) {
	var n int64
	for _, r := range list {
		n += size(r)
	}
	w.cl.MarkCommitRecords(last)
	w.unkept.Store(nil)
	w.mu.Lock()
	w.bytes -= n
	w.done = last.Offset + 1
	w.mu.Unlock()
	w.c.release(n)
	w.balance()
}
