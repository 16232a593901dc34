package kafka

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"
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
	taken   bool   // by a Write; guarded by Topics.mu
	rows    []byte // all
	rest    []byte // of rows
	first   int    // index in messages of the first of rest
	kinds   [kinds]bool
	records []kgo.Record
	headers []kgo.RecordHeader

	// mu guards the fields below; it is taken last.
	mu      sync.Mutex
	failed  map[int]error // by index
	pending int
	idle    chan struct{} // closed once pending is 0
}

// Messages of unknown end take at most maxBytes; further writes are told to wait. mostKept is how
// many deliveries are remembered that nobody asked for since they ended.
const (
	maxBytes = 128 << 20
	mostKept = 16
)

// probeEvery is how long acknowledgements may stay away before the cluster is asked
// whether it is there at all.
const probeEvery = time.Second

var errFull = errors.New("too many messages wait for an acknowledgement")

// Write makes an attempt to send rows and returns once all in-sync replicas have them, as
// store.Store wants it.
func (t *Topics) Write(ctx context.Context, rows store.Rows) error {
	err := t.write(ctx, rows)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("write to topic %s: %w", t.link.Topic, ctx.Err())
	}
	return fmt.Errorf("write to topic %s: %w", t.link.Topic, refusal(err))
}

func (t *Topics) write(ctx context.Context, rows store.Rows) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if rows.N == 0 {
		t.doubt()
		return t.ready(ctx, []string{t.topic(kindLocation)})
	}
	d, err := t.delivery(rows)
	if err != nil {
		return err
	}
	defer t.leave(d)
	if d.left() == 0 { // all have ended, or none has begun
		if err := t.ready(ctx, t.topicsOf(d)); err != nil {
			t.drop(d)
			return err
		}
		if err := t.refused(d, rows.N); err != nil {
			t.drop(d)
			return err
		}
		d.send(t.open(), rows.N)
	}
	if err := t.wait(ctx, d); err != nil {
		return err
	}
	err = d.failure(rows.N)
	if r := new(store.Refusal); err == nil || errors.As(err, &r) && r.All {
		t.settle(d, rows)
	} else {
		t.doubt()
	}
	return err
}

// delivery returns that of rows, a new one unless they are on their way, for a caller who leaves
// it later. One that another Write has is left to it: the same rows of two lanes are two
// messages each.
func (t *Topics) delivery(rows store.Rows) (*delivery, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, d := range t.deliveries {
		if !d.taken && bytes.HasPrefix(d.rest, rows.Bytes) {
			d.taken = true
			return d, nil
		}
	}
	t.forget(len(rows.Bytes))
	if len(t.deliveries) > 0 && t.bytes+len(rows.Bytes) > t.most {
		return nil, errFull
	}
	d, err := t.prepare(rows)
	if err == nil {
		d.taken = true
		t.deliveries = append(t.deliveries, d)
		t.bytes += len(d.rows)
	}
	return d, err
}

func (t *Topics) leave(d *delivery) {
	t.mu.Lock()
	defer t.mu.Unlock()
	d.taken = false
}

// forget lets go of the oldest deliveries that have ended, if there are many, or if there is no
// room for so many bytes more. t.mu is held.
func (t *Topics) forget(more int) {
	for i := 0; (len(t.deliveries) >= mostKept || t.bytes+more > t.most) && i < len(t.deliveries); {
		if d := t.deliveries[i]; !d.taken && d.left() == 0 {
			t.bytes -= len(d.rows)
			t.deliveries = slices.Delete(t.deliveries, i, i+1)
		} else {
			i++
		}
	}
}

// drop forgets a delivery of which nothing is on its way.
func (t *Topics) drop(d *delivery) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := slices.Index(t.deliveries, d); i >= 0 && d.untouched() {
		t.bytes -= len(d.rows)
		t.deliveries = slices.Delete(t.deliveries, i, i+1)
	}
}

// settle notes that the first of d's rows are durable and that the caller knows.
func (t *Topics) settle(d *delivery, rows store.Rows) {
	t.mu.Lock()
	defer t.mu.Unlock()
	d.rest, d.first = d.rest[len(rows.Bytes):], d.first+rows.N
	if i := slices.Index(t.deliveries, d); i >= 0 && len(d.rest) == 0 {
		t.bytes -= len(d.rows)
		t.deliveries = slices.Delete(t.deliveries, i, i+1)
	}
}

var (
	verdicts = func() (all [pingline.Verdicts][]byte) {
		for v := range all {
			all[v] = []byte(pingline.Verdict(v).String())
		}
		return all
	}()
	errUnsent = errors.New("not sent yet")
)

// The names of headers.
const (
	HeaderID      = "id"      // hex: the same for each message of a row
	HeaderVerdict = "verdict" // of a ping
)

// contentTypes are those of messages of Protobuf, by whether it is a ping; JSON has none.
var contentTypes = map[bool][]byte{true: []byte(pingproto.PingType), false: []byte(pingproto.PointType)}

