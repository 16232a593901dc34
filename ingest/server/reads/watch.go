package reads

import (
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"

	"pingline/ingest/auth"
	"pingline/ingest/server/conns"
	"pingline/ingest/server/guard"
	"pingline/ingest/server/minrate"
	"pingline/ingest/server/param"
	"pingline/ingest/server/share"
	"pingline/partition"
	"pingline/query/fleet"
	"pingline/query/stream"
)

// watch begins a stream, which counts as a read until it has a place among the viewers.
func (s *Routes) watch(c *fiber.Ctx, r *readInWork) error {
	view, err := s.viewOf(c)
	if err != nil {
		return err
	}
	c.Set(fiber.HeaderContentType, "text/event-stream")
	c.Set(fiber.HeaderCacheControl, "no-store")
	c.Set("X-Accel-Buffering", "no") // of proxies
	if c.Request().Header.IsHead() {
		return nil
	}
	place := s.Viewers.Claim(r.from.Key, r.from.Ours)
	if !s.take(r, &place, 1) {
		return later("%d streams are open, or more than a quarter of that of this client", s.Viewers.Most())
	}
	r.drop() // many viewers may come at once, and all wait for the same snapshot
	conn := c.Context().Conn()
	w := &watching{conn: conn, pace: s.cfg.Pace, place: place, hub: s.cfg.Streams, id: guard.Of(c)}
	if w.viewer, err = w.hub.Open(view, strings.Clone(c.Get("Last-Event-ID", c.Query("last_event_id"))), w.hurry); err != nil {
		w.place.Drop()
		return later("%v", err)
	}
	conns.LimitBuffer(conn)
	c.Response().SetBodyStream(w, -1)
	return nil
}

func (s *Routes) viewOf(c *fiber.Ctx) (v fleet.View, err error) {
	if v.Box, err = param.Box(c, "bbox"); err != nil {
		return v, err
	}
	v.Riders = c.Query("riders") == "1"
	if v.Res, err = param.Int(c, "res", -1, 0, partition.MaxRes); err != nil {
		return v, err
	}
	switch {
	case v.Res >= 0 && !slices.Contains(s.cfg.Resolutions, v.Res):
		return v, param.Bad("res", "%d is none of the resolutions of --rollup, %v", v.Res, s.cfg.Resolutions)
	case v.Res < 0 && !v.Riders:
		return v, param.Bad("res", "and riders=1 are not there: nothing to look at")
	case !c.Request().Header.IsHTTP11():
		return v, param.Bad("HTTP/1.0", "has no streams: use HTTP/1.1")
	}
	return v, nil
}

// watching is a stream on its way to its viewer. Each event has the time of an answer.
type watching struct {
	hub    *stream.Hub
	viewer *stream.Viewer
	place  share.Claim
	id     *auth.Identity // of the viewer
	conn   net.Conn
	pace   minrate.Rate
	sent   int       // bytes of the event
	due    time.Time // when the viewer has to have taken what was read before
	once   sync.Once
}

func (w *watching) Read(p []byte) (int, error) {
	n, err := w.viewer.Read(p)
	if w.id.Ended(time.Now()) { // while the viewer waited for the event
		return 0, io.EOF
	}
	if w.viewer.Began() {
		w.sent = 0
		w.pace.Restart()
	}
	w.due = w.pace.Due(w.sent)
	if derr := w.conn.SetWriteDeadline(w.due); err == nil && derr != nil {
		err = derr
	}
	if w.hub.Closed() { // meanwhile, and the deadline of hurry is overwritten
		w.hurry()
	}
	w.sent += n
	return n, err
}

// hurry lets no write last much longer.
func (w *watching) hurry() { _ = w.conn.SetWriteDeadline(time.Now().Add(time.Second)) } // fails if the connection is gone

// Close is called even if not all was written.
func (w *watching) Close() error {
	w.once.Do(func() {
		w.hub.End(w.viewer, !w.due.IsZero() && time.Now().After(w.due))
		w.place.Drop()
	})
	return nil
}
