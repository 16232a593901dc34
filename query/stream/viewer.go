package stream

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"

	"pingline/query/fleet"
)

// pieceBytes is about the memory of a part of an event, and pieceItems the most riders or
// cells of it.
const (
	pieceBytes = 64 << 10
	pieceItems = 256
)

// retryMS is the time after which a viewer should come back when its stream has ended.
const retryMS = 2000

// Viewer is a stream of events. Read is for one goroutine.
type Viewer struct {
	hub    *Hub
	view   fleet.View
	last   string // id of the last event, "" before the first
	seen   bool   // an event was made
	closed bool   // under hub.mu
	hurry  func() // does not block

	change fleet.Delta
	parts  []func(dst []byte) []byte // of the event; a part is called until it appends nothing
	buf    []byte
	at     int
	bytes  int64 // noted
	begun  bool
	pulse  *pulse // the pulse after the last event; nil before the first
	paused string
	lacks  bool      // the last event was partial
	made   time.Time // when the last event was made
}

// Read returns a part of an event. It waits for the next pulse if the event before it was
// read to its end, and returns io.EOF when the hub is closed.
func (v *Viewer) Read(p []byte) (int, error) {
	v.begun = false
	if v.hub.Closed() {
		return 0, io.EOF
	}
	for v.at == len(v.buf) {
		v.buf, v.at = v.buf[:0], 0
		if len(v.parts) > 0 {
			if v.buf = v.parts[0](v.buf); len(v.buf) == 0 {
				v.parts = v.parts[1:]
			}
			continue
		}
		if err := v.wait(); err != nil {
			return 0, err
		}
		v.begun = true
	}
	n := copy(p, v.buf[v.at:])
	v.at += n
	return n, nil
}

// Began reports whether the last Read returned the first part of an event.
func (v *Viewer) Began() bool { return v.begun }

// End gives the place of a viewer to another. It is cut off if it took an event too slowly.
func (h *Hub) End(v *Viewer, cut bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if v.closed {
		return
	}
	v.closed = true
	delete(h.viewers, v)
	h.stats.Bytes -= v.bytes
	if cut {
		h.stats.Cut++
	}
}

// wait waits for the next pulse, and begins its event.
func (v *Viewer) wait() error {
	paused := ""
	if v.pulse != nil {
		select {
		case <-v.hub.stop:
			return io.EOF
		case <-v.pulse.came:
			paused = v.pulse.paused
		}
	}
	now := time.Now()
	skipped := uint64(0)
	if n := uint64(now.Sub(v.made) / every); v.seen && n > 1 {
		skipped = n - 1
	}
	v.made = now
	v.pulse = v.hub.next() // before the look, so that no pulse is missed
	if paused != "" {
		v.pause(paused)
		v.hub.note(0, skipped, 0)
		return nil
	}
	v.paused = ""
	v.hub.cfg.Map.Change(&v.change, &v.view, v.last)
	events := uint64(1)
	c := &v.change
	if c.None() && v.seen && !c.RidersOver && !c.CellsOver && c.Partial == v.lacks {
		events = 0
		v.buf = append(append(append(v.buf, "id: "...), c.ID...), "\n\n"...)
	} else {
		v.event()
	}
	v.last, v.seen, v.lacks = c.ID, true, c.Partial
	bytes := c.Bytes() + int64(cap(v.buf))
	v.hub.note(events, skipped, bytes-v.bytes)
	v.bytes = bytes
	return nil
}

// pause tells that there is nothing to look at for now, and why; then only that the stream
// goes on.
func (v *Viewer) pause(why string) {
	if v.paused == why {
		v.buf = append(v.buf, ":\n\n"...)
		return
	}
	v.paused = why
	text, err := json.Marshal(map[string]string{"reason": why})
	if err != nil {
		text = []byte("{}") // cannot happen: a string has a form in JSON
	}
	v.buf = fmt.Appendf(v.buf, "event: paused\ndata: %s\n\n", text)
}

// event begins the event of v.change.
func (v *Viewer) event() {
	c := &v.change
	name := "change"
	if !v.seen {
		v.buf = fmt.Appendf(v.buf, "retry: %d\n", retryMS)
	}
	if c.Full {
		name = "state"
	}
	v.buf = fmt.Appendf(v.buf, "id: %s\nevent: %s\ndata: {\"at\":%d", c.ID, name, c.At)
	if c.Full {
		v.buf = fmt.Appendf(v.buf, `,"stale_s":%d,"gone_s":%d`, int(fleet.StaleAfter/time.Second), int(fleet.GoneAfter/time.Second))
	}
	if c.RidersOver {
		v.buf = append(v.buf, `,"riders_over":`...)
		v.buf = strconv.AppendInt(v.buf, fleet.ViewRiders, 10)
	}
	if c.CellsOver {
		v.buf = append(v.buf, `,"cells_over":`...)
		v.buf = strconv.AppendInt(v.buf, fleet.ViewCells, 10)
	}
	if c.Partial {
		v.buf = append(v.buf, `,"partial":true`...)
	}
	m := v.hub.cfg.Map
	v.parts = append(v.parts[:0],
		v.list(`,"riders_gone":[`, c.RidersGone, keysOf()),
		v.list(`,"riders":[`, c.Riders, func(dst []byte, keys []uint32) []byte { return m.AppendRiders(dst, c, keys) }),
		v.list(`,"cells_gone":[`, c.CellsGone, keysOf()),
		v.list(`,"cells":[`, c.Cells, func(dst []byte, keys []uint32) []byte { return m.AppendCells(dst, c, &v.view, keys) }),
		once("}\n\n"),
	)
}

// list returns a list with its name as a part, nothing if it is empty.
func (v *Viewer) list(name string, keys []uint32, items func(dst []byte, keys []uint32) []byte) func(dst []byte) []byte {
	begun := len(keys) == 0
	return func(dst []byte) []byte {
		if !begun {
			begun = true
			v.change.BeginList()
			dst = append(dst, name...)
		} else if len(keys) == 0 {
			return dst
		}
		n := min(len(keys), pieceItems)
		dst = items(dst, keys[:n])
		if keys = keys[n:]; len(keys) == 0 {
			dst = append(dst, ']')
		}
		return dst
	}
}

// keysOf returns a function that appends keys, with commas between those of all its calls.
func keysOf() func(dst []byte, keys []uint32) []byte {
	comma := false
	return func(dst []byte, keys []uint32) []byte {
		if comma {
			dst = append(dst, ',')
		}
		comma = true
		return fleet.AppendKeys(dst, keys)
	}
}

// once returns a text as a part.
func once(text string) func(dst []byte) []byte {
	return func(dst []byte) []byte {
		dst, text = append(dst, text...), ""
		return dst
	}
}
