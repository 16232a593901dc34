// Package reads answers the routes for reads.
//
// Readers never crowd out pings: the number of reads in work, and their bytes until their
// answers have left, have budgets of their own, and each client has a share of them. A read
// beyond them, or while the node gives up reads, is refused and may succeed later. A large
// answer is made piece by piece as its client takes it.
//
// A sender whose key is for some riders only may ask for these riders one by one, and for
// nothing that is made of the pings of others: boxes, cells, the past and streams.
package reads

import (
	"bytes"
	"fmt"
	"io"
	"time"

	"github.com/gofiber/fiber/v2"

	"pingline/ingest"
	"pingline/ingest/auth"
	"pingline/ingest/privacy"
	"pingline/ingest/server/guard"
	"pingline/ingest/server/leaving"
	"pingline/ingest/server/minrate"
	"pingline/ingest/server/rate"
	"pingline/ingest/server/refusal"
	"pingline/ingest/server/sender"
	"pingline/ingest/server/share"
	"pingline/query"
	"pingline/query/stream"
)

const (
	readsAtOnce = 32
	readBytes   = 64 << 10 // bytes of a read besides its points

	pointBytes = 512 // bytes of a stored point in memory, and as many for each shard that is asked
	leftBytes  = 256 // bytes of a stored point that waits to leave

	readsBurst     = 10   // seconds' worth of reads that a client may ask for at once
	pointsOfOne    = 1000 // points or cells that cost as much as a read
	readersTracked = 1 << 14
)

// Config sets up Routes. All but Streams, Resolutions, Names and Rate are required.
type Config struct {
	Reader      *query.Reader
	Streams     *stream.Hub   // nil: none
	Resolutions []int         // of the cells that streams may tell of
	MaxAhead    time.Duration // most by which a phone's clock may be ahead: by default a track ends so much after now

	Guard    *guard.Keeper
	Names    *privacy.Pseudonyms // by which riders are stored; nil: by their own names
	Senders  *sender.Finder
	Overload *ingest.Overload
	Held     *share.Held // is told the clients that are held to a share

	// Pass, if set, answers a read of a rider by another node, and reports false if this node has
	// the rider, who goes by the name by which he is stored.
	Pass func(c *fiber.Ctx, stored string) (bool, error)

	MaxBytes int64        // bytes of reads in work
	Rate     float64      // reads/s of a client, ten seconds' worth at once; 0: no limit
	Pace     minrate.Rate // of answers
}

// Routes answers the routes for reads. It is safe for concurrent use.
type Routes struct {
	// Reads take parts of these.
	Slots   *share.Budget // reads in work
	Bytes   *share.Budget // bytes of reads in work, until their answers have left
	Viewers *share.Budget // streams; nil: none
	Rates   *rate.Buckets // reads of a client

	cfg    Config
	reader *query.Reader
	recent recentAreas
}

// New returns the routes.
func New(cfg Config) *Routes {
	s := &Routes{
		Slots: share.New(readsAtOnce), Bytes: share.New(cfg.MaxBytes),
		Rates: rate.New(cfg.Rate, readsBurst*cfg.Rate, readersTracked),
		cfg:   cfg, reader: cfg.Reader, recent: recentAreas{list: make(map[area]*areaAnswer)},
	}
	if cfg.Streams != nil {
		s.Viewers = share.New(int64(cfg.Streams.Stats().Most))
	}
	return s
}

// Serve adds the routes to app. It returns the paths of all routes for reads, and of those
// that are served.
func (s *Routes) Serve(app *fiber.App) (all, served []string) {
	r := s.reader
	for _, route := range []struct {
		path    string
		there   bool
		answer  func(*fiber.Ctx, *readInWork) error
		givenUp string // the refusal while reads are given up; "": the route is answered all the same
		fleet   bool   // the answer tells of all riders
	}{
		{"/v1/riders", r.Riders != nil, s.riders, "boxes are not read", true},
		{"/v1/riders/:id", r.Latest != nil, s.ofRider(s.latest), "", false},
		{"/v1/riders/:id/track", r.Track != nil, s.ofRider(s.track), "tracks are not read", false},
		{"/v1/cells", r.Cells != nil, s.cells, "cells are not read", true},
		{"/v1/history", r.Past != nil, s.history, "the past is not read", true},
		{"/v1/stream", s.cfg.Streams != nil, s.watch, "streams do not begin", true},
		{"/v1/partitions", r.Partitions != nil, s.partitions, "", true},
	} {
		all = append(all, route.path)
		if route.there {
			app.Get(route.path, s.cfg.Guard.Need(auth.Read, route.fleet), s.bounded(route.answer, route.givenUp))
			served = append(served, route.path)
		}
	}
	all = append(all, "/v1/status")
	if r.Status != nil {
		app.Get("/v1/status", s.cfg.Guard.Need(auth.Read, true), s.status)
		served = append(served, "/v1/status")
	}
	return all, served
}

