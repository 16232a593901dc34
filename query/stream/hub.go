// Package stream tells viewers once a second what changed where they look, as server-sent
// events.
//
// All viewers share one snapshot a second of a fleet.Map. No event is made before the
// event before it was taken, so a slow viewer waits for nobody and nobody waits for a slow
// viewer: its next event tells what changed since the event it took last. It knows no
// HTTP, and does not decide how slow a viewer may be.
package stream

import (
	"errors"
	"sync"
	"time"

	"pingline/query/fleet"
)

// ErrFull is the refusal of a viewer for whom there is no place.
var ErrFull = errors.New("too many viewers look at streams")

const every = time.Second // time between two events

// Most viewers by default.
const defaultViewers = 256

// Config sets up a Hub. Map is required.
type Config struct {
	Map     *fleet.Map
	Viewers int // most viewers at once; 0 means 256
	// Paused, if set, returns why viewers are told of nothing for now, or "".
	Paused func() string
}

// ViewerBytes is the most memory of a viewer, besides its connection.
const ViewerBytes = fleet.MostBytes + 2*pieceBytes

// MostBytes is the most memory of as many viewers as there may be by default.
const MostBytes = defaultViewers * ViewerBytes

// Hub has the viewers. It is safe for concurrent use.
type Hub struct {
	cfg  Config
	stop chan struct{} // closed by Close

	mu      sync.Mutex // guards the fields below; nothing else is locked under it
	closed  bool
	running bool // run makes pulses
	viewers map[*Viewer]struct{}
	pulse   *pulse // the next
	stats   Stats
}

// pulse is a moment at which viewers look.
type pulse struct {
	came   chan struct{} // closed when it has come
	paused string        // why there is nothing to look at, or ""
}

// Stats are counts since the start of the process.
type Stats struct {
	Viewers int    // now
	Most    int    // limit of Viewers
	Bytes   int64  // memory of all viewers now
	Events  uint64 // with changes
	Skipped uint64 // snapshots that a viewer was too slow for
	Cut     uint64 // viewers cut off, as they took an event too slowly
}

// New returns a Hub without viewers, which does nothing.
func New(cfg Config) *Hub {
	if cfg.Viewers == 0 {
		cfg.Viewers = defaultViewers
	}
	if cfg.Paused == nil {
		cfg.Paused = func() string { return "" }
	}
	return &Hub{cfg: cfg, stop: make(chan struct{}), viewers: make(map[*Viewer]struct{}), pulse: newPulse()}
}

func newPulse() *pulse { return &pulse{came: make(chan struct{})} }

// Open adds a viewer, who goes on behind the event of an id, if it is known. Close calls
// hurry, so that no write to the viewer keeps Read from being called. An error is ErrFull,
// or wraps ingest.ErrUnavailable.
func (h *Hub) Open(view fleet.View, last string, hurry func()) (*Viewer, error) {
	v := &Viewer{hub: h, view: view, last: last, hurry: hurry}
	if err := h.add(v); err != nil {
		return nil, err
	}
	if err := h.cfg.Map.Refresh(view.Look); err != nil {
		h.End(v, false)
		return nil, err
	}
	return v, nil
}

func (h *Hub) add(v *Viewer) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || len(h.viewers) >= h.cfg.Viewers {
		return ErrFull
	}
	h.viewers[v] = struct{}{}
	if !h.running {
		h.running = true
		go h.run()
	}
	return nil
}

// run makes the pulses until there are no viewers.
func (h *Hub) run() {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		looks := h.looks()
		if looks == nil {
			return
		}
		paused := h.cfg.Paused()
		for look := range looks {
			if paused != "" {
				break
			}
			if err := h.cfg.Map.Refresh(look); err != nil {
				paused = err.Error()
			}
		}
		h.come(paused)
		select {
		case <-t.C:
		case <-h.stop:
			return
		}
	}
}

// looks returns the looks of viewers, nil if there are none: then run ends.
func (h *Hub) looks() map[fleet.Look]struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	var looks map[fleet.Look]struct{}
	for v := range h.viewers {
		if looks == nil {
			looks = make(map[fleet.Look]struct{})
		}
		looks[v.view.Look] = struct{}{}
	}
	h.running = looks != nil
	return looks
}

// come ends the wait of viewers.
func (h *Hub) come(paused string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pulse.paused = paused
	close(h.pulse.came)
	h.pulse = newPulse()
}

// next returns the pulse to come.
func (h *Hub) next() *pulse {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.pulse
}

// note notes an event of a viewer and its memory.
func (h *Hub) note(events, skipped uint64, bytes int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stats.Events += events
	h.stats.Skipped += skipped
	h.stats.Bytes += bytes
}

// Stats returns the counts so far.
func (h *Hub) Stats() Stats {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.stats
	s.Viewers, s.Most = len(h.viewers), h.cfg.Viewers
	return s
}

// Closed reports whether Close was called.
func (h *Hub) Closed() bool {
	select {
	case <-h.stop:
		return true
	default:
		return false
	}
}

// Close ends all streams. A viewer throws an event away of which the end has not come.
func (h *Hub) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		h.closed = true
		close(h.stop)
		for v := range h.viewers {
			v.hurry()
		}
	}
}