// prepare makes messages of rows, in memory of its own.
func (t *Topics) prepare(rows store.Rows) (*delivery, error) {
	d := &delivery{
		rows: bytes.Clone(rows.Bytes), records: make([]kgo.Record, rows.N), headers: make([]kgo.RecordHeader, 3*rows.N),
		failed: make(map[int]error, rows.N), idle: make(chan struct{}),
	}
	close(d.idle)
	ids := make([]byte, 2*idSize*rows.N)
	d.rest = d.rows
	left := d.rows
	for i := range d.records {
		row, rest, err := next(left)
		if err != nil {
			return nil, err
		}
		left = rest
		id, headers := ids[2*idSize*i:][:2*idSize:2*idSize], d.headers[3*i:][:1:3]
		hex.Encode(id, row.id)
		headers[0] = kgo.RecordHeader{Key: HeaderID, Value: id}
		if row.verdict != 0 {
			headers = append(headers, kgo.RecordHeader{Key: HeaderVerdict, Value: verdicts[row.verdict]})
		}
		if t.protobuf {
			headers = append(headers, kgo.RecordHeader{Key: kafkalink.HeaderType, Value: contentTypes[row.verdict != 0]})
		}
		d.records[i] = kgo.Record{Key: row.key, Value: row.value, Headers: headers}
		d.failed[i] = errUnsent
		if row.kind < kinds {
			d.records[i].Topic = t.topic(row.kind)
			d.kinds[row.kind] = true
		}
	}
	return d, nil
}

func (t *Topics) topicsOf(d *delivery) (list []string) {
	for kind, used := range d.kinds {
		if used {
			list = append(list, t.topic(byte(kind)))
		}
	}
	return list
}

// around bounds the bytes of a batch beside key and value of its only message.
const around = 192

// refused returns a refusal of those of the next n messages that no topic would take. It is asked
// before any is sent: the others would be sent again with other rows.
func (t *Topics) refused(d *delivery, n int) error {
	most := map[string]int{"": 0}
	for _, topic := range t.topicsOf(d) {
		most[topic] = t.factsOf(topic).most
	}
	r := &store.Refusal{Kind: store.BadRows}
	for i := range n {
		m := &d.records[d.first+i]
		if m.Topic != "" && len(m.Key)+len(m.Value)+around <= most[m.Topic] {
			continue
		}
		reason, why := store.TooLarge, fmt.Errorf("a message of %d bytes, of which topic %s takes %d", len(m.Key)+len(m.Value)+around, m.Topic, most[m.Topic])
		if m.Topic == "" {
			reason, why = store.Unparsable, errors.New("a line of an earlier version, or a point whose text is too long")
		}
		if r.Err == nil {
			r.Reason, r.Err = reason, why
		}
		if r.Reason == reason {
			r.Suspects = append(r.Suspects, i)
		}
	}
	if r.Err == nil {
		return nil
	}
	r.All = len(r.Suspects) == n
	return r
}

// left returns how many messages wait for their end.
func (d *delivery) left() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.pending
}

// untouched reports that no message was ever sent.
func (d *delivery) untouched() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.pending == 0 && len(d.failed) == len(d.records)
}

// send sends those of the next n messages that are not stored.
func (d *delivery) send(client *kgo.Client, n int) {
	d.mu.Lock()
	var list []int
	for i := d.first; i < d.first+n; i++ {
		if _, failed := d.failed[i]; failed {
			list = append(list, i)
			delete(d.failed, i)
		}
	}
	d.pending = len(list)
	if len(list) > 0 {
		d.idle = make(chan struct{})
	}
	d.mu.Unlock()
	for _, i := range list {
		r := &d.records[i]
		r.Context, r.Timestamp = nil, time.Time{} //nolint:fatcontext // of an earlier attempt; the client sets its own
		client.Produce(context.Background(), r, func(_ *kgo.Record, err error) { d.ended(i, err) })
	}
}

// ended is called once for each message that was sent.
func (d *delivery) ended(i int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		d.failed[i] = err
	}
	if d.pending--; d.pending == 0 {
		close(d.idle)
	}
}

// wait returns nil once no message of d is pending, or an error if ctx ends or the cluster does
// not answer.
func (t *Topics) wait(ctx context.Context, d *delivery) error {
	d.mu.Lock()
	idle := d.idle
	d.mu.Unlock()
	flushing, end := context.WithCancel(ctx)
	defer end()
	go func() { _ = t.open().Flush(flushing) }() // all were handed over: none lingers for more
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		select {
		case <-idle:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			t.doubt()
			if err := t.ready(ctx, t.topicsOf(d)); err != nil {
				return err
			}
		}
	}
}

// failure returns why some of the first n messages are not stored. A message that a broker refuses
// for its content is told of only once there is no other trouble.
func (d *delivery) failure(n int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var bad *store.Refusal
	for i := d.first; i < d.first+n; i++ {
		why, failed := d.failed[i]
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
