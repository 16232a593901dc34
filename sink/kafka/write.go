package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"pingline/sink/store"
)

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
		d.send(t, rows.N)
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
	d, err := newDelivery(rows)
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
	if i := slices.Index(t.deliveries, d); i >= 0 && !d.sent {
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
		d.recycle()
	}
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
	var most [kinds]int
	least := usualBatch
	for kind, used := range d.kinds {
		if used {
			most[kind] = t.factsOf(t.topic(byte(kind))).most
			least = min(least, most[kind])
		}
	}
	if !d.odd && d.large+around <= least {
		return nil
	}
	r := &store.Refusal{Kind: store.BadRows}
	left := d.rest
	for i := range n {
		row, rest, err := next(left)
		if err != nil {
			return err
		}
		left = rest
		var reason string
		var why error
		switch size := row.size() + around; {
		case row.kind >= kinds:
			reason, why = store.Unparsable, errors.New("a line of an earlier version, or a point whose text is too long")
		case size > most[row.kind]:
			reason, why = store.TooLarge, fmt.Errorf("a message of %d bytes, of which topic %s takes %d", size, t.topic(row.kind), most[row.kind])
		default:
			continue
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

// wait returns nil once no message of d is pending, or an error if ctx ends or the cluster does
// not answer.
func (t *Topics) wait(ctx context.Context, d *delivery) error {
	flushing, end := context.WithCancel(ctx)
	defer end()
	go func() { _ = t.open().Flush(flushing) }() // all were handed over: none lingers for more
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		select {
		case <-d.idle:
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
