package kafka

import (
	"cmp"
	"context"
	"encoding/hex"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"pingline"
	"pingline/internal/kafkalink"
	"pingline/internal/pingproto"
	"pingline/sink/store"
)

// delivery is rows on their way. It outlives a write that is given up, since messages that
// have left cannot be called back: a later write of the same rows waits for them, and sends
// again those alone that failed. Rows may come in parts, from the first on: those in front of
// rest were reported as durable.
type delivery struct {
	taken  bool   // by a Write; guarded by Topics.mu
	rows   []byte // all
	rest   []byte // of rows
	first  int    // index in memory.records of the first of rest
	kinds  [kinds]bool
	large  int  // bytes of key and value of the largest message
	odd    bool // a row has no topic
	sent   bool // all were handed to the client once, and have records
	memory *messages

	pending atomic.Int64
	idle    chan struct{} // closed once pending is 0

	// mu guards the fields below; it is taken last.
	mu     sync.Mutex
	failed map[*kgo.Record]error
	whole  bool // none has ever failed
}

// messages is the memory of a delivery. It is used again once a broker has acknowledged all of
// them: the client has let go of them then.
type messages struct {
	rows    []byte
	ids     []byte // hex
	records []kgo.Record
	headers []kgo.RecordHeader
}

var memories = sync.Pool{New: func() any { return new(messages) }}

// mostHeaders is the most that a message has.
const mostHeaders = 3

var verdicts = func() (all [pingline.Verdicts][]byte) {
	for v := range all {
		all[v] = []byte(pingline.Verdict(v).String())
	}
	return all
}()

// The names of headers.
const (
	HeaderID      = "id"      // hex: the same for each message of a row
	HeaderVerdict = "verdict" // of a ping
)

// contentTypes are of messages of Protobuf, by whether it is a ping; JSON has none.
var contentTypes = map[bool][]byte{true: []byte(pingproto.PingType), false: []byte(pingproto.PointType)}

// newDelivery copies rows and looks at the head of each.
func newDelivery(rows store.Rows) (*delivery, error) {
	d := &delivery{memory: memories.Get().(*messages), idle: make(chan struct{}), whole: true}
	close(d.idle)
	d.memory.rows = append(d.memory.rows[:0], rows.Bytes...)
	d.rows = d.memory.rows
	d.rest = d.rows
	left := d.rows
	for range rows.N {
		row, rest, err := next(left)
		if err != nil {
			return nil, err
		}
		left = rest
		d.large = max(d.large, row.size())
		if row.kind < kinds {
			d.kinds[row.kind] = true
		} else {
			d.odd = true
		}
	}
	return d, nil
}

// left returns how many messages wait for their end.
func (d *delivery) left() int { return int(d.pending.Load()) }

// send sends the messages among the next n that are not stored. All are handed to the client as
// they are made, which sends the first of them meanwhile.
func (d *delivery) send(t *Topics, n int) {
	client, now, ended := t.open(), time.Now(), d.ended
	produce := func(r *kgo.Record) {
		r.Context, r.Timestamp = nil, now //nolint:fatcontext // the context is of an earlier attempt; the client sets its own
		client.Produce(context.Background(), r, ended)
	}
	if !d.sent {
		d.sent = true
		d.begin(n)
		d.make(t, n, produce)
		return
	}
	d.mu.Lock()
	var list []*kgo.Record
	for i := d.first; i < d.first+n; i++ {
		r := &d.memory.records[i]
		if _, failed := d.failed[r]; failed {
			list = append(list, r)
			delete(d.failed, r)
		}
	}
	d.mu.Unlock()
	if len(list) > 0 {
		d.begin(len(list))
	}
	for _, r := range list {
		produce(r)
	}
}

func (d *delivery) begin(n int) {
	d.idle = make(chan struct{})
	d.pending.Store(int64(n))
}

// make makes messages of all n rows, and calls each for every one of them.
func (d *delivery) make(t *Topics, n int, each func(*kgo.Record)) {
	m := d.memory
	m.records, m.headers, m.ids = sized(m.records, n), sized(m.headers, mostHeaders*n), sized(m.ids, 2*idSize*n)
	left := d.rows
	var topics [kinds]string
	for kind := range topics {
		topics[kind] = t.topic(byte(kind))
	}
	for i := range m.records {
		row, rest, _ := next(left) // newDelivery has seen that it is one
		left = rest
		id, headers := m.ids[2*idSize*i:][:2*idSize:2*idSize], m.headers[mostHeaders*i:][:1:mostHeaders]
		hex.Encode(id, row.id)
		headers[0] = kgo.RecordHeader{Key: HeaderID, Value: id}
		if row.verdict != 0 {
			headers = append(headers, kgo.RecordHeader{Key: HeaderVerdict, Value: verdicts[row.verdict]})
		}
		if t.protobuf {
			headers = append(headers, kgo.RecordHeader{Key: kafkalink.HeaderType, Value: contentTypes[row.verdict != 0]})
		}
		m.records[i] = kgo.Record{Topic: topics[row.kind], Key: row.key, Value: row.value, Headers: headers}
		each(&m.records[i])
	}
}

// sized returns a slice of length n, in the memory of s if it has room.
func sized[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

// ended is called once for each message that was sent.
func (d *delivery) ended(r *kgo.Record, err error) {
	if err != nil {
		d.mu.Lock()
		if d.failed == nil {
			d.failed = make(map[*kgo.Record]error)
		}
		d.failed[r], d.whole = err, false
		d.mu.Unlock()
	}
	if d.pending.Add(-1) == 0 {
		close(d.idle)
	}
}

// failure returns why some of the first n messages are not stored. A message that a broker refuses
// for its content is told of only once there is no other trouble.
func (d *delivery) failure(n int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.failed) == 0 {
		return nil
	}
	var bad *store.Refusal
	for i := d.first; i < d.first+n; i++ {
		why, failed := d.failed[&d.memory.records[i]]
		if !failed {
			continue
		}
		r := refusal(why)
		if r.Kind != store.BadRows {
			return why
		}
		bad = cmp.Or(bad, r)
	}
	if bad == nil {
		return nil
	}
	bad.All = n == 1 // a broker that refuses a message refuses all of its batch
	return bad
}

// recycle gives back the memory of a delivery that has ended.
func (d *delivery) recycle() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.whole && d.left() == 0 {
		memories.Put(d.memory)
		d.memory = nil
	}
}