// readInWork is a read in work. Its claims are given back when its answer has left.
type readInWork struct {
	from    sender.Sender
	slot    share.Claim // a read of readsAtOnce
	bytes   share.Claim
	leaving bool // the answer is on its way
	also    func()
}

// bounded lets a read in work if its client is within its rate and there is room.
func (s *Routes) bounded(read func(c *fiber.Ctx, r *readInWork) error, givenUp string) fiber.Handler {
	return func(c *fiber.Ctx) error {
		from, err := s.withinRate(c)
		if err != nil {
			return err
		}
		r := &readInWork{from: from}
		r.slot, r.bytes = s.Slots.Claim(r.from.Key, r.from.Ours), s.Bytes.Claim(r.from.Key, r.from.Ours)
		defer func() {
			if !r.leaving {
				r.drop()
			}
		}()
		if !s.take(r, &r.slot, 1) {
			return later("%d reads are in progress, or more than a quarter of that of this client", s.Slots.Most())
		}
		if err := s.charge(r, readBytes); err != nil {
			return err
		}
		if givenUp != "" && s.cfg.Overload.Policy().NoReads {
			return later("overloaded, %s", givenUp)
		}
		return read(c, r)
	}
}

// withinRate returns the client of a read, unless it is over its rate.
func (s *Routes) withinRate(c *fiber.Ctx) (sender.Sender, error) {
	from := s.cfg.Senders.Of(c.Context().RemoteAddr(), &c.Request().Header)
	if from.Ours {
		return from, nil
	}
	if wait := s.Rates.Take(from.Key, 1, time.Now()); wait > 0 {
		return from, &refusal.OverRate{Text: "this client asks more often than it may: ask again later", Wait: wait}
	}
	return from, nil
}

// take takes n more for a claim of r, and notes that the client is held to its share if they
// are refused for that.
func (s *Routes) take(r *readInWork, c *share.Claim, n int64) bool {
	if c.Take(n) {
		return true
	}
	s.cfg.Held.Refused(c, n, share.OfReads, r.from.Addr)
	return false
}

// charge takes n bytes more for r.
func (s *Routes) charge(r *readInWork, n int64) error {
	if !s.take(r, &r.bytes, n) {
		return s.tooManyBytes()
	}
	return nil
}

// chargeMost takes n bytes more for r, but no more than a client's whole share, so that
// every answer is possible.
func (s *Routes) chargeMost(r *readInWork, n int64) error { return s.charge(r, s.atMost(n)) }

func (s *Routes) atMost(n int64) int64 { return min(n, s.Bytes.Most()/4-readBytes) }

func (s *Routes) tooManyBytes() error {
	return later("answers take more than %d bytes, or of this client more than a quarter of that", s.Bytes.Most())
}

// settle charges r for the points that it has found, which wait to leave.
func (s *Routes) settle(r *readInWork, points int) {
	r.bytes.Settle(readBytes + int64(points)*leftBytes)
	s.pay(r, points/pointsOfOne)
}

// pay charges the client of r for as many reads more.
func (s *Routes) pay(r *readInWork, reads int) { s.Rates.Pay(r.from.Key, reads) }

func (r *readInWork) drop() {
	r.slot.Drop()
	r.bytes.Drop()
	if r.also != nil {
		r.also()
	}
}

// later refuses a read that may succeed another time.
func later(format string, args ...any) error {
	return &refusal.Reason{Kind: ingest.ErrUnavailable, Text: fmt.Sprintf(format, args...) + "; ask again later"}
}

// answer sends from, of size bytes, or -1 if not known. A small answer is sent at once,
// with its length. A larger answer keeps r until it has left. For a client of HTTP/1.0,
// which knows no chunks, an answer is made whole first, to know its length.
func (s *Routes) answer(c *fiber.Ctx, r *readInWork, contentType string, from io.Reader, size int) error {
	c.Set(fiber.HeaderContentType, contentType)
	if c.Request().Header.IsHead() { // HEAD gets the length; a chunked body would leave a line behind
		n, err := io.Copy(io.Discard, from)
		if err != nil {
			return err
		}
		size = int(n)
	}
	whole := int64(leaving.Whole)
	if size < 0 && !c.Request().Header.IsHTTP11() {
		whole = s.Bytes.Most()
	}
	if size <= leaving.Whole && !c.Request().Header.IsHead() {
		head, err := io.ReadAll(io.LimitReader(from, whole+1))
		switch {
		case err != nil:
			return err
		case len(head) <= leaving.Whole:
			c.Response().SetBodyRaw(head)
			return nil
		case int64(len(head)) <= whole:
			size = len(head)
		}
		if err := s.charge(r, int64(cap(head))); err != nil {
			return err
		}
		from = io.MultiReader(bytes.NewReader(head), from)
	}
	r.leaving = true
	c.Response().SetBodyStream(leaving.Body(c.Context().Conn(), s.cfg.Pace, from, r.drop), size)
	return nil
}
